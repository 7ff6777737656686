r"""How far the posterior mean is from the target, and whether the predicted spread knows it.

For samples and target from the same posterior, ``E (x* - mean_S)^2 = var (1 + 1/S)`` at every pixel: so the root mean
square of ``std sqrt(1 + 1/S)`` meets the root mean square of the error in any group of pixels chosen by the data alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SpreadBins", "error_spread_correlation", "psnr", "snr", "spread_bins", "ssim"]


def psnr(truth: Any, estimate: Any, *, peak: float | None = 1.0) -> NDArray[np.float64]:
    """Peak signal-to-noise ratio of each image, ``20 log10(peak / rms error)`` in dB, shape ``(N,)``.

    Args:
        truth: images, ``(N, channels, *space)``.
        estimate: their reconstructions, same shape.
        peak: the peak value; ``None`` takes the range of each true image.

    Example:
        >>> psnr(np.zeros((1, 1, 4)), np.full((1, 1, 4), 0.1)).round(6)
        array([20.])
    """
    image, error = _flat(truth, estimate)
    top = np.ptp(image, axis=1) if peak is None else np.full(len(image), float(peak))
    with np.errstate(divide="ignore"):
        return np.asarray(20 * np.log10(top / np.sqrt((error**2).mean(1))))


def snr(truth: Any, estimate: Any) -> NDArray[np.float64]:
    """Signal-to-noise ratio of each image, ``20 log10(||x|| / ||x - estimate||)`` in dB, shape ``(N,)``.

    Example:
        >>> snr(np.ones((1, 1, 4)), np.full((1, 1, 4), 0.9)).round(6)
        array([20.])
    """
    image, error = _flat(truth, estimate)
    with np.errstate(divide="ignore"):
        return np.asarray(10 * np.log10((image**2).sum(1) / (error**2).sum(1)))


def ssim(truth: Any, estimate: Any, *, peak: float | None = 1.0) -> NDArray[np.float64]:
    r"""Structural similarity of each image, 1 for equal ones, shape ``(N,)``.

    Mean over pixels of ``(2 m_x m_y + C_1)(2 s_xy + C_2) / ((m_x^2 + m_y^2 + C_1)(s_x^2 + s_y^2 + C_2))`` with means,
    variances and the covariance under a Gaussian window of 1.5 pixels, ``C_k = (K_k peak)^2``, ``K = .01, .03``.

    Args:
        truth: images, ``(N, channels, *space)``.
        estimate: their reconstructions, same shape.
        peak: the peak value; ``None`` takes the range of each true image.

    Source: Wang, Bovik, Sheikh, Simoncelli 2004 (doi 10.1109/TIP.2003.819861).

    Example:
        >>> ssim(np.eye(8)[None, None], np.eye(8)[None, None])
        array([1.])
    """
    from scipy.ndimage import gaussian_filter

    image, guess = np.asarray(truth, dtype=float), np.asarray(estimate, dtype=float)
    _flat(image, guess)
    axes = tuple(range(2, image.ndim))
    top = np.ptp(image.reshape(len(image), -1), axis=1) if peak is None else np.full(len(image), float(peak))
    first, second = ((k * top.reshape(-1, *[1] * (image.ndim - 1))) ** 2 for k in (0.01, 0.03))

    def local(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(gaussian_filter(values, 1.5, axes=axes, truncate=3.5, mode="reflect"))

    x, y = local(image), local(guess)
    x_var, y_var, both = local(image**2) - x**2, local(guess**2) - y**2, local(image * guess) - x * y
    value = (2 * x * y + first) * (2 * both + second) / ((x**2 + y**2 + first) * (x_var + y_var + second))
    return np.asarray(value.reshape(len(image), -1).mean(1))


def _flat(truth: Any, estimate: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    image, guess = np.asarray(truth, dtype=float), np.asarray(estimate, dtype=float)
    if image.shape != guess.shape:
        raise ValueError(f"expected an estimate of shape {image.shape}, got {guess.shape}")
    image = image.reshape(len(image), -1)
    return image, image - guess.reshape(len(guess), -1)


@dataclass(frozen=True)
class SpreadBins:
    """Predicted spread against error, in bins of equal pixel count from small spread to large.

    Attributes:
        spread: rms of ``std sqrt(1 + 1/S)`` per bin.
        error: rms error of the sample mean per bin.
        ratio: ``spread / error``; below 1 is over-confident.
        standard_error: of `ratio`, a jackknife over observations.
    """

    spread: NDArray[np.float64]
    error: NDArray[np.float64]
    ratio: NDArray[np.float64]
    standard_error: NDArray[np.float64]


def spread_bins(truth: Any, mean: Any, std: Any, samples: int, *, bins: int = 5, by: Any = None) -> SpreadBins:
    """Rms error against rms predicted spread in `bins` quantile bins of the pooled spread.

    A pixel whose `std` is small by chance falls into a low bin, where its spread then looks too small, and the
    other way round: by 10 % at 99 samples if the true spread hardly varies. So bin by the spread of one half of the
    samples and give the spread of the other half as `std`; the ratio is then unbiased.

    Args:
        truth: targets, ``(N, channels, *space)``.
        mean: means of the samples, same shape.
        std: standard deviations of the samples (``S - 1`` in the denominator), same shape.
        samples: the number S of samples behind `mean` and `std`.
        bins: number of bins.
        by: the spread to bin by (`std` by default).
    """
    target, error = _flat(truth, mean)
    spread = np.asarray(std, dtype=float).reshape(target.shape)
    order = spread if by is None else np.asarray(by, dtype=float).reshape(target.shape)
    edges = np.quantile(order, np.linspace(0, 1, bins + 1))
    place = np.clip(np.searchsorted(edges, order, side="right") - 1, 0, bins - 1)
    count = len(target)
    index = place + bins * np.arange(count)[:, None]
    variance, squared = (
        np.bincount(index.ravel(), weights=values.ravel(), minlength=bins * count).reshape(count, bins)
        for values in (spread**2 * (1 + 1 / samples), error**2)
    )
    pixels = np.bincount(index.ravel(), minlength=bins * count).reshape(count, bins).sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.sqrt(variance.sum(0) / squared.sum(0))
        without = np.sqrt((variance.sum(0) - variance) / (squared.sum(0) - squared))
        jackknife = np.sqrt((count - 1) / count * ((without - without.mean(0)) ** 2).sum(0))
        return SpreadBins(np.sqrt(variance.sum(0) / pixels), np.sqrt(squared.sum(0) / pixels), ratio, jackknife)


def error_spread_correlation(truth: Any, mean: Any, std: Any) -> float:
    """Pearson correlation of ``|x - mean|`` and ``std``, pooled over all pixels of all observations.

    ``x`` are the images themselves; the noise of training would add to every error alike, and hide what is asked. Even
    a perfect posterior stays below 1: about .6 where the spread varies much, 0 where it is constant.
    """
    _, error = _flat(truth, mean)
    spread = np.asarray(std, dtype=float).ravel()
    magnitude = np.abs(error).ravel()
    if spread.std() == 0 or magnitude.std() == 0:
        return float("nan")
    return float(np.corrcoef(magnitude, spread)[0, 1])
