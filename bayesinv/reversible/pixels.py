"""The pixels of a batch as the rows of one matrix, for layers that mix the channels of each pixel."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["as_image", "as_rows", "full_precision", "sum_of_rows"]

_LONG = 2**16  # numbers


def as_rows(x: Tensor, channels: int) -> Tensor:
    """``(batch, channels, *space)`` as ``(batch * pixels, channels)``.

    Raises:
        ValueError: if ``x`` has another number of channels.

    Example:
        >>> as_rows(torch.zeros(2, 3, 4, 5), 3).shape
        torch.Size([40, 3])
    """
    if x.shape[1] != channels:
        raise ValueError(f"expected {channels} channels, got a tensor of shape {tuple(x.shape)}")
    return x.movedim(1, -1).reshape(-1, channels)


def as_image(rows: Tensor, like: Tensor) -> Tensor:
    """The inverse of `as_rows`, in the batch and space of ``like``.

    Example:
        >>> x = torch.randn(2, 3, 4)
        >>> torch.equal(as_image(as_rows(x, 3), x), x)
        True
    """
    return rows.reshape(like.shape[0], *like.shape[2:], rows.shape[1]).movedim(-1, 1)


def sum_of_rows(rows: Tensor) -> Tensor:
    """The sum over the rows of a matrix; of a long one as of 16 side by side, which is twice as fast.

    Example:
        >>> sum_of_rows(torch.ones(5, 2)).tolist()
        [5.0, 5.0]
    """
    beside = math.gcd(len(rows), 16) if rows.numel() > _LONG and rows.is_contiguous() else 1
    return rows.sum(0) if beside == 1 else rows.view(-1, beside * rows.shape[1]).sum(0).view(beside, -1).sum(0)


def full_precision(x: Tensor) -> torch.autocast:
    """No autocast: a matrix applied in half precision has an inverse that would not find the input again.

    Example:
        >>> with torch.autocast("cpu", dtype=torch.bfloat16), full_precision(torch.zeros(1)):
        ...     torch.is_autocast_enabled("cpu")
        False
    """
    return torch.autocast(x.device.type, enabled=False)
