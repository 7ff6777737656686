r"""What is computed from the data by physics, before any network: images ``c (batch, channels, *space)``.

``"cgls"``: the CGLS iterates 1 (the scaled adjoint), 4 and 12 for ``min_x |y - A x|^2``, and the data themselves where
they lie on the axes of the image; ``"adjoint"``: the first alone; ``"data"``: the data alone, of the image's shape. For
a linear operator and white noise ``A^T y`` is sufficient, ``p(x|y) = p(x|A^T y)``; the others only precondition it
(post-stack at 64x64: the network's error after the same minute is .085 of the variance with the data, .147 without). A
drawn noise level enters as one more constant image, ``log(sigma / rms(y))``.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bayesinv.physics import ForwardModel, cgls_iterates

__all__ = ["SUMMARIES", "Summary", "mirror_axes", "summarise", "summary_channels"]

Summary = Literal["cgls", "adjoint", "data"]
SUMMARIES: tuple[str, ...] = ("cgls", "adjoint", "data")
_ITERATIONS = {"cgls": (1, 4, 12), "adjoint": (1,)}


def summary_channels(kind: Summary, forward: ForwardModel) -> int:
    """How many channels `summarise` gives.

    Raises:
        ValueError: if the summary is unknown, or ``"data"`` is asked for data of another shape than the image.
    """
    if kind not in SUMMARIES:
        raise ValueError(f"expected a summary among {', '.join(SUMMARIES)}, got {kind!r}")
    if kind == "data" and forward.data_shape[1:] != forward.model_shape[1:]:
        raise ValueError(
            f"expected data on the grid {forward.model_shape[1:]} of the image for summary='data', "
            f"got {forward.data_shape[1:]}"
        )
    level = int(isinstance(forward.noise.level, tuple))
    complex_data = bool(getattr(forward.operator, "complex_data", False))
    data = forward.data_shape[0] * (1 + complex_data)
    if kind == "data":
        return data + level
    return forward.model_shape[0] * len(_ITERATIONS[kind]) + data * _with_data(kind, forward) + level


@torch.no_grad()
def summarise(kind: Summary, forward: ForwardModel, y: Tensor, sigma: Tensor) -> Tensor:
    """The summary images of a batch of data ``y (batch, *data_shape)`` with noise levels ``sigma (batch,)``."""
    data = torch.cat([y.real, y.imag], 1) if y.is_complex() else y
    images = data
    if kind != "data":
        images = cgls_iterates(forward.operator, y, _ITERATIONS[kind]).movedim(0, 1).flatten(1, 2)
        images = torch.cat([images, data], 1) if _with_data(kind, forward) else images
    if isinstance(forward.noise.level, tuple):
        rms = y.abs().square().flatten(1).mean(1).sqrt()
        level = (sigma / rms).log().view(-1, *[1] * (images.ndim - 1))
        images = torch.cat([images, level.expand(-1, 1, *images.shape[2:]) / math.e], 1)
    return images


def mirror_axes(kind: Summary, forward: ForwardModel) -> tuple[int, ...]:
    """The axes of a batch of images and summaries along which a training pair may be reversed.

    Those of `ForwardModel.mirror`; of summaries that hold the data, only where these have the axis at the same place.
    """
    names = [axis.name for axis in forward.model_axes]
    own = [axis.name for axis in forward.data_axes] if kind == "data" or _with_data(kind, forward) else names
    return tuple(2 + i for i, name in enumerate(names) if name in forward.mirror and own[i] == name)


def _with_data(kind: Summary, forward: ForwardModel) -> bool:
    axes = forward.model_axes, forward.data_axes
    return (
        kind == "cgls"
        and forward.data_shape[1:] == forward.model_shape[1:]
        and all(m.name == d.name and np.array_equal(m.coordinates, d.coordinates) for m, d in zip(*axes, strict=True))
    )
