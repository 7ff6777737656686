"""A fingerprint of each sample, 64 bytes at most: its norm and seven projections ``p_k = <x, w_k>`` at random.

For an error ``e`` of ``x`` and weights with pairwise uncorrelated entries of variance 1, ``E <e, w_k>^2 = |e|^2``: the
mean square of the projections' change estimates the error wherever it sits. ``w_k`` is a product of one vector an axis,
of which one differs with ``k``, so that ``x`` is read once. Channels and the last axis of space go first: they are the
innermost in memory of what convolutions and rotations return. The vectors are random signs
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
        self._weights: dict[tuple[tuple[int, ...], int, torch.dtype, torch.device], Tensor] = {}

    def __call__(self, x: Tensor) -> Tensor:
        """Two matrix products: of the last axis of space with the channels, then of the others."""
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            rest = x.movedim(1, -1)
            inner = rest.shape[-2:] if x.ndim > 3 else ()
            if inner:
                rest = rest.flatten(-2) @ self._of(inner, 1, x).squeeze(1)
            return rest.flatten(1) @ self._of(tuple(rest.shape[1:]), NUMBERS - 1, x)

    def _of(self, lengths: tuple[int, ...], columns: int, like: Tensor) -> Tensor:
        """The products of one vector for each axis; there are several for the first."""
        key = lengths, columns, like.dtype, like.device
        if key not in self._weights:
            first, *others = (_drawn(length, columns if i == 0 else 1) for i, length in enumerate(lengths))
            for other in others:
                first = (first.unsqueeze(1) * other.unsqueeze(0)).flatten(0, 1)
            self._weights[key] = first.to(like)
        return self._weights[key]


def _drawn(length: int, columns: int) -> Tensor:
    draws = torch.Generator().manual_seed(length + columns)
    signs = 2 * torch.randint(2, (length, columns), generator=draws) - 1
    sizes = 0.5 + torch.rand((length, columns), generator=draws, dtype=torch.float64)
    drawn: Tensor = signs * sizes * (12 / 13) ** 0.5
    return drawn


def drift(before: Tensor, norm: Tensor, after: Tensor) -> Tensor:
    """The estimated relative error ``|e|/|x|`` of each sample, from the projections before and after.

    Of a sample that is smaller than the others of its batch, relative to their root mean square.
    """
    change = (after - before).square().mean(-1).sqrt()
    size = torch.maximum(norm, norm.square().mean(-1, keepdim=True).sqrt())
    return torch.where(change == 0, change, change / size)
