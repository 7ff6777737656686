"""`ResNetSummary` keeps the space of the data, `EncoderSummary` leaves a vector: residual convolutional networks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bayesinv.reversible import convolution
from bayesinv.reversible.resnet_conditioner import ResidualBlock

__all__ = ["EncoderSummary", "ResNetSummary"]


class ResNetSummary(nn.Module):
    """A residual CNN at full resolution, for a flow with ``condition=features``.

    A flow of several levels sees its output as block means. Dense data (rank 0) have matrices for convolutions.
    Parameters: ``blocks (2 k h^2 + 2 h) + k h channels + (h + 1) features`` with ``h = hidden``, ``k = 3^rank``
    (1 for dense data). Receptive field: ``4 blocks + 3`` pixels a side.

    Args:
        channels: input channels.
        features: channels of the condition.
        rank: number of spatial axes, 0 to 3.
        hidden: channels of the blocks.
        blocks: how many residual blocks.

    Raises:
        ValueError: if there is no block, or the rank is not 0 to 3.

    Source: He et al., Deep residual learning, 2016, arXiv 1512.03385.

    Example:
        >>> import torch
        >>> ResNetSummary(2, 4, rank=1, hidden=8)(torch.randn(3, 2, 20)).shape
        torch.Size([3, 4, 20])
    """

    def __init__(self, channels: int, features: int, *, rank: int, hidden: int = 48, blocks: int = 3) -> None:
        super().__init__()
        if blocks < 1:
            raise ValueError(f"expected one block or more, got {blocks}")
        self.enter = convolution(channels, hidden, kernel=3, rank=rank, bias=False)
        self.blocks = nn.Sequential(*[ResidualBlock(hidden, rank=rank) for _ in range(blocks)])
        self.last = convolution(hidden, features, kernel=1, rank=rank)

    def forward(self, c: Tensor) -> Tensor:
        """The condition ``(batch, features, *space)`` of ``c (batch, channels, *space)``."""
        out: Tensor = self.last(F.relu(self.blocks(self.enter(c))))
        return out


class EncoderSummary(nn.Module):
    """A convolutional encoder from traces, images or volumes of any size to one vector.

    Each width is a residual block after a convolution of kernel 3 and stride 2; the mean and the maximum over what is
    left of the space go through a matrix. Receptive field before the mean, with ``n`` widths: ``2^n 10 - 9`` pixels a
    side.

    Args:
        channels: input channels.
        features: length of the vector.
        rank: number of spatial axes, 1 (traces) to 3.
        widths: channels of the scales.

    Raises:
        ValueError: if there is no width, or the rank is not 1 to 3.

    Source: He et al., Deep residual learning, 2016, arXiv 1512.03385.

    Example:
        >>> import torch
        >>> EncoderSummary(1, 6, rank=1, widths=(8, 16))(torch.randn(3, 1, 33)).shape
        torch.Size([3, 6])
    """

    def __init__(self, channels: int, features: int, *, rank: int, widths: Sequence[int] = (32, 48, 64)) -> None:
        super().__init__()
        if rank not in (1, 2, 3) or not widths:
            raise ValueError(f"expected 1 to 3 spatial axes and one width or more, got {rank} and {tuple(widths)}")
        kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[rank - 1]
        scales: list[nn.Module] = []
        for before, width in zip((channels, *widths), widths, strict=False):
            scales += [kind(before, width, 3, stride=2, padding=1), ResidualBlock(width, rank=rank)]
        self.scales = nn.Sequential(*scales)
        self.last = nn.Linear(2 * widths[-1], features)

    def forward(self, c: Tensor) -> Tensor:
        """The vector ``(batch, features)`` of ``c (batch, channels, *space)``."""
        h = F.relu(self.scales(c)).flatten(2)
        out: Tensor = self.last(torch.cat([h.mean(2), h.amax(2)], 1))
        return out
