"""Missing seismic traces: a frequency slice of a survey, of which some receivers or some sources are lacking.

At one frequency a survey on a line is a complex matrix ``D(s, r)``, sources by receivers, here as two channels, its
real and its imaginary part. Boats and nodes leave gaps:

    y = D(:, r_k) + noise      or      y = D(s_k, :) + noise

with jittered places ``k``. Neighbours in ``s`` and ``r`` are correlated as waves are, so that a prior of slices fills
in.

Sources: F. J. Herrmann, G. Hennenfent, Geophys. J. Int. 173 (2008) 233, doi:10.1111/j.1365-246X.2007.03698.x;
R. Kumar et al., Geophysics 80 (2015) V73, doi:10.1190/geo2014-0369.1 (frequency slices).
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch

from bayesinv.physics import Axis, ForwardModel, GaussianNoise, Operator
from bayesinv.seeding import generator
from bayesinv_operators.selection import Selection, jittered, kept_number

__all__ = ["wavefield_reconstruction"]

SPACING = 25.0  # m
Missing = Literal["receivers", "sources"]


def wavefield_reconstruction(
    size: int = 32,
    *,
    observed: float = 0.5,
    missing: Missing = "receivers",
    mask_seed: int = 0,
    noise: float | tuple[float, float] = 0.05,
) -> ForwardModel:
    """A full frequency slice ``(2, sources, receivers)``, real and imaginary part, to its observed traces.

    Args:
        size: number of sources and of receivers, 25 m apart on the same line.
        observed: the share of the receivers (or sources) that is there.
        missing: which of the two have gaps.
        mask_seed: draws where.
        noise: relative noise level, or a pair from which each record draws its own.

    Raises:
        ValueError: if the share is not above 0 and at most 1, or ``missing`` is another word.
    """
    if missing not in get_args(Missing):
        raise ValueError(f"expected missing as one of {', '.join(get_args(Missing))}, got {missing!r}")
    index = jittered(kept_number(observed, size), size, mask_seed)
    position = SPACING * np.arange(size)
    axes = (Axis("source", "m", position), Axis("receiver", "m", position))
    along = 0 if missing == "sources" else 1
    kept = Axis(axes[along].name, "m", position[index])
    return ForwardModel(
        Selection((2, size, size), index, 1 + along),
        GaussianNoise(noise),
        name="wavefield-reconstruction",
        title=f"Frequency slice of a survey, {len(index)} of {size} {missing}",
        equation=f"y = x at the observed {missing} + noise,  x = (Re D, Im D)(source, receiver)",
        model_axes=axes,
        data_axes=(kept, axes[1]) if along == 0 else (axes[0], kept),
        quantity="pressure at one frequency (real, imaginary)",
        unit="a.u.",
        data_quantity="pressure at one frequency (real, imaginary)",
        data_unit="a.u.",
        prior="frequency-slices",
        prior_parameters={"size": size},
        known_answer=_by_take,
    )


def _by_take(operator: Operator) -> tuple[torch.Tensor, torch.Tensor]:
    """numpy.take along the axis with gaps."""
    assert isinstance(operator, Selection)
    x = generator(0, 8).standard_normal(operator.model_shape)
    return operator(torch.from_numpy(x)), torch.from_numpy(np.take(x, operator.index, axis=operator.axis))
