r"""`Regression`: a linear map between all pixels of small images, ``y = W c + b``, set by least squares.

A convolution is the same everywhere and sees some pixels; what data say of an image is not the same where there are
edges, gaps or few sensors, and need not be local. From ``n`` pairs the estimate is off by ``sqrt(k / n)`` of the
posterior's standard deviation for ``k`` inputs: far less than steps on small batches leave, so that the map is set
once and not learnt further. With fewer than ``100 k`` pairs it stays zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

__all__ = ["Regression", "least_squares"]

_PAIRS = 100  # for each input
_RIDGE = 1e-6
_CHUNK = 4096


class Regression(nn.Module):
    """From ``c (batch, channels, *space)`` to ``(batch, out, *space)``; zero at the start.

    Args:
        channels: input channels.
        out: output channels.
        space: sizes of the spatial axes, which are fixed.

    Raises:
        ValueError: in use, for another space.

    Example:
        >>> import torch
        >>> Regression(3, 2, space=(4, 6))(torch.randn(5, 3, 4, 6)).shape
        torch.Size([5, 2, 4, 6])
    """

    def __init__(self, channels: int, out: int, *, space: Sequence[int]) -> None:
        super().__init__()
        self.out, self.space, pixels = out, tuple(space), math.prod(space)
        self.weight: Tensor
        self.bias: Tensor
        self.register_buffer("weight", torch.zeros(out * pixels, channels * pixels))
        self.register_buffer("bias", torch.zeros(out * pixels))

    def forward(self, c: Tensor) -> Tensor:
        """``W c + b``."""
        if tuple(c.shape[2:]) != self.space:
            raise ValueError(f"expected images of {self.space} pixels, got some of {tuple(c.shape[2:])}")
        return torch.addmm(self.bias, c.flatten(1), self.weight.T).view(len(c), self.out, *self.space)

    @torch.no_grad()
    def regress(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Sets the map to the least-squares estimate of ``x (n, out, *space)`` from ``c``, both of order one.

        Nothing is done with too few pairs, nor where the map is set already.

        Args:
            pairs: batches ``(c, x)``.

        Example:
            >>> import torch
            >>> layer, c = Regression(1, 1, space=(3,)), torch.randn(300, 1, 3)
            >>> layer.regress([(c, c.flip(2) + 2)])
            >>> bool((layer(c) - c.flip(2) - 2).abs().max() < 1e-3)
            True
        """
        if bool(self.weight.any()):
            return
        weight, bias, count = least_squares(((c.flatten(1), x.flatten(1)) for c, x in pairs), ridge=_RIDGE)
        if count >= _PAIRS * weight.shape[1]:
            self.weight.copy_(weight)
            self.bias.copy_(bias)


def least_squares(pairs: Iterable[tuple[Tensor, Tensor]], *, ridge: float) -> tuple[Tensor, Tensor, int]:
    """``W (out, k)`` and ``b`` of least ``|W c + b - x|^2 + ridge |(W, b)|^2`` on average, and the number of pairs.

    Args:
        pairs: batches ``(c (n, k), x (n, out))``, of which only one is in memory at a time.
        ridge: keeps ``W`` finite where numbers of ``c`` depend on each other.

    Raises:
        ValueError: if there are no pairs.

    Example:
        >>> import torch
        >>> c = torch.randn(100, 2)
        >>> weight, bias, n = least_squares([(c, 3 + c @ torch.tensor([[1.0], [2.0]]))], ridge=1e-6)
        >>> n, [round(value, 2) for value in [*weight[0].tolist(), *bias.tolist()]]
        (100, [1.0, 2.0, 3.0])
    """
    count, gram, cross = 0, torch.zeros(0), torch.zeros(0)
    for c, x in pairs:
        for some, wanted in zip(torch.split(c, _CHUNK), torch.split(x, _CHUNK), strict=True):
            rows = torch.cat([some, torch.ones_like(some[:, :1])], 1).double()
            if not count:
                gram = rows.new_zeros(rows.shape[1], rows.shape[1])
                cross = rows.new_zeros(rows.shape[1], x.shape[1])
            gram.addmm_(rows.T, rows)
            cross.addmm_(rows.T, wanted.double())
            count += len(some)
    if not count:
        raise ValueError("expected at least one pair for least squares, got none")
    found = torch.linalg.solve(gram / count + ridge * torch.eye(len(gram)).to(gram), cross / count)
    return found[:-1].T, found[-1], count
