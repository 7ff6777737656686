r"""Are ranks uniform? The difference of their ECDF from the diagonal, with a simultaneous band.

    D(r) = share of ranks <= r  -  (r + 1) / (S + 1),      r = 0 .. S

For one rank an observation (q = 1) the band comes from simulated uniform ranks; for q pooled ranks, which move
together, from a multiplier bootstrap over observations, and ``SE(r)`` counts as many independent numbers as the
variance of the shares over observations tells. Either way the band is ``c SE(r)`` with the ``c`` that a uniform law
passes with probability `level` at all r at once.

Source: Saeilynoja, Buerkner, Vehtari 2022 (arXiv 2103.10522).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bayesinv.seeding import generator, stream

__all__ = ["EcdfDifference", "ecdf_difference"]

Array: TypeAlias = NDArray[Any]
_DRAWS = 2000


@dataclass(frozen=True, eq=False)
class EcdfDifference:
    """Difference of the ECDF of ranks from the diagonal.

    Attributes:
        points: ``(r + 1) / (S + 1)``.
        difference: ``D``.
        band: half width of the simultaneous band.
        p_value: probability that uniform ranks stray as far, in units of their standard error.
    """

    points: Array
    difference: Array
    band: Array
    p_value: float

    @property
    def largest(self) -> float:
        """``max |D|``."""
        return float(np.abs(self.difference).max())


def ecdf_difference(rank: Any, samples: int, *, level: float = 0.95, seed: int = 0) -> EcdfDifference:
    """The ECDF of ranks less the diagonal, its band and p-value.

    Args:
        rank: ranks ``(N,)`` or ``(N, q)`` in ``0 .. samples``, the N observations being independent.
        samples: the number S of samples behind the ranks.
        level: probability with which uniform ranks stay inside the band.
        seed: of the draws behind the band.

    Raises:
        ValueError: if there are fewer than two observations, or ranks out of range.

    Example:
        >>> found = ecdf_difference(np.arange(100), 99)
        >>> float(found.largest), bool(found.p_value > 0.99)
        (0.0, True)
    """
    rank = np.asarray(rank)
    rank = rank.reshape(len(rank), -1)
    if len(rank) < 2 or rank.min() < 0 or rank.max() > samples:
        raise ValueError(f"expected ranks of 2 or more observations in 0 .. {samples}, got {rank.shape}")
    count, pooled = rank.shape
    points = np.arange(1, samples + 2) / (samples + 1)
    shares = np.stack([np.bincount(row, minlength=samples + 1) for row in rank]).cumsum(1) / pooled
    difference = shares.mean(0) - points
    inner = slice(0, samples)  # the last point is 1 always
    least = np.sqrt(points * (1 - points) / (count * pooled))[inner]
    random = generator(seed, stream("ecdf band"))
    if pooled == 1:
        error = least
        drawn = np.sort(random.integers(0, samples + 1, (_DRAWS, count)), axis=1)
        below = np.stack([np.searchsorted(row, np.arange(samples), side="right") for row in drawn]) / count
        strays = (np.abs(below - points[inner]) / error).max(1)
    else:
        deviation = (shares - shares.mean(0))[:, inner]
        design = ((deviation**2).sum(0) / (count * (count - 1))).sum() / (least**2).sum()
        error = least * np.sqrt(max(design, 1.0))
        weights = random.standard_normal((_DRAWS, count)) / np.sqrt(count * (count - 1))
        strays = (np.abs(weights @ deviation) / error).max(1)
    found = (np.abs(difference[inner]) / error).max()
    band = np.append(np.quantile(strays, level) * error, 0.0)
    return EcdfDifference(points, difference, band, float((1 + (strays >= found).sum()) / (_DRAWS + 1)))
