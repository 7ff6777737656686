r"""Proper scores of samples, smallest in expectation for the exact posterior: CRPS, energy and variogram score.

In their unbiased forms for S samples::

    CRPS      = E |x - x*| - 1/2 E |x - x'|                       per pixel, averaged
    energy    = E ||x - x*|| - 1/2 E ||x - x'||                   of the whole image
    variogram = sum_h mean_i ( |x*_i - x*_{i+h}|^p - E |x_i - x_{i+h}|^p )^2

The CRPS sees the pixels one by one; the variogram score sees how they move
together. Each comes with that of the prior (the true images of other pairs as samples) and the skill
``1 - score / prior score``.

Sources: Gneiting and Raftery 2007 (doi 10.1198/016214506000001437); Scheuerer and Hamill 2015
(doi 10.1175/MWR-D-14-00269.1); Ferro 2014 (doi 10.1002/qj.2270).
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayesinv.inference.heldout import HeldOut

__all__ = ["crps", "energy_score", "proper_scores", "variogram_score"]

Array: TypeAlias = NDArray[Any]
_LAGS = (1, 2, 4)


def crps(target: Any, samples: Any) -> Array:
    """Continuous ranked probability score of each number, of the shape of `target`; `samples` has S in front.

    Example:
        >>> float(crps(0.0, [-1.0, 1.0]))  # 1 - 1/2 * 2
        0.0
    """
    truth, draws = np.asarray(target, dtype=float), np.sort(np.asarray(samples, dtype=float), axis=0)
    count = len(draws)
    weight = (2 * np.arange(1, count + 1) - count - 1).reshape(-1, *[1] * truth.ndim)
    apart = 2 * (weight * draws).sum(0) / (count * (count - 1))
    return np.asarray(np.abs(draws - truth).mean(0) - 0.5 * apart)


def energy_score(target: Any, samples: Any) -> float:
    """Energy score of one image ``target`` and samples ``(S, *shape)``, over the root of the number of pixels.

    Example:
        >>> energy_score(np.zeros(1), np.array([[-1.0], [1.0]]))
        0.0
    """
    draws = np.asarray(samples, dtype=float).reshape(len(samples), -1)
    truth = np.asarray(target, dtype=float).ravel()
    count = len(draws)
    centred = draws - draws.mean(0)
    square = (centred**2).sum(1)
    apart = np.sqrt(np.maximum(square[:, None] + square - 2 * centred @ centred.T, 0)).sum() / (count * (count - 1))
    near = np.linalg.norm(draws - truth, axis=1).mean()
    return float((near - 0.5 * apart) / np.sqrt(truth.size))


def variogram_score(target: Any, samples: Any, *, power: float = 0.5) -> float:
    """Variogram score of one image ``(channels, *space)`` and samples ``(S, channels, *space)``.

    Differences are taken over lags of 1, 2 and 4 pixels along each axis.
    The square is estimated without bias: the variance of the mean over samples is taken off.
    """
    truth, draws = np.asarray(target, dtype=float)[None], np.asarray(samples, dtype=float)
    total = 0.0
    for axis in range(2, draws.ndim):
        for lag in _LAGS:
            if lag >= draws.shape[axis]:
                continue
            found, wanted = (np.abs(_lagged(images, axis, lag)) ** power for images in (draws, truth))
            miss = (wanted[0] - found.mean(0)) ** 2 - found.var(0, ddof=1) / len(found)
            total += float(miss.mean())
    return total


def _lagged(images: Array, axis: int, lag: int) -> Array:
    size = images.shape[axis]
    return np.asarray(np.take(images, np.arange(lag, size), axis) - np.take(images, np.arange(size - lag), axis))


def proper_scores(held: HeldOut) -> xr.Dataset:
    """CRPS, energy and variogram score of each observation, and those of the prior.

    Args:
        held: posterior and held-out pairs.

    Returns:
        For each of ``crps``, ``energy``, ``variogram``: the score, ``*_prior`` over ``observation``, and ``*_skill``
        with ``*_skill_error``, a standard error over observations.

    Raises:
        ValueError: for fewer than three observations: the prior's samples are the true images of the others.
    """
    if len(held) < 3:
        raise ValueError(f"expected 3 or more observations for proper scores, got {len(held)}")
    rows = []
    for one in held:
        others = np.stack([held.target(i) for i in range(len(held)) if i != one.index][: max(held.samples, 2)])
        row = {}
        for name, samples in (("", one.values), ("_prior", others)):
            row[f"crps{name}"] = crps(one.target, samples).mean()
            row[f"energy{name}"] = energy_score(one.target, samples)
            row[f"variogram{name}"] = variogram_score(one.target, samples)
        rows.append(row)
    found = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    arrays: dict[str, Any] = {name: ("observation", value) for name, value in found.items()}
    for name in ("crps", "energy", "variogram"):
        score, prior = found[name], found[f"{name}_prior"]
        ratio = score.sum() / prior.sum() if prior.sum() > 0 else np.nan
        deviation = score - ratio * prior
        arrays[f"{name}_skill"] = 1 - ratio
        arrays[f"{name}_skill_error"] = np.sqrt(len(score) * deviation.var(ddof=1)) / prior.sum()
    return xr.Dataset(arrays, attrs={"observations": len(held), "samples": held.samples})
