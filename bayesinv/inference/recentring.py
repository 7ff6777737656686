r"""Recentring: what samples miss on average over validation pairs, taken from every sample.

A flow trained on a finite budget misses the mean by some hundredths of the spread. No pixel shows that, but the mean
over many pixels, whose own spread is much smaller, can be off by as much as that spread. The residual ``r_i`` of record
``i``, image less mean of samples, is expanded in cosines (for dense ``x``, taken number by number); the mean
``m_k = mean_i r_ik`` of each of the four longest waves an axis is a bias where it is beyond three of its standard
errors, and those together are the correction. The others are left alone: of an unbiased posterior nearly all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from bayesinv.inference.posterior import Posterior

__all__ = ["common_bias", "recentre"]

_SAMPLES = 16
_RECORDS = 32  # at once
_WAVES = 4
_ERRORS = 3.0


@torch.no_grad()
def recentre(posterior: Posterior, x: Tensor, c: Tensor, *, seed: int) -> None:
    """Moves the posterior by the common bias on validation images ``x`` with scaled summaries ``c``."""
    residual = []
    for start in range(0, len(x), _RECORDS):
        part = slice(start, start + _RECORDS)
        condition = posterior.summary_network(c[part])
        drawn = posterior.flow.sample(_SAMPLES, condition, seed=seed + start, temperature=posterior.temperature)
        residual.append(x[part].cpu() - posterior.restored(drawn).mean(0).cpu())
    posterior.image_mean += torch.from_numpy(common_bias(torch.cat(residual).numpy())).to(posterior.image_mean)


def common_bias(residuals: np.ndarray) -> np.ndarray:
    """The mean ``(channels, *space)`` of ``residuals (n, channels, *space)``, in long waves beyond three errors.

    Example:
        >>> import numpy as np
        >>> noise = np.random.default_rng(0).normal(size=(100, 1, 16, 16))
        >>> bool((common_bias(noise) == 0).all()), common_bias(noise + 0.1).mean().round(2)
        (True, np.float64(0.1))
    """
    from scipy.fft import dctn, idctn

    axes = tuple(range(2, residuals.ndim))
    waves = dctn(residuals, axes=axes, norm="ortho") if axes else residuals
    mean, error = waves.mean(0), waves.std(0, ddof=1) / np.sqrt(len(waves))
    long = np.ones(mean.shape, dtype=bool)
    for axis in axes:
        long &= (np.arange(waves.shape[axis]) < _WAVES).reshape(-1, *[1] * (waves.ndim - 1 - axis))
    mean = np.where(long & (np.abs(mean) > _ERRORS * error), mean, 0)
    return idctn(mean, axes=tuple(range(1, mean.ndim)), norm="ortho") if axes else mean
