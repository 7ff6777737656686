"""Gaussian blur: ``y = g * x + noise`` with ``g(z, x) ~ exp(-(z^2 + x^2) / (2 w^2))``, zero outside of the image.

The kernel separates, so the blur is one banded matrix on each axis: ``y = G x G^T``.
Source: P. C. Hansen, J. G. Nagy, D. P. O'Leary, Deblurring Images, SIAM, 2006, doi:10.1137/1.9780898718874.
"""

from __future__ import annotations

import numpy as np
import torch

from bayesinv.physics import Axis, ForwardModel, GaussianNoise, Operator
from bayesinv.seeding import generator
from bayesinv_operators.separable import Separable

__all__ = ["deblur"]

CUT = 4.0  # the kernel is cut at this many widths, and then normalised to sum to one


def deblur(
    size: int = 32, *, blur: float = 1.5, noise: float | tuple[float, float] = 0.05, prior: str = "vessels"
) -> ForwardModel:
    """A sharp image ``(1, size, size)`` to a blurred one of the same shape.

    Args:
        size: pixels along ``z`` and ``x``.
        blur: its standard deviation, in pixels.
        noise: relative noise level, or a pair from which each record draws its own.
        prior: name of the prior of sharp images.

    Raises:
        ValueError: if the blur is not positive.
    """
    axes = tuple(Axis(name, "1", np.arange(size, dtype=np.float64)) for name in ("z", "x"))
    return ForwardModel(
        Blur(size, blur),
        GaussianNoise(noise),
        name="deblur",
        title=f"Gaussian blur of {blur} pixels",
        equation="y = g * x + noise,  g ~ exp(-r^2 / (2 w^2))",
        model_axes=axes,
        data_axes=axes,
        quantity="brightness",
        unit="a.u.",
        data_quantity="blurred brightness",
        data_unit="a.u.",
        prior=prior,
        prior_parameters={"size": size},
        mirror=("z", "x"),
        known_answer=_by_scipy,
    )


class Blur(Separable):
    """``y = G x G^T``; it remembers its width."""

    def __init__(self, size: int, width: float) -> None:
        if size < 1 or not width > 0:
            raise ValueError(f"expected a positive size and blur, got {size} and {width}")
        distance = np.abs(np.arange(size)[:, None] - np.arange(size))
        radius = int(CUT * width + 0.5)
        total = np.exp(-0.5 * (np.arange(-radius, radius + 1) / width) ** 2).sum()
        matrix = np.where(distance <= radius, np.exp(-0.5 * (distance / width) ** 2) / total, 0.0)
        super().__init__(matrix, matrix)
        self.width = width


def _by_scipy(operator: Operator) -> tuple[torch.Tensor, torch.Tensor]:
    """The blur of ``scipy.ndimage``."""
    from scipy.ndimage import gaussian_filter

    assert isinstance(operator, Blur)
    x = generator(0, 3).standard_normal(operator.model_shape[1:])
    expected = gaussian_filter(x, operator.width, mode="constant", truncate=CUT)
    return operator(torch.from_numpy(x)[None]), torch.from_numpy(expected)[None]
