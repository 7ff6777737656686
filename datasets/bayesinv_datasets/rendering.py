"""A picture of a tree: every pixel holds ``max over segments of clip(r + 1/2 - distance, 0, 1)``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["draw_segments"]

Floats = NDArray[np.float64]


def draw_segments(start: Floats, end: Floats, radius: Floats, size: int) -> Floats:
    """Draw capsules with soft edges, one pixel wide, on a ``(size, size)`` grid whose pixel centres are whole numbers.

    Each segment is compared with the pixels of its own square neighbourhood only; segments go in groups of like radius.

    Args:
        start: ``(segments, 2)`` as (z, x), in pixels.
        end: ``(segments, 2)``.
        radius: ``(segments,)``, in pixels.
        size: side of the picture.

    Example:
        >>> draw_segments(np.array([[0.0, 2.0]]), np.array([[4.0, 2.0]]), np.array([0.5]), 5)[2].round(2).tolist()
        [0.0, 0.0, 1.0, 0.0, 0.0]
    """
    picture = np.zeros(size * size)
    centre, along = 0.5 * (start + end), end - start
    square = np.maximum((along**2).sum(1), 1e-12)
    reach = np.ceil(radius + 0.5 * np.sqrt(square) + 0.5).astype(np.int64)
    inside = ((centre > -1 - reach[:, None]) & (centre < size + reach[:, None])).all(1)
    for half in np.unique(reach[inside]):
        chosen = np.flatnonzero(inside & (reach == half))
        offset = np.arange(-half, half + 1)
        corner = np.rint(centre[chosen]).astype(np.int64)
        z = (corner[:, 0, None] + offset)[:, :, None]
        x = (corner[:, 1, None] + offset)[:, None, :]
        from_z, from_x = z - start[chosen, 0, None, None], x - start[chosen, 1, None, None]
        along_z, along_x = along[chosen, 0, None, None], along[chosen, 1, None, None]
        share = np.clip((from_z * along_z + from_x * along_x) / square[chosen, None, None], 0.0, 1.0)
        distance = np.sqrt((from_z - share * along_z) ** 2 + (from_x - share * along_x) ** 2)
        value = np.minimum(radius[chosen, None, None] + 0.5 - distance, 1.0)
        seen = (value > 0.0) & (z >= 0) & (z < size) & (x >= 0) & (x < size)
        np.maximum.at(picture, (z * size + x)[seen], value[seen])
    return picture.reshape(size, size)
