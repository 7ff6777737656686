r"""Do the samples of a posterior behave as draws of it? Figures on bare arrays, in closed form where there is one.

If the target ``x*`` and the samples ``x_1 .. x_S`` are draws of the same ``p(x | y)``, then at every pixel

    rank = #{s : x_s < x*}  is uniform on 0 .. S,     P(k <= rank <= S - k) = 1 - 2 k / (S + 1).

Shapes: ``truth (N, channels, *space)``, ``samples (S, N, channels, *space)``. The N observations are the units of every
standard error: the pixels of an image move together and are no independent trials.

Sources: Cook, Gelman, Rubin 2006 (doi 10.1198/106186006X136976); Talts et al. 2018 (arXiv 1804.06788).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bayesinv.seeding import generator, stream

__all__ = [
    "Coverage",
    "RankHistogram",
    "contraction",
    "coverage",
    "coverage_by_region",
    "coverage_curve",
    "interval_ranks",
    "rank_ecdf",
    "rank_histogram",
    "ranks",
    "z_scores",
]

Array: TypeAlias = NDArray[Any]


def ranks(truth: Any, samples: Any) -> NDArray[np.int32]:
    """Number of samples below the target, in ``0 .. S``, pixel by pixel.

    Args:
        truth: targets, ``(N, channels, *space)``.
        samples: samples, ``(S, N, channels, *space)``.

    Returns:
        Ranks of the shape of `truth`.

    Raises:
        ValueError: if the shapes do not fit, or for NaN, which has no rank.

    Example:
        >>> ranks(np.array([[0.5]]), np.array([[[0.1]], [[0.7]], [[0.2]]]))
        array([[2]], dtype=int32)
    """
    target, draws = np.asarray(truth), np.asarray(samples)
    if draws.shape[1:] != target.shape:
        raise ValueError(f"expected samples of shape (S, {', '.join(map(str, target.shape))}), got {draws.shape}")
    absent = int(np.isnan(target).sum()), int(np.isnan(draws).sum())
    if any(absent):
        raise ValueError(
            f"expected numbers to rank, got NaN {absent[0]} times in the targets, {absent[1]} times in the samples"
        )
    return np.asarray((draws < target).sum(0, dtype=np.int32))


def interval_ranks(samples: int, level: float = 0.9) -> tuple[int, int, float]:
    """Ranks ``(first, last)`` of the central interval whose level is nearest to `level`, and the level it has.

    ``first = round((S + 1) (1 - level) / 2)``, at least 1; ``last = S - first``; attained ``1 - 2 first / (S + 1)``.

    Example:
        >>> interval_ranks(99, 0.9)
        (5, 94, 0.9)
    """
    if not 0 < level < 1:
        raise ValueError(f"expected a level between 0 and 1, got {level}")
    if samples < 2:
        raise ValueError(f"expected at least 2 samples for an interval, got {samples}")
    first = min(max(1, round((samples + 1) * (1 - level) / 2)), samples // 2)
    return first, samples - first, (samples + 1 - 2 * first) / (samples + 1)


@dataclass(frozen=True)
class Coverage:
    """Share of targets inside their interval.

    Attributes:
        value: share over all pixels counted.
        standard_error: of `value`, with the observations as units.
        nominal: the level that the interval by ranks has exactly.
        per_observation: share in each observation, ``(N,)``, NaN where it has no pixel.
    """

    value: float
    standard_error: float
    nominal: float
    per_observation: Array


def coverage(rank: Any, samples: int, *, level: float = 0.9, where: Any = None) -> Coverage:
    r"""Coverage of the central interval by ranks, with its standard error over observations.

    With hits :math:`h_i` among :math:`n_i` pixels of observation i, ``value = sum h / sum n`` (a ratio estimate) and
    ``SE^2 = N/(N-1) sum (h_i - value n_i)^2 / (sum n)^2``.

    Args:
        rank: ranks, ``(N, channels, *space)``.
        samples: the number S of samples behind the ranks.
        level: wanted level.
        where: pixels to count, a boolean array of the shape of `rank` (all by default).

    Example:
        >>> coverage(np.array([[0, 5, 50, 94]]), 99).value
        0.75
    """
    first, last, nominal = interval_ranks(samples, level)
    rank = np.asarray(rank)
    inside = (rank >= first) & (rank <= last)
    mask = np.ones(rank.shape, dtype=bool) if where is None else np.asarray(where, dtype=bool)
    if mask.shape != rank.shape:
        raise ValueError(f"expected a region of shape {rank.shape}, got {mask.shape}")
    flat = (rank.shape[0], -1)
    hits = (inside & mask).reshape(flat).sum(1).astype(float)
    pixels = mask.reshape(flat).sum(1).astype(float)
    total = pixels.sum()
    share = np.divide(hits, pixels, out=np.full(len(hits), np.nan), where=pixels > 0)
    if total == 0:
        return Coverage(float("nan"), float("nan"), nominal, share)
    value = float(hits.sum() / total)
    return Coverage(value, _ratio_error(hits, pixels), nominal, share)


def _ratio_error(numerator: Array, denominator: Array) -> float:
    count = len(numerator)
    if count < 2:
        return float("nan")
    deviation = numerator - numerator.sum() / denominator.sum() * denominator
    return float(np.sqrt(count / (count - 1) * (deviation**2).sum()) / denominator.sum())


def coverage_by_region(
    rank: Any, samples: int, regions: Mapping[str, Any], *, level: float = 0.9
) -> dict[str, Coverage]:
    """Coverage inside each named region, a boolean array of the shape of `rank`."""
    return {name: coverage(rank, samples, level=level, where=mask) for name, mask in regions.items()}


def coverage_curve(rank: Any, samples: int) -> tuple[Array, Array, Array]:
    """Nominal level, coverage found and its standard error, for every central interval by ranks (wide to narrow).

    Example:
        >>> nominal, found, error = coverage_curve(np.arange(10).reshape(10, 1), 9)
        >>> bool(np.allclose(nominal, found))
        True
    """
    rank = np.asarray(rank).reshape(len(rank), -1)
    edge = np.minimum(rank, samples - rank)  # covered by the interval k if edge >= k
    counts = np.stack([np.bincount(row, minlength=samples // 2 + 1) for row in edge]) / rank.shape[1]
    tail = counts[:, ::-1].cumsum(1)[:, ::-1][:, 1:]  # share with edge >= k, k = 1 ..
    first = np.arange(1, tail.shape[1] + 1)
    nominal = 1 - 2 * first / (samples + 1)
    error = tail.std(0, ddof=1) / np.sqrt(len(tail)) if len(tail) > 1 else np.full(len(first), np.nan)
    return nominal, tail.mean(0), error


@dataclass(frozen=True)
class RankHistogram:
    """Histogram of ranks relative to a uniform one (1 = uniform).

    Attributes:
        edges: bin edges in rank / (S + 1), from 0 to 1.
        density: mean over observations, relative to uniform.
        standard_error: of `density`, over observations.
        band: half-width of the simultaneous 95 % band about 1, per bin.
    """

    edges: Array
    density: Array
    standard_error: Array
    band: Array


def rank_histogram(rank: Any, samples: int, *, bins: int = 20, seed: int = 0) -> RankHistogram:
    """Rank histogram with a simultaneous band, the observations being the units.

    The bins hold whole ranks, as evenly as ``S + 1`` allows. The band is ``c SE`` with ``c`` the 95 % quantile of the
    largest standardised deviation of any bin under a Gaussian with the correlation seen between bins (2,000 draws).

    Args:
        rank: ranks, ``(N, channels, *space)``.
        samples: the number S of samples behind the ranks.
        bins: number of bins, at most ``S + 1``.
        seed: of the draws behind the band.
    """
    rank = np.asarray(rank).reshape(len(rank), -1)
    edges = np.unique(np.round(np.linspace(0, samples + 1, min(bins, samples + 1) + 1)).astype(int))
    share = np.stack([np.histogram(row, bins=edges - 0.5)[0] for row in rank]) / rank.shape[1]
    density = share / (np.diff(edges) / (samples + 1))
    count = len(density)
    if count < 2:
        unknown = np.full(density.shape[1], np.nan)
        return RankHistogram(edges / (samples + 1), density.mean(0), unknown, unknown)
    error = density.std(0, ddof=1) / np.sqrt(count)
    standard = (density - density.mean(0)) / np.where(error > 0, error * np.sqrt(count), 1)
    weights = generator(seed, stream("rank band")).standard_normal((2000, count)) / np.sqrt(count - 1)
    factor = np.quantile(np.abs(weights @ standard).max(1), 0.95)
    return RankHistogram(edges / (samples + 1), density.mean(0), error, factor * error)


def rank_ecdf(rank: Any, samples: int) -> tuple[Array, Array]:
    """Points ``(r + 1) / (S + 1)`` and the share of ranks at most ``r``, ``r = 0 .. S``; equal if uniform."""
    counts = np.bincount(np.asarray(rank).ravel(), minlength=samples + 1)
    return np.arange(1, samples + 2) / (samples + 1), counts.cumsum() / counts.sum()


def contraction(std: Any, prior_variance: Any) -> Array:
    """Contraction ``1 - var_posterior / var_prior`` (1: all learnt, 0: nothing); NaN where the prior is fixed.

    Source: Schad, Betancourt, Vasishth 2021 (arXiv 1904.12765).
    """
    variance = np.broadcast_to(np.asarray(prior_variance, dtype=float), np.asarray(std).shape)
    ratio = np.divide(np.asarray(std, float) ** 2, variance, out=np.full(variance.shape, np.nan), where=variance > 0)
    return np.asarray(1 - ratio)


def z_scores(truth: Any, mean: Any, std: Any, samples: int) -> Array:
    """``(x* - mean) / (std sqrt((1 + 1/S) (S - 1) / (S - 3)))`` of the mean and standard deviation of S samples.

    For an exact Gaussian posterior it is Student's law with S - 1 degrees of freedom, scaled to mean 0 and variance 1.

    Raises:
        ValueError: for fewer than four samples, with which it has no variance.

    Example:
        >>> z_scores([1.0, 0.0], 0.0, 1.0, 9).round(3)
        array([0.822, 0.   ])
    """
    if samples < 4:
        raise ValueError(f"expected 4 or more samples for z-scores, got {samples}")
    scale = np.asarray(std, float) * np.sqrt((1 + 1 / samples) * (samples - 1) / (samples - 3))
    deviation = np.asarray(truth, float) - np.asarray(mean, float)
    return np.asarray(np.divide(deviation, scale, out=np.full(deviation.shape, np.nan), where=scale > 0))
