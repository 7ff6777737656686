r"""Convolutions and their gradients as products of matrices, over the patches of the side with fewer channels.

For ``y[p] = sum_k W_k x[p + k - pad]`` with ``c`` channels of ``x`` and ``o`` of ``y``, and ``X`` the matrix of patches
of ``x`` (one row a pixel of ``y``, ``k^d c`` columns) where ``c <= o``, else ``G`` that of ``dy``:

    c <= o:  Y = X W,             dW = X^T dY,  dX = dY W^T, back to its pixels
    c >  o:  Y = x W, summed up,  dW = G^T x,   dx = G W^T

The matrices are made of some rows of pixels at a time, which stay in the cache. On CPUs this takes a half to a tenth of
the time of `torch.nn.grad` in 2-D and 3-D, where a coupling's first and last convolution have few channels on one side.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["convolved", "opposite", "patches", "pulled", "rows_of", "spread"]

_BLOCK = 2**17  # numbers of a matrix of patches: half a MB, which any workspace has room for


def rows_of(x: Tensor) -> Tensor:
    """``(batch, channels, *space)`` as ``(batch * pixels, channels)``; no copy where channels come last in memory."""
    return x.movedim(1, -1).reshape(-1, x.shape[1])


def patches(x: Tensor, kernel: Sequence[int], pads: Sequence[int]) -> Tensor:
    """The neighbourhoods of all pixels of ``x`` padded with zeros: ``(batch * pixels, offsets * channels)``.

    Example:
        >>> import torch
        >>> patches(torch.tensor([[[1.0, 2.0, 3.0]]]), [3], [1]).tolist()
        [[0.0, 1.0, 2.0], [1.0, 2.0, 3.0], [2.0, 3.0, 0.0]]
    """
    return _patches(_padded(x, pads), kernel)


def spread(columns: Tensor, shape: Sequence[int], kernel: Sequence[int], pads: Sequence[int]) -> Tensor:
    """The adjoint of `patches`, into a tensor of this shape ``(batch, channels, *space)``.

    Example:
        >>> import torch
        >>> spread(torch.ones(3, 3), (1, 1, 3), [3], [1]).tolist()
        [[[2.0, 3.0, 2.0]]]
    """
    total = _zeros(columns, shape, pads)
    _spread_over(total, columns, kernel)
    return _inside(total, shape, pads)


def convolved(x: Tensor, weight: Tensor, bias: Tensor | None, pads: Sequence[int]) -> Tensor:
    """The convolution of ``x (batch, c, *space)`` with ``weight (o, c, *kernel)``.

    Example:
        >>> import torch
        >>> x, weight = torch.randn(2, 3, 4, 5, 6), torch.randn(2, 3, 3, 3, 3)
        >>> torch.allclose(convolved(x, weight, None, [1] * 3), F.conv3d(x, weight, padding=1), atol=1e-4)
        True
    """
    kernel, out = weight.shape[2:], len(weight)
    space = [n + 2 * p - k + 1 for n, p, k in zip(x.shape[2:], pads, kernel, strict=True)]
    if x.shape[1] <= out:
        y = _product(_padded(x, pads), weight.movedim(1, -1).reshape(out, -1).T, kernel)
    else:
        back, rows = opposite(kernel, pads), rows_of(x)
        total = _zeros(x, (len(x), out, *space), back)
        matrix = _reversed(weight).movedim(0, -1).reshape(x.shape[1], -1)
        for block in _blocks((len(x), *x.shape[2:]), kernel, out):
            _spread_over(block.of(total), rows[block.pixels] @ matrix, kernel)
        y = _inside(total, (len(x), out, *space), back)
    return y if bias is None else y.add_(bias.view(-1, *[1] * len(space)))


def pulled(
    x: Tensor, weight: Tensor, grad: Tensor, pads: Sequence[int], wanted: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of ``x`` and of the weight, those that are wanted, from that of `convolved`.

    Example:
        >>> import torch
        >>> x, weight, grad = torch.randn(2, 3, 6), torch.randn(4, 3, 3), torch.randn(2, 4, 6)
        >>> _, found = pulled(x, weight, grad, [1], (True, True))
        >>> torch.allclose(found, torch.nn.grad.conv1d_weight(x, weight.shape, grad, padding=1), atol=1e-4)
        True
    """
    kernel, out, channels = weight.shape[2:], len(weight), x.shape[1]
    of_x = of_weight = None
    if channels <= out:
        if wanted[1]:
            found = _correlation(_padded(x, pads), rows_of(grad), kernel)
            of_weight = found.view(*kernel, channels, out).movedim((-1, -2), (0, 1))
        if wanted[0]:
            matrix, rows = weight.movedim(1, -1).reshape(out, -1), rows_of(grad)
            total = _zeros(grad, x.shape, pads)
            for block in _blocks((len(x), *grad.shape[2:]), kernel, channels):
                _spread_over(block.of(total), rows[block.pixels] @ matrix, kernel)
            of_x = _inside(total, x.shape, pads)
    elif any(wanted):
        last = _padded(grad, opposite(kernel, pads))
        if wanted[1]:
            found = _correlation(last, rows_of(x), kernel)
            of_weight = _reversed(found.view(*kernel, out, channels).movedim((-2, -1), (0, 1)))
        if wanted[0]:
            of_x = _product(last, _reversed(weight).movedim(0, -1).reshape(channels, -1).T, kernel)
    return of_x, of_weight


class _Block(NamedTuple):
    """Samples and rows of the first axis of space, and these pixels as rows of a matrix."""

    samples: slice
    rows: slice
    pixels: slice

    def of(self, last: Tensor) -> Tensor:
        """The part of a padded image that its patches are made of."""
        return last[self.samples, self.rows]


def _blocks(size: Sequence[int], kernel: Sequence[int], channels: int) -> Iterator[_Block]:
    """Parts of ``(batch, *space)`` whose patches are at most `_BLOCK` numbers, or those of one row."""
    batch, height, more = size[0], size[1], kernel[0] - 1
    row = math.prod(size[2:])
    most = max(1, _BLOCK // (row * channels * math.prod(kernel)))  # rows
    samples = max(1, most // height)
    for i in range(0, batch, samples):
        j = min(batch, i + samples)
        for start in range(0, height, min(most, height)):
            stop = min(height, start + most)
            first = (i * height + start) * row
            pixels = slice(first, first + (j - i - 1) * height * row + (stop - start) * row)
            yield _Block(slice(i, j), slice(start, stop + more), pixels)


def _product(last: Tensor, matrix: Tensor, kernel: Sequence[int]) -> Tensor:
    """``X matrix`` as an image, of the patches ``X`` of a padded image."""
    batch, *padded, channels = last.shape
    space = [n - k + 1 for n, k in zip(padded, kernel, strict=True)]
    found = last.new_empty(batch * math.prod(space), matrix.shape[1])
    for block in _blocks((batch, *space), kernel, channels):
        torch.mm(_patches(block.of(last), kernel), matrix, out=found[block.pixels])
    return found.view(batch, *space, matrix.shape[1]).movedim(-1, 1)


def _correlation(last: Tensor, rows: Tensor, kernel: Sequence[int]) -> Tensor:
    """``X^T rows``; the many channels are the columns of the product, which is faster than the other way round."""
    batch, *padded, channels = last.shape
    space = [n - k + 1 for n, k in zip(padded, kernel, strict=True)]
    found = last.new_zeros(math.prod(kernel) * channels, rows.shape[1])
    for block in _blocks((batch, *space), kernel, channels):
        found.addmm_(_patches(block.of(last), kernel).T, rows[block.pixels])
    return found


def _padded(x: Tensor, pads: Sequence[int]) -> Tensor:
    """With zeros around, channels last."""
    return F.pad(x.movedim(1, -1), [0, 0, *[n for pad in reversed(pads) for n in (pad, pad)]]).contiguous()


def _patches(last: Tensor, kernel: Sequence[int]) -> Tensor:
    space = [size - k + 1 for size, k in zip(last.shape[1:-1], kernel, strict=True)]
    strides = last.stride()
    run = kernel[-1] * last.shape[-1]  # neighbours along the last axis lie side by side, with their channels
    view = last.as_strided(
        (len(last), *space, *kernel[:-1], run), (*strides[:-1], *strides[1:-2], 1), last.storage_offset()
    )
    return view.reshape(len(last) * math.prod(space), math.prod(kernel[:-1]) * run)


def _zeros(like: Tensor, shape: Sequence[int], pads: Sequence[int]) -> Tensor:
    batch, channels, *space = shape
    return like.new_zeros(batch, *[size + 2 * pad for size, pad in zip(space, pads, strict=True)], channels)


def _spread_over(total: Tensor, columns: Tensor, kernel: Sequence[int]) -> None:
    """Adds the adjoint of `_patches` to a padded image."""
    seen = [size - k + 1 for size, k in zip(total.shape[1:-1], kernel, strict=True)]
    parts = columns.view(len(total), *seen, math.prod(kernel), total.shape[-1])
    for i, offset in enumerate(product(*map(range, kernel))):
        place = [slice(None), *[slice(o, o + size) for o, size in zip(offset, seen, strict=True)]]
        total[tuple(place)] += parts[..., i, :]


def _inside(total: Tensor, shape: Sequence[int], pads: Sequence[int]) -> Tensor:
    inside = [slice(pad, pad + size) for pad, size in zip(pads, shape[2:], strict=True)]
    return total[(slice(None), *inside)].movedim(-1, 1)


def _reversed(weight: Tensor) -> Tensor:
    return weight.flip(list(range(2, weight.ndim)))


def opposite(kernel: Sequence[int], pads: Sequence[int]) -> list[int]:
    """The pads of the adjoint.

    Example:
        >>> opposite([3, 5], [1, 0])
        [1, 4]
    """
    return [k - 1 - pad for k, pad in zip(kernel, pads, strict=True)]
