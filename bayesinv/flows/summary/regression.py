r"""`Regression`: a linear map between all pixels of small images, ``y = W c + b``, that starts at least squares.

A convolution is the same everywhere and sees some pixels; what data say of an image is not the same where there are
edges, gaps or few sensors, and need not be local. From ``n`` pairs ``W`` is off by ``sqrt(k / n)`` of the posterior's
standard deviation for ``k`` inputs, in the directions in which the posterior is wide. Where there are fewer than
``100 k`` pairs the map stays zero, and is not learnt either.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

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
        self.weight = nn.Parameter(torch.zeros(out * pixels, channels * pixels), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(out * pixels), requires_grad=False)

    def forward(self, c: Tensor) -> Tensor:
        """``W c + b``; the weights are kept in units of ``1 / sqrt(k)``, so that the optimizer's steps suit them."""
        if tuple(c.shape[2:]) != self.space:
            raise ValueError(f"expected images of {self.space} pixels, got some of {tuple(c.shape[2:])}")
        found = torch.addmm(self.bias, c.flatten(1), self.weight.T, alpha=self.weight.shape[1] ** -0.5)
        return found.view(len(c), self.out, *self.space)

    @torch.no_grad()
    def regress(self, c: Tensor, x: Tensor) -> None:
        """Sets the map to the least-squares estimate of ``x (n, out, *space)`` from ``c``, both of order one.

        Nothing is done with too few pairs. What has been learnt before stays as it is.

        Example:
            >>> import torch
            >>> layer, c = Regression(1, 1, space=(3,)), torch.randn(300, 1, 3)
            >>> layer.regress(c, c.flip(2) + 2)
            >>> bool((layer(c) - c.flip(2) - 2).abs().max() < 1e-3)
            True
        """
        if not bool(self.weight.any()):
            inputs = self.weight.shape[1]
            if len(c) < _PAIRS * inputs:
                return
            weight, bias = least_squares(c.flatten(1), x.flatten(1), ridge=_RIDGE)
            self.weight.copy_(weight * math.sqrt(inputs))
            self.bias.copy_(bias)
        self.requires_grad_()


def least_squares(c: Tensor, x: Tensor, *, ridge: float) -> tuple[Tensor, Tensor]:
    """``W (out, k)`` and ``b`` of least ``|W c + b - x|^2 + ridge |(W, b)|^2`` on average over ``c (n, k)`` and ``x``.

    Example:
        >>> import torch
        >>> c = torch.randn(100, 2)
        >>> weight, bias = least_squares(c, 3 + c @ torch.tensor([[1.0], [2.0]]), ridge=1e-6)
        >>> [round(value, 2) for value in [*weight[0].tolist(), *bias.tolist()]]
        [1.0, 2.0, 3.0]
    """
    gram = ridge * torch.eye(c.shape[1] + 1, dtype=torch.float64, device=c.device)
    cross = gram.new_zeros(len(gram), x.shape[1])
    for some, wanted in zip(torch.split(c, _CHUNK), torch.split(x, _CHUNK), strict=True):
        rows = torch.cat([some, torch.ones_like(some[:, :1])], 1).double()
        gram.addmm_(rows.T, rows, alpha=1 / len(c))
        cross.addmm_(rows.T, wanted.double(), alpha=1 / len(c))
    found = torch.linalg.solve(gram, cross)
    return found[:-1].T, found[-1]
