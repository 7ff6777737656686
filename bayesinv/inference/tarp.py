r"""TARP: coverage of balls about reference points, a test of the joint law in any dimension.

With a reference image ``r`` and the distance ``d``, the credibility of the ball through the target is
``f = #{s : d(x_s, r) < d(x*, r)} / S``; it is uniform if the posterior is exact. References that depend on the data,
here the best multiple of the adjoint image, make the test see a posterior that ignores them; references drawn from the
prior do not.

Source: Lemos, Coogan, Hezaveh, Perreault-Levasseur 2023 (arXiv 2302.03026).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayesinv.inference.calibration import ranks
from bayesinv.inference.ecdf import ecdf_difference
from bayesinv.inference.heldout import HeldOut, Observation
from bayesinv.seeding import generator, stream

__all__ = ["scaled_adjoint", "tarp", "tarp_rank"]

Array: TypeAlias = NDArray[Any]


def tarp(
    held: HeldOut,
    *,
    references: Literal["adjoint", "prior"] | Callable[[Observation], Array] = "adjoint",
    level: float = 0.95,
    seed: int = 0,
) -> xr.Dataset:
    """Expected coverage of balls about reference images.

    Args:
        held: posterior and held-out pairs.
        references: ``"adjoint"``, the multiple of ``A^T y`` that fits the data best; ``"prior"``, the true image of
            another pair; or a function from an observation to an image ``(channels, *space)``.
        level: of the simultaneous band.
        seed: of the band, and of which pair lends its image.

    Returns:
        ``coverage``, ``band`` over ``credibility``; ``rank`` over ``observation``; ``p_value``.

    Raises:
        ValueError: for unknown references.
    """
    if not callable(references) and references not in ("adjoint", "prior"):
        raise ValueError(f"expected references 'adjoint', 'prior' or a function, got {references!r}")
    turn = int(generator(seed, stream("tarp")).integers(1, len(held)))
    found = []
    for one in held:
        if callable(references):
            reference = references(one)
        elif references == "prior":
            reference = held.x[(one.index + turn) % len(held)].cpu().numpy()
        else:
            reference = scaled_adjoint(held, one)
        found.append(tarp_rank(one, reference))
    rank = np.array(found)
    curve = ecdf_difference(rank, held.samples, level=level, seed=seed)
    return xr.Dataset(
        {
            "coverage": ("credibility", curve.points + curve.difference),
            "band": ("credibility", curve.band),
            "rank": ("observation", rank),
            "p_value": curve.p_value,
            "largest": curve.largest,
        },
        coords={"credibility": curve.points},
        attrs={"observations": len(held), "samples": held.samples, "level": level},
    )


def tarp_rank(one: Observation, reference: Array) -> int:
    """Number of samples that are nearer to a reference image than the target is."""
    distance = [((image - reference) ** 2).reshape(len(image), -1).sum(1) for image in (one.target[None], one.values)]
    return int(ranks(distance[0], distance[1][:, None])[0])


def scaled_adjoint(held: HeldOut, one: Observation) -> Array:
    """``c A^T y`` with the ``c`` that fits the data best; for a nonlinear operator the mean of all true images."""
    import torch

    if not hasattr(held.forward.operator, "adjoint"):
        return np.asarray(held.x.mean(0).cpu().numpy())
    with torch.no_grad():
        image = held.forward.operator.adjoint(one.y)
        predicted = held.forward.operator(image)
        power = float(predicted.abs().square().sum())
        scale = float((predicted.conj() * one.y).sum().real) / power if power > 0 else 0.0
    return np.asarray((scale * image)[0].cpu().numpy())
