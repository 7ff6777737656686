"""Keyed randomness: every draw is a pure function of its key, such as ``(seed, stream, index)``.

A sample that is keyed by its own index has the same numbers whatever the batch size of the loop that asks for it,
and a resumed run repeats an undisturbed one.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

__all__ = ["generator", "normal", "stream"]


def stream(name: str) -> int:
    """A number for a named purpose, so that two purposes with one seed draw different numbers.

    Example:
        >>> stream("noise") != stream("prior")
        True
    """
    return zlib.crc32(name.encode())


def generator(*key: int) -> np.random.Generator:
    """The random generator of a key of non-negative integers.

    Example:
        >>> bool(generator(0, 1).normal() == generator(0, 1).normal())
        True
    """
    if not key or any(int(part) != part or part < 0 for part in key):
        raise ValueError(f"expected a key of one or more non-negative integers, got {key}")
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([int(part) for part in key])))


def normal(shape: Sequence[int], *key: int) -> torch.Tensor:
    """Standard normal numbers of a key, float32 on the CPU.

    Example:
        >>> normal((2, 3), 0, 7).shape
        torch.Size([2, 3])
    """
    import torch

    return torch.from_numpy(generator(*key).standard_normal(tuple(shape), dtype=np.float32))
