r"""Simulation-based calibration: ranks of the target among samples, and the coverage that follows, for any functional.

For each functional ``f``, ``rank = #{s : f(x_s) < f(x*)}`` is uniform if the posterior is exact, also where ``f`` looks
at the data (``predictions``: ``A x``; ``misfit``: ``|y - A x|^2``). The misfit finds a posterior that ignores the data,
which every functional of the image alone passes; the density, ``log q(x | y)``, ranks by highest-density regions.

Sources: Talts et al. 2018 (arXiv 1804.06788); Modrak et al. 2023 (arXiv 2211.02383); Hermans et al. 2022
(arXiv 2110.06581).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayesinv.inference.calibration import Coverage, coverage, coverage_curve, interval_ranks, ranks
from bayesinv.inference.ecdf import ecdf_difference
from bayesinv.inference.functionals import Functional, evaluate, standard_functionals
from bayesinv.inference.heldout import HeldOut, Observation
from bayesinv.inference.samples import labelled
from bayesinv.inference.scores import model_axes

__all__ = ["expected_coverage", "functional_ranks", "rank_table", "sbc"]

Array: TypeAlias = NDArray[Any]

_BUILT_IN = frozenset({"pixels", "predictions", "misfit", "density"})


def functional_ranks(
    one: Observation, functionals: Mapping[str, Functional], *, density: bool = False
) -> dict[str, Array]:
    """Ranks ``(q,)`` of one observation: pixels, each functional, predictions, misfit, and the density if wanted.

    Raises:
        ValueError: if a functional has the name of one of the others.
    """
    taken = sorted(_BUILT_IN & set(functionals))
    if taken:
        raise ValueError(f"expected functionals named other than {', '.join(sorted(_BUILT_IN))}, got {taken[0]!r}")
    found = {"pixels": ranks(one.target, one.values).ravel()}
    target, drawn = evaluate(functionals, one.target[None]), evaluate(functionals, one.values)
    found |= {name: ranks(target[name][0], drawn[name]) for name in functionals}
    found["predictions"] = ranks(one.predicted_target[0], one.predicted)
    found["misfit"] = ranks(np.array([one.misfit_target()]), one.misfit()[:, None])
    if density:
        import torch

        images = np.concatenate([one.target[None], one.values]).astype(one.values.dtype)
        with torch.no_grad():
            value = one.conditioned.log_prob(torch.from_numpy(images).to(one.y.device)).cpu().numpy()
        found["density"] = ranks(value[:1], value[1:, None])
    return found


def rank_table(
    held: HeldOut, functionals: Mapping[str, Functional] | None = None, *, density: bool = False
) -> dict[str, Array]:
    """Ranks ``(N, q)`` of all observations by functional.

    Args:
        held: posterior and held-out pairs.
        functionals: of images; `standard_functionals` by default.
        density: whether to rank the log density too, which costs one more pass through a flow.
    """
    chosen = standard_functionals(held.shape) if functionals is None else functionals
    rows = [functional_ranks(one, chosen, density=density) for one in held]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def sbc(
    held: HeldOut,
    *,
    functionals: Mapping[str, Functional] | None = None,
    density: bool = True,
    level: float = 0.95,
    seed: int = 0,
) -> xr.Dataset:
    """Rank statistics of the pixels, of functionals, of predicted data, of the misfit and of the density.

    Args:
        held: posterior and held-out pairs.
        functionals: of images; `standard_functionals` by default.
        density: whether to rank the log density too.
        level: of the simultaneous bands.
        seed: of the bands.

    Returns:
        ``ecdf_difference`` and ``ecdf_band`` over ``(functional, point)``; ``p_value``, ``largest`` and ``numbers``
        (how many are pooled) over ``functional``.
    """
    table = rank_table(held, functionals, density=density)
    found = [ecdf_difference(rank, held.samples, level=level, seed=seed) for rank in table.values()]
    return xr.Dataset(
        {
            "ecdf_difference": (("functional", "point"), np.stack([one.difference for one in found])),
            "ecdf_band": (("functional", "point"), np.stack([one.band for one in found])),
            "p_value": ("functional", [one.p_value for one in found]),
            "largest": ("functional", [one.largest for one in found]),
            "numbers": ("functional", [rank.shape[1] for rank in table.values()]),
        },
        coords={"functional": list(table), "point": found[0].points},
        attrs={"observations": len(held), "samples": held.samples, "level": level},
    )


def expected_coverage(
    held: HeldOut,
    *,
    functionals: Mapping[str, Functional] | None = None,
    density: bool = True,
    level: float = 0.9,
) -> xr.Dataset:
    """Share of targets inside central intervals by ranks: of each functional, at every level, and of each pixel.

    Of the density it is the share of targets inside the region of highest density.

    Args:
        held: posterior and held-out pairs.
        functionals: of images; `standard_functionals` by default.
        density: whether to count the regions of highest density too.
        level: of the intervals of ``coverage`` and ``coverage_map``.

    Returns:
        ``coverage``, ``coverage_error`` over ``functional``; ``curve``, ``curve_error`` over ``(functional,
        nominal)``; ``coverage_map`` and its standard error ``coverage_map_error`` over the pixels; the standard errors
        count observations.
    """
    table = rank_table(held, functionals, density=density)
    found = {name: coverage(rank, held.samples, level=level) for name, rank in table.items()}
    curves = {name: coverage_curve(rank, held.samples) for name, rank in table.items()}
    if density:
        found["density"], curves["density"] = _highest_density(table["density"], held.samples, level)
    nominal = next(iter(found.values())).nominal
    first, last, _ = interval_ranks(held.samples, level)
    inside = ((table["pixels"] >= first) & (table["pixels"] <= last)).mean(0).reshape(held.shape)
    axes = model_axes(held.forward, held.shape)
    error = np.sqrt(nominal * (1 - nominal) / len(held))
    return xr.Dataset(
        {
            "coverage": ("functional", [one.value for one in found.values()]),
            "coverage_error": ("functional", [one.standard_error for one in found.values()]),
            "curve": (("functional", "nominal"), np.stack([one[1] for one in curves.values()])),
            "curve_error": (("functional", "nominal"), np.stack([one[2] for one in curves.values()])),
            "coverage_map": labelled(inside, axes, quantity=f"coverage of the {nominal:.0%} interval"),
            "coverage_map_error": error,
        },
        coords={"functional": list(found), "nominal": curves["pixels"][0]},
        attrs={"observations": len(held), "samples": held.samples, "level": nominal},
    )


def _highest_density(rank: Array, samples: int, level: float) -> tuple[Coverage, tuple[Array, Array, Array]]:
    """Coverage of regions of highest density: the target is inside where few samples have a lower density."""
    first, _, nominal = interval_ranks(samples, level)
    thresholds = 2 * np.arange(1, samples // 2 + 1)
    inside = rank[:, :1] >= thresholds
    error = inside.std(0, ddof=1) / np.sqrt(len(rank))
    hits = (rank[:, 0] >= 2 * first).astype(float)
    one = Coverage(float(hits.mean()), float(hits.std(ddof=1) / np.sqrt(len(rank))), nominal, hits)
    return one, (1 - thresholds / (samples + 1), inside.mean(0), error)
