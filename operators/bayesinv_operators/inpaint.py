"""Missing pixels: ``y_i = x_{k_i} + noise`` at the pixels ``k`` of a mask; the others are in the null space.

Source: M. Bertalmio, G. Sapiro, V. Caselles, C. Ballester, Image inpainting, SIGGRAPH 2000, doi:10.1145/344779.344972.
"""

from __future__ import annotations

import numpy as np
import torch

from bayesinv.physics import Axis, ForwardModel, GaussianNoise, Operator
from bayesinv.seeding import generator
from bayesinv_operators.selection import Selection, kept_number

__all__ = ["inpaint"]


def inpaint(
    size: int = 32,
    *,
    observed: float = 0.25,
    mask_seed: int = 0,
    noise: float | tuple[float, float] = 0.1,
    prior: str = "matern",
) -> ForwardModel:
    """An image ``(1, size, size)`` to its values at some of the pixels, ``(1, pixels)``, chosen at random.

    Args:
        size: pixels along ``z`` and ``x``.
        observed: the share of the pixels that is observed.
        mask_seed: draws which.
        noise: relative noise level, or a pair from which each record draws its own.
        prior: name of the prior of images.

    Raises:
        ValueError: if the share is not above 0 and at most 1.
    """
    number = kept_number(observed, size * size)
    index = np.sort(generator(mask_seed, 6).permutation(size * size)[:number])
    position = np.arange(size, dtype=np.float64)
    return ForwardModel(
        Selection((1, size, size), index.tolist()),
        GaussianNoise(noise),
        name="inpaint",
        title=f"Inpainting: {number} of {size * size} pixels are observed",
        equation="y_i = x(z_i, x_i) + noise at the observed pixels i",
        model_axes=(Axis("z", "1", position), Axis("x", "1", position)),
        data_axes=(Axis("pixel", "1", index.astype(np.float64)),),
        quantity="value",
        unit="a.u.",
        data_quantity="observed value",
        data_unit="a.u.",
        prior=prior,
        prior_parameters={"size": size},
        known_answer=_by_mask,
    )


def _by_mask(operator: Operator) -> tuple[torch.Tensor, torch.Tensor]:
    """A boolean mask on the image."""
    assert isinstance(operator, Selection)
    x = generator(0, 7).standard_normal(operator.model_shape)
    mask = np.zeros(operator.model_shape, dtype=bool)
    mask.reshape(-1)[operator.index] = True
    return operator(torch.from_numpy(x)), torch.from_numpy(x[mask])[None]
