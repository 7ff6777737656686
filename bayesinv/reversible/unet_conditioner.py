r"""`UNetConditioner`: a U-Net from ``[a, cond]`` to the raw numbers of a coupling, for space of any size.

Down: residual block, mean over blocks of ``2^d`` pixels, 1x1 convolution. Up: nearest neighbours, 1x1 convolution, plus
what there was on the way down, residual block. Odd sizes are rounded up on the way down and cropped on the way up.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from bayesinv.reversible.conditioners import Activation, check_condition, convolution, held, zeroed
from bayesinv.reversible.resnet_conditioner import ResidualBlock

__all__ = ["UNetConditioner"]


class UNetConditioner(nn.Module):
    """A U-Net as the conditioner of a coupling, for space of rank 1 to 3: few pixels see all of the image.

    Args:
        channels: channels of the input ``a``.
        out: channels of the output.
        widths: hidden channels of the scales, from full resolution down.
        rank: number of spatial axes.
        cond_channels: channels of the condition, 0 for none.
        activation: a function of tensors.

    Source: Ronneberger et al., 2015, arXiv 1505.04597.

    Raises:
        ValueError: if there is no width or no spatial axis; in use, if a condition is missing or not expected.

    Example:
        >>> import torch
        >>> UNetConditioner(2, 4, widths=(8, 16), rank=2)(torch.randn(1, 2, 5, 8)).shape
        torch.Size([1, 4, 5, 8])
    """

    def __init__(
        self,
        channels: int,
        out: int,
        *,
        widths: Sequence[int],
        rank: int,
        cond_channels: int = 0,
        activation: Activation = F.relu,
    ) -> None:
        super().__init__()
        if rank not in (1, 2, 3) or not widths:
            raise ValueError(f"expected 1 to 3 spatial axes and one width or more, got {rank} and {tuple(widths)}")
        pairs = list(pairwise(widths))
        self.activation, self.pool = activation, (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[rank - 1]
        self.first = convolution(channels, widths[0], kernel=3, rank=rank)
        self.inject = convolution(cond_channels, widths[0], kernel=1, rank=rank, bias=False) if cond_channels else None
        self.down = nn.ModuleList(ResidualBlock(width, rank=rank, activation=activation) for width in widths)
        self.deepen = nn.ModuleList(convolution(fine, coarse, kernel=1, rank=rank) for fine, coarse in pairs)
        self.rise = nn.ModuleList(convolution(coarse, fine, kernel=1, rank=rank) for fine, coarse in pairs)
        self.up = nn.ModuleList(ResidualBlock(width, rank=rank, activation=activation) for width in widths[:-1])
        self.last = zeroed(convolution(widths[0], out, kernel=3, rank=rank))

    def forward(self, a: Tensor, cond: Tensor | None = None) -> Tensor:
        """From ``a`` and the condition, both ``(batch, channels, *space)``, to the raw numbers of the coupling."""
        check_condition(cond, self.inject)
        h = self.first(held(a))
        if self.inject is not None:
            h = h + self.inject(cond)
        h = self.down[0](h)
        kept: list[Tensor] = []
        for deepen, block in zip(self.deepen, self.down[1:], strict=True):
            kept.append(h)
            h = block(deepen(self.pool(h, 2, ceil_mode=True)))
        for rise, block in zip(reversed(self.rise), reversed(self.up), strict=True):
            skip = kept.pop()
            h = block(skip + _doubled(rise(h), skip))
        out: Tensor = self.last(self.activation(h))
        return out


def _doubled(coarse: Tensor, like: Tensor) -> Tensor:
    """Twice the size by nearest neighbours, cropped to the size of ``like``."""
    fine = F.interpolate(coarse, scale_factor=2.0, mode="nearest")
    return fine[(slice(None), slice(None), *[slice(size) for size in like.shape[2:]])]
