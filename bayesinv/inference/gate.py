r"""The gate: are these data like the simulated ones? A p-value-like score, with a warning where they are not.

With mean ``m`` and shrunk covariance ``C`` of the features ``f`` (`bayesinv.inference.gate_features`) of simulated
records, the score is the largest of standardised statistics,

    s(y) = max_t (t - mean t) / sd t,   t in {d, w_1 . (f - m), w_2 . (f - m), ...},   d^2 = (f - m)^T C^{-1} (f - m),

where ``w_k = C^{-1} delta_k`` looks in the direction ``delta_k`` in which the features move when the clean data are
stretched along an axis by 10 %, the images smoothed, sharpened or their pixels shuffled, the noise raised by 40 % or
the sign reversed: what a wrong wavelet, speed, blur, prior, noise level or polarity does. With the scores
``s_1 .. s_n`` of simulated records, each left out of its own reference,

    p(y) = (1 + #{i : s_i >= s(y)}) / (n + 1),

so data as simulated are stopped with a probability near `level`, on average over gates, whatever the features are worth
(conformal prediction): near, as the ``s_i`` look at ``n - 1`` records and a new one at ``n``, nearly exchangeable. Of a
batch some are stopped by chance: `warn_if_outside` speaks where they are more than chance explains.

Sources: Vovk, Gammerman, Shafer 2005 (doi 10.1007/b106715); Schmitt, Buerkner, Koethe, Radev 2023 (arXiv 2112.08866).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayesinv.inference.gate_features import data_features, distortions
from bayesinv.inference.problem import Problem

__all__ = ["LEVEL", "Gate", "OutOfDistributionWarning", "data_features", "fit_gate", "gate_unheard", "warn_if_outside"]

LEVEL = 0.01
_SHRINK = 0.005


_ARRAYS = ("mean", "precision", "moves", "centre", "spread", "scores")


class OutOfDistributionWarning(UserWarning):
    """Data unlike those that a posterior was trained on."""


@contextmanager
def gate_unheard() -> Iterator[None]:
    """Samples without the warning, where the score itself is looked at."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutOfDistributionWarning)
        yield


@dataclass(frozen=True, eq=False)
class Gate:
    """The reference of the simulated records.

    Attributes:
        mean: of the features, ``(k,)``.
        precision: inverse of their shrunk covariance, ``(k, k)``.
        moves: ``delta``, how features move under distortions, ``(a, k)``.
        centre: mean of each statistic ``t`` of a simulated record, ``(1 + a,)``.
        spread: their standard deviations, ``(1 + a,)``.
        scores: of the simulated records, each left out of its own reference, sorted, ``(n,)``.
        level: false-alarm rate at which `sample` warns.
    """

    mean: NDArray[np.float64]
    precision: NDArray[np.float64]
    moves: NDArray[np.float64]
    centre: NDArray[np.float64]
    spread: NDArray[np.float64]
    scores: NDArray[np.float64]
    level: float = LEVEL

    @staticmethod
    def fit(features: Any, moves: Any, *, level: float = LEVEL) -> Gate:
        """The gate of feature rows ``(n, k)`` of simulated records, and of moves ``(a, k)``.

        Raises:
            ValueError: if there are too few rows for the level to be reached, or some that are not finite, or the
                level is not between 0 and 1.

        Example:
            >>> rows = np.random.default_rng(0).normal(size=(300, 3))
            >>> gate = Gate.fit(rows, [[0.0, 1.0, 0.0]])
            >>> gate.p_value([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0]]).round(3)
            array([0.744, 0.003])
        """
        rows, directions = np.asarray(features, dtype=float), np.atleast_2d(np.asarray(moves, dtype=float))
        if not 0 < level < 1:
            raise ValueError(f"expected a level between 0 and 1, got {level}")
        if rows.ndim != 2 or len(rows) < math.ceil(1 / level):
            raise ValueError(f"expected {math.ceil(1 / level)} or more rows for a level of {level}, got {rows.shape}")
        bad = np.flatnonzero(~np.isfinite(rows).all(1))
        if len(bad):
            raise ValueError(
                f"expected finite features of every simulated record, got {len(bad)} rows of {len(rows)} that are not "
                f"(first: {bad[0]}); check prior, operator and noise for data that are not finite or all zero"
            )
        if not np.isfinite(directions).all():
            raise ValueError("expected finite moves, got some that are not; check the operator on distorted images")
        found = [_statistics(rows[i], *_reference(np.delete(rows, i, axis=0)), directions) for i in range(len(rows))]
        left_out = np.stack(found)
        centre, spread = left_out.mean(0), np.maximum(left_out.std(0), 1e-12)
        scores = np.sort(((left_out - centre) / spread).max(1))
        return Gate(*_reference(rows), directions, centre, spread, scores, level)

    def score(self, features: Any) -> NDArray[np.float64]:
        """The score of feature rows ``(n, k)``, ``(n,)``; infinite where a feature is not finite."""
        rows = np.atleast_2d(np.asarray(features, dtype=float))
        found = np.full(len(rows), math.inf)
        for number in np.flatnonzero(np.isfinite(rows).all(1)):
            statistics = _statistics(rows[number], self.mean, self.precision, self.moves)
            found[number] = ((statistics - self.centre) / self.spread).max()
        return found

    def p_value(self, features: Any) -> NDArray[np.float64]:
        """Share of simulated records at least as far out, the record itself counted, ``(n,)``."""
        above = len(self.scores) - np.searchsorted(self.scores, self.score(features), side="left")
        return np.asarray((1 + above) / (len(self.scores) + 1))

    def to_record(self) -> dict[str, Any]:
        """As JSON, seven digits."""
        return {name: _digits(getattr(self, name)) for name in _ARRAYS} | {"level": self.level}

    @staticmethod
    def from_record(record: dict[str, Any]) -> Gate:
        """Back from `to_record`."""
        mean, precision, moves, centre, spread, scores = (np.asarray(record[name], dtype=float) for name in _ARRAYS)
        return Gate(mean, precision, moves, centre, spread, scores, level=float(record["level"]))


def _digits(values: Any) -> Any:
    return [_digits(value) for value in values] if np.ndim(values) else float(f"{values:.7g}")


def _reference(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean, and inverse of ``(1 - a) cov + a diag(cov)``."""
    covariance = np.atleast_2d(np.cov(rows.T))
    spread = np.maximum(np.diag(covariance), 1e-8)
    shrunk = (1 - _SHRINK) * covariance + np.diag(_SHRINK * spread)
    return np.asarray(rows.mean(0)), np.asarray(np.linalg.inv(shrunk), dtype=np.float64)


def _statistics(
    row: NDArray[np.float64], mean: NDArray[np.float64], precision: NDArray[np.float64], moves: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The distance, and the projection in the direction of each move, ``(1 + a,)``."""
    white = precision @ (row - mean)
    return np.concatenate([[math.sqrt(max(float((row - mean) @ white), 0.0))], moves @ white])


def fit_gate(problem: Problem, *, simulations: int = 500, seed: int = 0, level: float = LEVEL) -> Gate:
    """The gate of a problem, from freshly simulated records.

    Args:
        problem: the simulator.
        simulations: number of records.
        seed: of the records; choose another than in training.
        level: false-alarm rate.

    Raises:
        ValueError: if there are too few records for the level.
    """
    rows, moves = [], []
    for start in range(0, simulations, 50):
        x, y, sigma = problem.sample(min(50, simulations - start), seed, start=start)
        rows.append(data_features(problem.forward, y, sigma))
        if start == 0:
            for wrong, level_there in distortions(problem.forward, x, y, sigma):
                moves.append((data_features(problem.forward, wrong, level_there) - rows[0]).mean(0))
    return Gate.fit(np.concatenate(rows), np.stack(moves), level=level)


def warn_if_outside(p_values: NDArray[np.float64], level: float, references: int) -> None:
    """Warns of one record that the gate would stop; of several, where more are stopped than chance explains.

    That is, more than the 99 % quantile of their number. Stopped is what scores higher than all but ``k - 1`` of the
    ``m`` of the reference, ``k < level (m + 1)``: a share of all records that is distributed as ``Beta(k, m + 1 - k)``.
    """
    from scipy.stats import betabinom

    count, outside = len(p_values), int((p_values < level).sum())
    largest = max(1, math.ceil(level * (references + 1)) - 1)
    if outside > (0 if count == 1 else betabinom.ppf(0.99, count, largest, references + 1 - largest)):
        which, by_chance = "these data", f"false alarms {level:.0%}"
        if count > 1:
            which, by_chance = f"{outside} of {count} records", f"{count * level:.2g} expected by chance"
        warnings.warn(
            f"{which} are unlike the simulated ones (p = {p_values.min():.2g}, {by_chance}): the "
            "posterior was not trained for them and its calibration does not carry over; check noise level, units "
            "and operator",
            OutOfDistributionWarning,
            stacklevel=4,  # of whoever calls `sample`
        )
