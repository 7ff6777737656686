r"""`LocalLinear`: a linear map with other weights at every pixel, ``y_o[p] = b_o[p] + sum_ik W_oik[p] c_i[p + k]``.

A convolution is the same everywhere; what the data say of an image is not where there are edges, gaps or few sensors.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["LocalLinear"]


class LocalLinear(nn.Module):
    """Zero at the start; neighbours beyond the edges count as zero.

    Args:
        channels: input channels.
        out: output channels.
        space: sizes of the 1 to 3 spatial axes, which are fixed.
        kernel: size of the neighbourhood along each axis.

    Source: LeCun, Generalization and network design strategies, 1989 (local connections without shared weights).

    Raises:
        ValueError: in use, for another space.

    Example:
        >>> import torch
        >>> LocalLinear(3, 2, space=(4, 6))(torch.randn(5, 3, 4, 6)).shape
        torch.Size([5, 2, 4, 6])
    """

    def __init__(self, channels: int, out: int, *, space: Sequence[int], kernel: int = 7) -> None:
        super().__init__()
        self.space, self.kernel = tuple(space), kernel
        self.weight = nn.Parameter(torch.zeros(*self.space, channels * kernel ** len(self.space), out))
        self.bias = nn.Parameter(torch.zeros(out, *self.space))

    def forward(self, c: Tensor) -> Tensor:
        """``(batch, channels, *space)`` to ``(batch, out, *space)``."""
        if tuple(c.shape[2:]) != self.space:
            raise ValueError(f"expected images of {self.space} pixels, got some of {tuple(c.shape[2:])}")
        rank, (numbers, out) = len(self.space), self.weight.shape[-2:]
        near = F.pad(c, [self.kernel // 2] * 2 * rank)
        for axis in range(rank):
            near = near.unfold(2 + axis, self.kernel, 1)
        near = near.movedim(1, 1 + rank).flatten(1, rank).flatten(2).transpose(0, 1)  # (pixels, batch, numbers)
        found = torch.bmm(near, self.weight.view(-1, numbers, out) * numbers**-0.5)
        return found.permute(1, 2, 0).reshape(len(c), out, *self.space) + self.bias
