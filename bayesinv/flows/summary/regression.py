r"""`Regression`: a linear map between all pixels of small images, ``y = W c + b``, set by least squares.

A convolution is the same everywhere and sees some pixels; what data say of an image is not the same where there are
edges, gaps or few sensors, and need not be local. From ``n`` pairs the estimate is off by ``sqrt(k / n)`` of the
posterior's standard deviation for ``k`` inputs that tell something: far less than steps on small batches leave, so
that the map is set once and not learnt further. With fewer than ``100 k`` pairs it stays zero, as it would fit them
closer than it fits others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

__all__ = ["Regression", "least_squares"]

_PAIRS = 100  # for each input
_RIDGES = [10.0**power for power in range(-10, 0)]
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
        weight, bias, count = least_squares(((c.flatten(1), x.flatten(1)) for c, x in pairs), ridges=_RIDGES)
        if count >= _PAIRS * weight.shape[1]:
            self.weight.copy_(weight)
            self.bias.copy_(bias)


def least_squares(pairs: Iterable[tuple[Tensor, Tensor]], *, ridges: Sequence[float]) -> tuple[Tensor, Tensor, int]:
    r"""``W (out, k)`` and ``b`` of least ``|W c + b - x|^2 / n + ridge |W|^2``, and ``n``, the number of pairs.

    Of several ridges the one of least generalised cross-validation, ``|W c + b - x|^2 / (n - f)^2`` with ``f = 1 +
    sum_i l_i / (l_i + ridge)`` over the eigenvalues ``l_i`` of the covariance of ``c``. A ridge keeps ``W`` finite
    where numbers of ``c`` depend on each other, and small where these pairs tell something only by chance.

    Args:
        pairs: batches ``(c (n, k), x (n, out))``, of which only one is in memory at a time.
        ridges: which to try.

    Raises:
        ValueError: if there are no pairs.

    Source: Craven and Wahba 1979, doi 10.1007/BF01404567.

    Example:
        >>> import torch
        >>> c = torch.randn(100, 2)
        >>> weight, bias, n = least_squares([(c, 3 + c @ torch.tensor([[1.0], [2.0]]))], ridges=[1e-6])
        >>> n, [round(value, 2) for value in [*weight[0].tolist(), *bias.tolist()]]
        (100, [1.0, 2.0, 3.0])
    """
    count, wide, moments = 0, 0, torch.zeros(0)
    for c, x in pairs:
        for rows in torch.split(torch.cat([c, x, torch.ones_like(c[:, :1])], 1), _CHUNK):
            wide, moments = c.shape[1], moments if count else rows.new_zeros(rows.shape[1], rows.shape[1]).double()
            moments.addmm_(rows.T.double(), rows.double())
            count += len(rows)
    if not count:
        raise ValueError("expected at least one pair for least squares, got none")
    moments /= count
    mean = moments[:-1, -1]
    moments = moments[:-1, :-1] - torch.outer(mean, mean)
    eigenvalues, basis = torch.linalg.eigh(moments[:wide, :wide])
    eigenvalues = eigenvalues.clamp_min(0)
    along = basis.T @ moments[:wide, wide:]
    all_squares = moments[wide:, wide:].trace()

    def validated(ridge: float) -> float:
        shrunk = eigenvalues + ridge
        squares = all_squares - (along.square().sum(1) * (2 - eigenvalues / shrunk) / shrunk).sum()
        return float(squares / (1 - (1 + (eigenvalues / shrunk).sum()) / count) ** 2)

    best = min(ridges, key=validated)
    weight = (basis @ (along / (eigenvalues + best)[:, None])).T
    return weight, mean[wide:] - weight @ mean[:wide], count
