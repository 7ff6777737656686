r"""`UnrolledSummary`: an i-RIM as the summary network of a conditional flow, ``h([eta_n; s_n])``, trained with it.

The estimate is an image of the problem, ``x = mean + scale eta``, so that ``eta`` is of order one. The last state of
the loop, estimate and memory, is what a second network (a U-Net) turns into the conditions of the flow.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bayesinv.physics.operator import AnyOperator, has_complex_data
from bayesinv.unrolled.estimator import IRIM

__all__ = ["UnrolledSummary"]


class UnrolledSummary(nn.Module):
    """Conditions from data of any shape, through a loop around the operator.

    Args:
        operator: ``A``.
        network: from ``(batch, channels + memory + further channels, *space)`` to the conditions of the flow.
        data_channels: how many of the input's channels hold the data, real parts and then imaginary ones.
        iterations: of the i-RIM.
        memory: channels of its memory.
        hidden: hidden channels of its networks.
        dilations: of its networks.

    Attributes:
        mean: of the images, to be set.
        scale: standard deviation of the images, to be set.

    Source: Putzky and Welling, Invert to learn to invert, 2019, arXiv 1911.10914 (the loop).

    Example:
        >>> import pylops, torch
        >>> from torch import nn
        >>> from bayesinv.physics import from_pylops
        >>> operator = from_pylops(pylops.Restriction((8, 8), [1, 4, 6]))
        >>> summary = UnrolledSummary(operator, nn.Conv2d(4, 5, 3, padding=1), data_channels=1, memory=3, hidden=8)
        >>> summary(torch.randn(2, 1, 8, 3)).shape
        torch.Size([2, 5, 8, 8])
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        operator: AnyOperator,
        network: nn.Module,
        *,
        data_channels: int,
        iterations: int = 4,
        memory: int = 3,
        hidden: int = 24,
        dilations: Sequence[int] = (1, 2),
    ) -> None:
        super().__init__()
        self.data_channels, self.complex_data = data_channels, has_complex_data(operator)
        self.space = tuple(operator.model_shape[1:])
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))
        if not self.space:
            dilations = (1,) * len(dilations)
        self.loop = IRIM(
            operator, iterations=iterations, memory=memory, hidden=hidden, dilations=dilations, psi=_Image(self)
        )
        self.network = network

    def forward(self, c: Tensor) -> Tensor | tuple[Tensor, ...]:
        """From ``(batch, data channels + further ones, *data space)``; the further ones are constant images."""
        data, more = c[:, : self.data_channels], c[:, self.data_channels :]
        if self.complex_data:
            data = torch.complex(*data.chunk(2, 1))
        state = self.loop.state(data)
        constants = more.flatten(2)[..., 0] if more.ndim > 2 else more
        constants = constants.view(*constants.shape, *[1] * len(self.space)).expand(-1, -1, *self.space)
        found: Tensor | tuple[Tensor, ...] = self.network(torch.cat([state, constants], 1))
        return found


class _Image:
    """``mean + scale eta``; no module, as it looks up the buffers of the one it belongs to."""

    def __init__(self, owner: UnrolledSummary) -> None:
        self.owner = owner

    def __call__(self, estimate: Tensor) -> Tensor:
        return self.owner.mean + self.owner.scale * estimate
