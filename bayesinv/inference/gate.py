r"""The gate: are these data like the simulated ones? A p-value-like score, with a warning where they are not.

Features of a record, all logarithms: its rms; its residual ``|y - A x_k|^2 / (sigma^2 m)`` after 1, 4 and 12 steps of
CGLS (the data misfit after a classical inference); the shares of energy in half-octave bands of its cosine transform
along each axis, of the record and of the last residual. The score is the Mahalanobis distance from simulated records,
with a shrunk covariance; with the scores ``s_1 .. s_n`` of those, each left out of its own mean and covariance,

    p(y) = (1 + #{i : s_i >= s(y)}) / (n + 1),

so data as simulated are stopped with probability `level`, whatever the features are worth (conformal prediction).

Sources: Vovk, Gammerman, Shafer 2005 (doi 10.1007/b106715); Schmitt, Buerkner, Koethe, Radev 2023 (arXiv 2112.08866).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bayesinv.inference.problem import Problem
from bayesinv.physics import ForwardModel, cgls_iterates

__all__ = ["LEVEL", "Gate", "OutOfDistributionWarning", "data_features", "fit_gate", "gate_unheard", "warn_if_outside"]

LEVEL = 0.01
_SHRINK = 0.1
_STEPS = (1, 4, 12)
_FLOOR = 1e-12


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
        scores: of the simulated records, each left out of its own reference, sorted, ``(n,)``.
        level: false-alarm rate at which `sample` warns.
    """

    mean: NDArray[np.float64]
    precision: NDArray[np.float64]
    scores: NDArray[np.float64]
    level: float = LEVEL

    @staticmethod
    def fit(features: Any, *, level: float = LEVEL) -> Gate:
        """The gate of feature rows ``(n, k)`` of simulated records.

        Raises:
            ValueError: if there are too few rows for the level to be reached, or it is not between 0 and 1.

        Example:
            >>> rows = np.random.default_rng(0).normal(size=(300, 3))
            >>> gate = Gate.fit(rows)
            >>> gate.p_value([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0]]).round(3)
            array([1.   , 0.003])
        """
        rows = np.asarray(features, dtype=float)
        if not 0 < level < 1:
            raise ValueError(f"expected a level between 0 and 1, got {level}")
        if rows.ndim != 2 or len(rows) < math.ceil(1 / level):
            raise ValueError(f"expected {math.ceil(1 / level)} or more rows for a level of {level}, got {rows.shape}")
        mean, precision = _reference(rows)
        scores = [_distance(rows[i], *_reference(np.delete(rows, i, axis=0))) for i in range(len(rows))]
        return Gate(mean, precision, np.sort(np.array(scores)), level)

    def score(self, features: Any) -> NDArray[np.float64]:
        """Mahalanobis distance of feature rows ``(n, k)``, ``(n,)``; infinite where a feature is not finite."""
        rows = np.atleast_2d(np.asarray(features, dtype=float))
        return np.array([_distance(row, self.mean, self.precision) for row in rows])

    def p_value(self, features: Any) -> NDArray[np.float64]:
        """Share of simulated records at least as far out, the record itself counted, ``(n,)``."""
        above = len(self.scores) - np.searchsorted(self.scores, self.score(features), side="left")
        return np.asarray((1 + above) / (len(self.scores) + 1))

    def to_record(self) -> dict[str, Any]:
        """As JSON, seven digits."""
        return {
            "mean": [float(f"{value:.7g}") for value in self.mean],
            "precision": [[float(f"{value:.7g}") for value in row] for row in self.precision],
            "scores": [float(f"{value:.7g}") for value in self.scores],
            "level": self.level,
        }

    @staticmethod
    def from_record(record: dict[str, Any]) -> Gate:
        """Back from `to_record`."""
        mean, precision, scores = (np.asarray(record[name], dtype=float) for name in ("mean", "precision", "scores"))
        return Gate(mean, precision, scores, level=float(record["level"]))


def _reference(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean, and inverse of ``(1 - a) cov + a diag(cov)``."""
    covariance = np.atleast_2d(np.cov(rows.T))
    spread = np.maximum(np.diag(covariance), 1e-8)
    shrunk = (1 - _SHRINK) * covariance + np.diag(_SHRINK * spread)
    return np.asarray(rows.mean(0)), np.asarray(np.linalg.inv(shrunk), dtype=np.float64)


def _distance(row: NDArray[np.float64], mean: NDArray[np.float64], precision: NDArray[np.float64]) -> float:
    if not np.isfinite(row).all():
        return math.inf
    return math.sqrt(max(float((row - mean) @ precision @ (row - mean)), 0.0))


def fit_gate(problem: Problem, *, simulations: int = 200, seed: int = 0, level: float = LEVEL) -> Gate:
    """The gate of a problem, from freshly simulated records.

    Args:
        problem: the simulator.
        simulations: number of records.
        seed: of the records; choose another than in training.
        level: false-alarm rate.

    Raises:
        ValueError: if there are too few records for the level.
    """
    rows = []
    for start in range(0, simulations, 50):
        _, y, sigma = problem.sample(min(50, simulations - start), seed, start=start)
        rows.append(data_features(problem.forward, y, sigma))
    return Gate.fit(np.concatenate(rows), level=level)


def data_features(forward: ForwardModel, y: Tensor, sigma: Tensor) -> NDArray[np.float64]:
    """The features ``(batch, k)`` of data ``(batch, *data_shape)`` with noise levels ``(batch,)``; all logarithms."""
    with torch.no_grad():
        found = [_log(_real(y).square().mean(1, keepdim=True).sqrt()), _bands(y)]
        if hasattr(forward.operator, "adjoint"):
            iterates = cgls_iterates(forward.operator, y, _STEPS)
            residuals = [y - forward.operator(x) for x in iterates]
            power = torch.stack([_real(part).square().mean(1) for part in residuals], 1)
            level = sigma.to(power).reshape(-1, 1)
            found += [_log(power / level**2), _bands(residuals[-1])]
    return np.concatenate([part.double().cpu().numpy() for part in found], axis=1)


def warn_if_outside(p_values: NDArray[np.float64], level: float) -> None:
    """Warns of records that the gate would stop."""
    outside = np.flatnonzero(p_values < level)
    if len(outside):
        which = "these data" if len(p_values) == 1 else f"{len(outside)} of {len(p_values)} records"
        warnings.warn(
            f"{which} are unlike the simulated ones (p = {p_values.min():.2g}, false alarms {level:.0%}): the "
            "posterior was not trained for them and its calibration does not carry over; check noise level, units "
            "and operator",
            OutOfDistributionWarning,
            stacklevel=3,
        )


def _bands(data: Tensor) -> Tensor:
    """Log shares of energy of half-octave bands of the cosine transform, axis by axis, ``(batch, bands)``."""
    from scipy.fft import dctn

    parts = torch.view_as_real(data).movedim(-1, 1).flatten(1, 2) if data.is_complex() else data
    values = parts.double().cpu().numpy()
    axes = tuple(range(2, values.ndim))
    if not axes:
        return _log(parts.double().square() / parts.double().square().sum(1, keepdim=True).clamp_min(_FLOOR))
    power = np.asarray(dctn(values, axes=axes, norm="ortho")) ** 2
    shares = []
    for axis in axes:
        along = power.sum(tuple(a for a in range(1, values.ndim) if a != axis))
        along = along / np.maximum(along.sum(1, keepdims=True), _FLOOR)
        edges = _half_octaves(along.shape[1])
        shares += [along[:, low:high].sum(1) for low, high in pairwise(edges)]
    return _log(torch.from_numpy(np.stack(shares, 1)))


def _half_octaves(size: int) -> list[int]:
    edges = {0, 1, size} | {round(2 ** (k / 2)) for k in range(1, 2 * size.bit_length() + 2)}
    return sorted(edge for edge in edges if edge <= size)


def _real(data: Tensor) -> Tensor:
    return (torch.view_as_real(data) if data.is_complex() else data).flatten(1)


def _log(values: Tensor) -> Tensor:
    return torch.log(values.double().clamp_min(_FLOOR))
