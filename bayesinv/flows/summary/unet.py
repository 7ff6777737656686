r"""`UNet`: the summary network, from channels at full resolution to a pyramid of conditions.

``c (batch, channels, *space) -> (head, f_1, ..., f_L)``: the head ``(r, t)`` shifts and scales ``x`` at full resolution
(`bayesinv.reversible.ShiftScale`), ``f_l`` feeds level ``l`` of the flow at ``space / 2^l``. All are trained jointly
through the flow's condition gradient.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bayesinv.flows.summary.regression import Regression
from bayesinv.reversible import convolution, squeeze, unsqueeze
from bayesinv.reversible.conditioners import Activation
from bayesinv.reversible.resnet_conditioner import ResidualBlock

__all__ = ["UNet"]

_ENTRIES = 2**18  # of the matrix of a `Regression`


class UNet(nn.Module):
    """A U-Net with residual blocks whose decoder gives a condition at every scale.

    It enters and leaves by the orthogonal Haar squeeze, so that all convolutions run at half resolution and below,
    on more channels: on a CPU, twice the accuracy for the same time.

    Args:
        channels: input channels.
        out: channels of the head, twice those of ``x``: raw log-scales, then shifts; zero at the start.
        rank: number of spatial axes, 1 to 3.
        widths: channels of the scales from half resolution down; their number is the number of levels.
        features: channels of each level's condition.
        linear_ends: whether head and conditions are read off the trunk itself rather than its positive part: there is
            then a linear path from the input to all of them, beside which the residual blocks only correct.
        space: the sizes of the spatial axes, if they are fixed: head and conditions then have a bias of their own at
            every pixel, and the shifts of images of few pixels a `Regression` path from the input.

    Source: Ronneberger et al., 2015, arXiv 1505.04597; jointly trained summaries: Radev et al., BayesFlow, 2020,
    arXiv 2003.06281.

    Example:
        >>> import torch
        >>> net = UNet(3, 2, rank=2, widths=(8, 8), features=4)
        >>> [tuple(part.shape) for part in net(torch.randn(1, 3, 16, 16))]
        [(1, 2, 16, 16), (1, 4, 8, 8), (1, 4, 4, 4)]
    """

    def __init__(
        self,
        channels: int,
        out: int,
        *,
        rank: int,
        widths: Sequence[int] = (48, 64, 96),
        features: int = 24,
        linear_ends: bool = False,
        space: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.end: Activation = nn.Identity() if linear_ends else F.relu
        if rank not in (1, 2, 3) or not widths:
            raise ValueError(f"expected 1 to 3 spatial axes and one width or more, got {rank} and {tuple(widths)}")
        pairs = list(pairwise(widths))
        self.pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[rank - 1]
        self.enter = convolution(channels * 2**rank, widths[0], kernel=3, rank=rank)
        self.down = nn.ModuleList(ResidualBlock(width, rank=rank) for width in widths)
        self.deepen = nn.ModuleList(convolution(fine, coarse, kernel=1, rank=rank) for fine, coarse in pairs)
        self.rise = nn.ModuleList(convolution(coarse, fine, kernel=1, rank=rank) for fine, coarse in pairs)
        self.up = nn.ModuleList(ResidualBlock(width, rank=rank) for width in widths[:-1])
        self.taps = nn.ModuleList(convolution(width, features, kernel=1, rank=rank) for width in widths)
        self.head = convolution(widths[0], out * 2**rank, kernel=3, rank=rank)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)
        few = space is not None and channels * out // 2 * math.prod(space) ** 2 <= _ENTRIES
        self.regression = Regression(channels, out // 2, space=space) if space is not None and few else None
        sizes = [] if space is None else [[size // 2**level for size in space] for level in range(len(widths) + 1)]
        self.places = nn.ParameterList(
            torch.zeros(width, *size) for width, size in zip([out, *[features] * len(widths)], sizes, strict=False)
        )

    def forward(self, c: Tensor) -> tuple[Tensor, ...]:
        """The pyramid ``(head, f_1, ..., f_L)`` of the channels ``c (batch, channels, *space)``.

        Raises:
            ValueError: if a spatial size cannot be halved as often as there are levels.
        """
        block = 2 ** len(self.taps)
        if any(size % block for size in c.shape[2:]):
            raise ValueError(f"expected spatial sizes that are multiples of {block}, got {tuple(c.shape[2:])}")
        given, c = c, squeeze(c)
        h = self.down[0](self.enter(c.contiguous(memory_format=torch.channels_last) if c.ndim == 4 else c))
        kept: list[Tensor] = []
        for deepen, block in zip(self.deepen, self.down[1:], strict=True):
            kept.append(h)
            h = block(deepen(self.pool(h, 2)))
        end = self.end(h)
        pyramid = [self.taps[-1](end)]
        for i in reversed(range(len(self.up))):
            h = self.up[i](F.interpolate(self.rise[i](h), scale_factor=2.0, mode="nearest").add_(kept[i]))
            end = self.end(h)
            pyramid.append(self.taps[i](end))
        pyramid.append(unsqueeze(self.head(end)))
        found = pyramid[::-1]
        if self.places:
            found = [part + place for part, place in zip(found, self.places, strict=True)]
        if self.regression is not None:
            raw, shift = found[0].chunk(2, 1)
            found[0] = torch.cat([raw, shift + self.regression(given)], 1)
        return tuple(found)

    def regress(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Sets the `Regression` path, if there is one, to least squares over batches ``(c, x)``."""
        if self.regression is not None:
            self.regression.regress(pairs)
