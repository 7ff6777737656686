r"""`LocalLinear`: a linear map with other weights at every pixel, ``y_o[p] = b_o[p] + sum_ik W_oik[p] c_i[p + k]``.

A convolution is the same everywhere; what the data say of an image is not where there are edges, gaps or few sensors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["LocalLinear"]

_NUMBERS = 128  # in a neighbourhood
_CHUNK = 2**24  # numbers at once


class LocalLinear(nn.Module):
    """Zero at the start; neighbours beyond the edges count as zero.

    Args:
        channels: input channels.
        out: output channels.
        space: sizes of the 1 to 3 spatial axes, which are fixed.
        kernel: size of the neighbourhood along each axis; by default as many pixels as make 128 numbers, 31 at most.

    Source: LeCun, Generalization and network design strategies, 1989 (local connections without shared weights).

    Raises:
        ValueError: in use, for another space.

    Example:
        >>> import torch
        >>> LocalLinear(3, 2, space=(4, 6))(torch.randn(5, 3, 4, 6)).shape
        torch.Size([5, 2, 4, 6])
    """

    def __init__(self, channels: int, out: int, *, space: Sequence[int], kernel: int | None = None) -> None:
        super().__init__()
        rank = len(space)
        if kernel is None:
            most = min(31, 2 * max(space) - 1)
            kernel = max(k for k in range(3, most + 3, 2) if k == 3 or (k <= most and channels * k**rank <= _NUMBERS))
        self.space, self.kernel = tuple(space), kernel
        self.weight = nn.Parameter(torch.zeros(*self.space, channels * kernel**rank, out))
        self.bias = nn.Parameter(torch.zeros(out, *self.space))

    def forward(self, c: Tensor) -> Tensor:
        """``(batch, channels, *space)`` to ``(batch, out, *space)``."""
        numbers, out = self.weight.shape[-2:]
        found = torch.bmm(self._near(c), self.weight.view(-1, numbers, out) * numbers**-0.5)
        return found.permute(1, 2, 0).reshape(len(c), out, *self.space) + self.bias

    def _near(self, c: Tensor) -> Tensor:
        """The neighbourhood of every pixel, ``(pixels, batch, numbers)``."""
        if tuple(c.shape[2:]) != self.space:
            raise ValueError(f"expected images of {self.space} pixels, got some of {tuple(c.shape[2:])}")
        rank = len(self.space)
        near = F.pad(c, [self.kernel // 2] * 2 * rank)
        for axis in range(rank):
            near = near.unfold(2 + axis, self.kernel, 1)
        return near.movedim(1, 1 + rank).flatten(1, rank).flatten(2).transpose(0, 1)

    @torch.no_grad()
    def regress(self, c: Tensor, x: Tensor) -> None:
        """Sets weights and bias to the least-squares estimate of ``x (n, out, *space)``, both of order one.

        A ridge of a millionth keeps it finite where neighbours depend on each other. From ``20 numbers`` pairs on the
        error is a fifth of the residuals or less; with fewer nothing is done, nor where weights have been learnt.

        Example:
            >>> import torch
            >>> layer, c = LocalLinear(1, 1, space=(6,), kernel=3), torch.randn(100, 1, 6)
            >>> layer.regress(c, c.roll(1, 2) + 2)
            >>> bool((layer(c) - c.roll(1, 2) - 2)[:, :, 1:].abs().max() < 1e-3)
            True
        """
        numbers = self.weight.shape[-2]
        if len(c) < 20 * numbers or bool(self.weight.any()):
            return
        gram = 1e-6 * torch.eye(numbers + 1, dtype=torch.float64, device=c.device).repeat(math.prod(self.space), 1, 1)
        cross = torch.zeros_like(gram[..., : self.weight.shape[-1]])
        size = max(1, _CHUNK // gram[..., 0].numel())
        for start in range(0, len(c), size):
            near = self._near(c[start : start + size].double())
            rows = torch.cat([near, torch.ones_like(near[..., :1])], 2).transpose(1, 2)  # (pixels, numbers + 1, batch)
            wanted = x[start : start + size].double().flatten(2).permute(2, 0, 1)
            gram.baddbmm_(rows, rows.transpose(1, 2), alpha=1 / len(c))
            cross.baddbmm_(rows, wanted, alpha=1 / len(c))
        found = torch.linalg.solve(gram, cross)
        self.weight.copy_(found[:, :-1].reshape(self.weight.shape) * math.sqrt(numbers))
        self.bias.copy_(found[:, -1].T.reshape(self.bias.shape))
