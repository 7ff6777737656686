r"""`squeeze` and `unsqueeze`: half the resolution at ``2^d`` times the channels, orthogonal, ``log |det| = 0``.

| kind | what it does with the ``2^d`` pixels of a block |
|---|---|
| ``"haar"`` | sums and differences ``L = (e + o)/sqrt(2)``, ``H = (e - o)/sqrt(2)`` along each axis |
| ``"db2"`` ... ``"coif2"`` | the same with a longer orthogonal wavelet, which is periodic; see `wavelets.FILTERS` |
| ``"space-to-depth"`` | they become channels, channel-major as in ``torch.pixel_unshuffle``: ``2^d c + offset`` |
| ``"checkerboard"`` | the same, offset-major: ``offset * channels + c``; the last axis counts fastest in the offset |
| ``"patch"`` | not the pixels of a block but the ``2^d`` halves of the image become channels, offset-major |
| ``"column"`` | a plain reshape of the memory: runs of pixels become channels |

Wavelets put the low-pass channels of all axes first: the first ``c`` are those of the half-size image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Literal, get_args

import torch
from torch import Tensor

from bayesinv.reversible.tiles import looked_into
from bayesinv.reversible.wavelets import FILTERS, analysed, strided, synthesised

__all__ = ["Squeeze", "check_even", "check_kind", "squeeze", "unsqueeze"]

Squeeze = Literal[
    "haar",
    "space-to-depth",
    "checkerboard",
    "patch",
    "column",
    "db2",
    "db3",
    "db4",
    "sym4",
    "sym5",
    "sym6",
    "coif1",
    "coif2",
]


def squeeze(x: Tensor, *, kind: Squeeze = "haar") -> Tensor:
    """``(batch, channels, *space)`` to ``(batch, 2^d channels, *space/2)``.

    Source: Dinh et al., RealNVP, 2017, arXiv 1605.08803 (checkerboard); wavelets: Daubechies, Ten lectures on wavelets,
    1992, doi 10.1137/1.9781611970104.

    Raises:
        ValueError: if there is no spatial axis, or one of odd length, or the kind is unknown.

    Example:
        >>> import torch
        >>> squeeze(torch.ones(1, 1, 2, 2)).flatten().tolist()
        [2.0, 0.0, 0.0, 0.0]
        >>> squeeze(torch.arange(4.0).view(1, 1, 4), kind="patch").tolist()
        [[[0.0, 1.0], [2.0, 3.0]]]
    """
    check_kind(kind)
    check_even(x)
    d = x.ndim - 2
    half = [size // 2 for size in x.shape[2:]]
    shape = (x.shape[0], math.prod(x.shape[1:]) // math.prod(half), *half)
    if kind == "haar":
        for axis in range(2, x.ndim):
            even, odd = strided(x, axis, 0), strided(x, axis, 1)
            if looked_into():
                x = torch.cat([even + odd, even - odd], 1)
            else:
                x = _empty(even, 1)
                low, high = x.chunk(2, 1)
                torch.add(even, odd, out=low)
                torch.sub(even, odd, out=high)
        return _scaled(x, 2 ** (-d / 2))
    if kind in FILTERS:
        for axis in range(2, x.ndim):
            x = torch.cat(analysed(x, axis, FILTERS[kind]), 1)
        return x
    if kind != "column":
        pairs = [n for size in half for n in ((2, size) if kind == "patch" else (size, 2))]
        x = x.reshape(*x.shape[:2], *pairs).permute(_order(kind, d))
        return _laid_out(x, shape, [2, 3] if kind == "space-to-depth" else [1, 2])
    return x.reshape(shape)


def unsqueeze(y: Tensor, *, kind: Squeeze = "haar") -> Tensor:
    """The inverse, and adjoint, of `squeeze`.

    Raises:
        ValueError: if there is no spatial axis, or the channels are no multiple of ``2^d``, or the kind is unknown.

    Example:
        >>> import torch
        >>> x = torch.randn(2, 3, 4, 6)
        >>> torch.allclose(unsqueeze(squeeze(x)), x, atol=1e-6)
        True
    """
    check_kind(kind)
    d = y.ndim - 2
    if d < 1 or y.shape[1] % 2**d:
        raise ValueError(f"expected a multiple of {2 ** max(d, 1)} channels and a spatial axis, got {tuple(y.shape)}")
    if kind == "haar":
        for axis in range(y.ndim - 1, 1, -1):
            low, high = y.chunk(2, 1)
            if looked_into():
                y = torch.stack([low + high, low - high], axis + 1).flatten(axis, axis + 1)
            else:
                y = _empty(low, axis)
                torch.add(low, high, out=strided(y, axis, 0))
                torch.sub(low, high, out=strided(y, axis, 1))
        return _scaled(y, 2 ** (-d / 2))
    if kind in FILTERS:
        for axis in range(y.ndim - 1, 1, -1):
            low, high = y.chunk(2, 1)
            y = torch.stack(synthesised(low, high, axis, FILTERS[kind]), axis + 1).flatten(axis, axis + 1)
        return y
    channels, double = y.shape[1] // 2**d, [2 * size for size in y.shape[2:]]
    if kind != "column":
        order = _order(kind, d)
        apart = [channels, *[2] * d] if kind == "space-to-depth" else [*[2] * d, channels]
        y = y.reshape(y.shape[0], *apart, *y.shape[2:]).permute([order.index(i) for i in range(2 + 2 * d)])
        return _laid_out(y, (y.shape[0], channels, *double), [2, 4] if kind == "patch" else [3, 5])
    return y.reshape(y.shape[0], channels, *double)


def check_kind(kind: str) -> None:
    """Refuses the name of no squeeze.

    Raises:
        ValueError: if there is no such kind.

    Example:
        >>> check_kind("haar")
    """
    kinds = get_args(Squeeze)
    if kind not in kinds:
        raise ValueError(f"expected kind {', '.join(map(repr, kinds[:-1]))} or {kinds[-1]!r}, got {kind!r}")


def check_even(x: Tensor) -> None:
    """Refuses a tensor without spatial axes, or with one of odd length.

    Raises:
        ValueError: with sizes that would do.

    Example:
        >>> import torch
        >>> check_even(torch.zeros(1, 1, 4))
    """
    if x.ndim < 3 or any(size % 2 for size in x.shape[2:]):
        good = [max(2, 2 * math.ceil(size / 2)) for size in x.shape[2:]]
        raise ValueError(
            f"expected spatial sizes that can be halved, got a tensor of shape {tuple(x.shape)}"
            + (f"; sizes {good} would do" if good else "")
        )


def _empty(half: Tensor, axis: int) -> Tensor:
    """For twice as many entries along the axis; channels last in memory for images."""
    shape = [2 * size if i == axis else size for i, size in enumerate(half.shape)]
    layout = torch.channels_last if half.ndim == 4 else torch.contiguous_format
    return torch.empty(shape, dtype=half.dtype, device=half.device, memory_format=layout)


def _scaled(x: Tensor, factor: float) -> Tensor:
    return x * factor if looked_into() else x.mul_(factor)


def _laid_out(x: Tensor, shape: Sequence[int], offsets: list[int]) -> Tensor:
    """``x.reshape(shape)``; of images that no gradient follows channels last in memory.

    Offset by offset, which is faster than all at once.
    """
    if looked_into() or len(shape) != 4:
        return x.reshape(shape)
    out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    to, of = out.view(x.shape).movedim(offsets, [0, 1]), x.movedim(offsets, [0, 1])
    for i, j in product(range(2), repeat=2):
        to[i, j].copy_(of[i, j])
    return out


def _order(kind: str, d: int) -> list[int]:
    """Where the axes ``(batch, channels, split of axis 1, ..., split of axis d)`` go: offsets before space."""
    first, second = list(range(2, 2 + 2 * d, 2)), list(range(3, 3 + 2 * d, 2))
    offsets, space = (first, second) if kind == "patch" else (second, first)
    return [0, 1, *offsets, *space] if kind == "space-to-depth" else [0, *offsets, 1, *space]
