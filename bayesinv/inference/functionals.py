r"""What is asked of an image beside its pixels: the mean, patch means, and cosine coefficients in bands of frequency.

Samples with the right spread at every pixel may still move together wrongly; then sums over patches and coefficients of
waves come out too certain or too uncertain, and their ranks tell. A functional maps images ``(n, channels, *space)`` to
rows ``(n, q)``; its q numbers are pooled in every figure, the observations being the units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Functional", "evaluate", "standard_functionals"]

Array: TypeAlias = NDArray[Any]
Functional: TypeAlias = Callable[[Array], Array]


def standard_functionals(shape: Sequence[int]) -> dict[str, Functional]:
    r"""The functionals that a diagnosis looks at unless it is given others.

    ``mean``: of each channel. ``patches``: means over patches of a quarter of each axis. ``band 1, 2, ...``: cosine
    coefficients (orthonormal DCT-II) whose wave vector ``k`` (half waves over the image) has its largest entry in
    ``[1, 2), [2, 4), [4, 8), ...``.

    Args:
        shape: ``(channels, *space)``; a bare vector has none but its own entries.

    Example:
        >>> found = standard_functionals((1, 16, 16))
        >>> [(name, function(np.zeros((3, 1, 16, 16))).shape[1]) for name, function in found.items()]
        [('mean', 1), ('patches', 16), ('band 1', 3), ('band 2', 12), ('band 3', 48), ('band 4', 192)]
    """
    space = tuple(shape[1:])
    if not space or max(space) < 2:
        return {}
    axes = tuple(range(2, 2 + len(space)))
    found: dict[str, Functional] = {"mean": lambda images: images.mean(axes)}
    if min(space) >= 8:
        found["patches"] = lambda images: _patches(images, [size // 4 for size in space])
    wave = np.maximum.reduce(np.meshgrid(*[np.arange(size) for size in space], indexing="ij"))
    for number in range(1, int(max(space) - 1).bit_length() + 1):
        inside = (wave >= 2 ** (number - 1)) & (wave < 2**number)
        found[f"band {number}"] = _band(inside, axes)
    return found


def _band(inside: Array, axes: tuple[int, ...]) -> Functional:
    def coefficients(images: Array) -> Array:
        from scipy.fft import dctn

        return np.asarray(dctn(images, axes=axes, norm="ortho"))[:, :, inside].reshape(len(images), -1)

    return coefficients


def _patches(images: Array, sizes: Sequence[int]) -> Array:
    for axis, size in enumerate(sizes, start=2):
        count = images.shape[axis] // size
        kept = np.take(images, np.arange(count * size), axis)
        images = kept.reshape(*images.shape[:axis], count, size, *images.shape[axis + 1 :]).mean(axis + 1)
    return images.reshape(len(images), -1)


def evaluate(functionals: Mapping[str, Functional], images: Any) -> dict[str, Array]:
    """Rows ``(n, q)`` of every functional on images ``(n, channels, *space)``.

    Raises:
        ValueError: if a functional gives another number of rows than there are images, or NaN or infinity.
    """
    rows = {}
    for name, function in functionals.items():
        value = np.asarray(function(np.asarray(images)), dtype=float)
        if value.ndim == 0 or len(value) != len(images):
            raise ValueError(
                f"expected functional {name!r} to map {len(images)} images to as many rows, got shape {value.shape}"
            )
        wrong = int((~np.isfinite(value)).reshape(len(value), -1).any(1).sum())
        if wrong:
            raise ValueError(
                f"expected functional {name!r} to be finite, got NaN or infinity for {wrong} of {len(images)} images"
            )
        rows[name] = value.reshape(len(images), -1)
    return rows
