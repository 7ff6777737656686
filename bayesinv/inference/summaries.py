r"""What is computed from the data by physics, before any network: images ``c (batch, channels, *space)``.

``"cgls"``: the CGLS iterates 1 (the scaled adjoint), 4 and 12 for ``min_x |y - A x|^2``; ``"adjoint"``: the first
alone; ``"data"``: the data themselves where they have the shape of the image. For a linear operator and white noise
``A^T y`` is sufficient, ``p(x|y) = p(x|A^T y)``; the later iterates only precondition it. A drawn noise level enters as
one more constant image, ``log(sigma / rms(y))``.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from bayesinv.physics import ForwardModel, cgls_iterates

__all__ = ["SUMMARIES", "Summary", "summarise", "summary_channels"]

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
    if kind == "data":
        complex_data = bool(getattr(forward.operator, "complex_data", False))
        return forward.data_shape[0] * (1 + complex_data) + level
    return forward.model_shape[0] * len(_ITERATIONS[kind]) + level


@torch.no_grad()
def summarise(kind: Summary, forward: ForwardModel, y: Tensor, sigma: Tensor) -> Tensor:
    """The summary images of a batch of data ``y (batch, *data_shape)`` with noise levels ``sigma (batch,)``."""
    if kind == "data":
        images = torch.cat([y.real, y.imag], 1) if y.is_complex() else y
    else:
        images = cgls_iterates(forward.operator, y, _ITERATIONS[kind]).movedim(0, 1).flatten(1, 2)
    if isinstance(forward.noise.level, tuple):
        rms = y.abs().square().flatten(1).mean(1).sqrt()
        level = (sigma / rms).log().view(-1, *[1] * (images.ndim - 1))
        images = torch.cat([images, level.expand(-1, 1, *images.shape[2:]) / math.e], 1)
    return images
