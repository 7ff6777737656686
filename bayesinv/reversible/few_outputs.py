r"""Convolutions of images with few output channels, several pixels at a time, so that a processor's lanes are full.

A vector unit computes 8 or 16 output channels at once, used or not. With ``c`` of them ``m`` neighbours along a row
fill it: a kernel ``k`` wide becomes one of ``m c`` outputs, ``k + m - 1`` wide, at every ``m``-th pixel,

    V[p c + o, i, :, j + p] = W[o, i, :, j],   0 <= p < m,

whose result, channels last, lies in memory as that of ``W`` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

__all__ = ["convolved_side_by_side", "lanes", "neighbours"]

_MANY = 2**12  # pixels; with fewer it takes longer to widen the kernel than it saves


def neighbours(x: Tensor, out: int) -> int:
    """How many pixels of ``x (batch, c_in, h, w)`` to compute at a time; 1 where there is nothing to win.

    Example:
        >>> x = torch.zeros(2, 8, 64, 64).to(memory_format=torch.channels_last)
        >>> neighbours(x, 16), neighbours(x.double(), 2), neighbours(x[:, :, :8], 2)
        (1, 1, 1)
    """
    plain = x.ndim == 4 and x.is_cpu and x.dtype == torch.float32 and x.is_contiguous(memory_format=torch.channels_last)
    if not plain or len(x) * x.shape[2:].numel() < _MANY:
        return 1
    found = 1
    while 2 * found * out <= lanes() and x.shape[3] % (2 * found) == 0:
        found *= 2
    return found


def convolved_side_by_side(x: Tensor, weight: Tensor, bias: Tensor | None, pads: Sequence[int], m: int) -> Tensor:
    """The convolution that keeps the width of ``x``, ``m`` pixels at a time.

    Example:
        >>> x, weight = torch.randn(2, 8, 5, 12), torch.randn(3, 8, 3, 3)
        >>> y = convolved_side_by_side(x, weight, None, [1, 1], 4)
        >>> torch.allclose(y, torch.nn.functional.conv2d(x, weight, padding=1), atol=1e-5)
        True
    """
    out, channels, high, wide = weight.shape
    wider = weight.new_zeros(m, out, high, wide + m - 1, channels)
    for p in range(m):
        wider[p, :, :, p : p + wide] = weight.movedim(1, -1)
    kernel = wider.view(m * out, high, wide + m - 1, channels).movedim(-1, 1)
    y = torch.convolution(
        x, kernel, None if bias is None else bias.repeat(m), [1, m], list(pads), [1, 1], False, [0, 0], 1
    )
    return y.movedim(1, -1).reshape(len(x), y.shape[2], -1, out).movedim(-1, 1)


@cache
def lanes() -> int:
    """How many float32 numbers the processor computes at once; 1 where that is not known.

    Example:
        >>> lanes() in (1, 8, 16)
        True
    """
    return {"AVX512": 16, "AVX2": 8}.get(torch.backends.cpu.get_cpu_capability(), 1)
