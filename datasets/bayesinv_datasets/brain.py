"""A real brain: axial slices of the MNI152 magnetic-resonance template, shipped with the package.

The template is the average of 152 aligned T1 scans: real anatomy, smoother than one scan, and one brain only, without
its skull. It stands in for a real object where a posterior was trained on generated ones. `datasets/make_brain.py`
makes the file.

Source: V. Fonov et al., NeuroImage 54 (2011) 313, doi:10.1016/j.neuroimage.2010.07.033; copyright (C) 1993-2009 Louis
    Collins, McConnell Brain Imaging Centre, Montreal Neurological Institute, McGill University, free to distribute with
    the notice in `data/brain_slices.LICENSE.txt`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bayesinv_datasets.checks import check_size
from bayesinv_datasets.shipped import in_turns, read_pictures

__all__ = ["Brain", "brain"]

SIDE = 64


@dataclass(frozen=True)
class Brain:
    """The shipped slices as a `Prior`, shape ``(1, size, size)`` as (channel, z, x); made by :func:`brain`."""

    size: int
    slices: NDArray[np.float32] = field(repr=False, compare=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """``(channels, z, x)``."""
        return (1, self.size, self.size)

    @property
    def regions(self) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
        """Pixels that a report looks at apart from the rest."""
        return {"brain": lambda x: x > 0.05}

    @property
    def parameters(self) -> dict[str, Any]:
        """The keywords of :func:`brain` that make this prior, ready for JSON."""
        return {"size": self.size}

    @property
    def available(self) -> int:
        """The number of different slices."""
        return len(self.slices)

    def sample(self, n: int, seed: int, *, start: int = 0) -> torch.Tensor:
        """Slices ``start .. start + n - 1`` in the order of `seed`: float32 ``(n, 1, size, size)`` in [0, 1].

        After `available` the set comes again in another order. Slice i depends on ``(seed, i)`` only.

        Raises:
            ValueError: if `n` is not positive, or `seed` or `start` is negative.
        """
        return torch.from_numpy(self.slices[in_turns("brain", self.available, n, seed, start)][:, None])


def brain(size: int = 32) -> Brain:
    """Real anatomy: 52 axial slices of an averaged magnetic-resonance brain, at most 64 x 64.

    Args:
        size: side of the square slices; a divisor of 64 (pixels are averaged), or 64.

    Raises:
        ValueError: if `size` is not 8, 16, 32 or 64.

    Example:
        >>> x = brain(64).sample(3, seed=0)
        >>> x.shape, bool((x >= 0).all() and (x <= 1).all())
        (torch.Size([3, 1, 64, 64]), True)
    """
    check_size(size, most=SIDE)
    if SIDE % size:
        raise ValueError(f"expected a size of 8, 16, 32 or 64 pixels, got {size}")
    block = SIDE // size
    slices = read_pictures("brain_slices.npz", "slices")
    return Brain(int(size), slices.reshape(-1, size, block, size, block).mean((2, 4), dtype=np.float32))
