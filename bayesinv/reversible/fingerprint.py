"""A fingerprint of each sample, 64 bytes at most: its norm and seven projections ``p_k = <x, w_k>`` at random.

For an error ``e`` of ``x`` and weights with pairwise uncorrelated entries of variance 1, ``E <e, w_k>^2 = |e|^2``: the
mean square of the projections' change estimates the error wherever it sits. ``w_k`` is a product of one vector an axis,
of which the last one differs with ``k``, so that each axis is contracted in turn and ``x`` is read once. Channels go
first: they are the innermost axis in memory of what convolutions and rotations return. The vectors are random signs
times sizes between 1/2 and 3/2: with signs alone a block of equal errors, such as a Haar squeeze makes, could cancel.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Projections", "drift"]

NUMBERS = 8  # of float64: 64 bytes


class Projections:
    """The seven projections ``(batch, 7)`` of ``x (batch, channels, *space)``; the same weights at every call.

    Example:
        >>> x = torch.ones(2, 3, 4, 5)
        >>> project = Projections()
        >>> before, after = project(x), project(1.001 * x)
        >>> before.shape, bool((drift(before, x.flatten(1).norm(dim=1), after) < 0.01).all())
        (torch.Size([2, 7]), True)
    """

    def __init__(self) -> None:
        self._weights: dict[tuple[int, int, torch.dtype, torch.device], Tensor] = {}

    def __call__(self, x: Tensor) -> Tensor:
        """One matrix product for each axis."""
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            rest = x.movedim(1, -1)
            while rest.ndim > 2:
                rest = rest @ self._of(rest.shape[-1], 1, x).squeeze(1)
            return rest @ self._of(rest.shape[-1], NUMBERS - 1, x)

    def _of(self, length: int, columns: int, like: Tensor) -> Tensor:
        key = length, columns, like.dtype, like.device
        if key not in self._weights:
            draws = torch.Generator().manual_seed(length + columns)
            signs = 2 * torch.randint(2, (length, columns), generator=draws) - 1
            sizes = 0.5 + torch.rand((length, columns), generator=draws, dtype=torch.float64)
            self._weights[key] = (signs * sizes * (12 / 13) ** 0.5).to(like)
        return self._weights[key]


def drift(before: Tensor, norm: Tensor, after: Tensor) -> Tensor:
    """The estimated relative error ``|e|/|x|`` of each sample, from the projections before and after.

    Of a sample that is smaller than the others of its batch, relative to their root mean square.
    """
    change = (after - before).square().mean(-1).sqrt()
    size = torch.maximum(norm, norm.square().mean(-1, keepdim=True).sqrt())
    return torch.where(change == 0, change, change / size)
