"""Pictures that come with the package, as a stream: all of them in an order of the seed, then in another, and so on."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from bayesinv.seeding import generator, stream
from bayesinv_datasets.checks import check_request

__all__ = ["in_turns", "read_pictures"]


def read_pictures(file: str, name: str) -> NDArray[np.float32]:
    """An array of uint8 pictures of a shipped ``.npz``, float32 in [0, 1]."""
    with (
        (files("bayesinv_datasets") / "data" / file).open("rb") as opened,
        np.load(opened, allow_pickle=False) as stored,
    ):
        return stored[name].astype(np.float32) / np.float32(255)


def in_turns(name: str, available: int, n: int, seed: int, start: int) -> list[int]:
    """Which picture each of ``start .. start + n - 1`` is; number i depends on ``(seed, i)`` only.

    Raises:
        ValueError: if `n` is not positive, or `seed` or `start` is negative.

    Example:
        >>> sorted(in_turns("retina", 5, 5, 0, 0)), in_turns("retina", 5, 8, 0, 0)[3:] == in_turns("retina", 5, 5, 0, 3)
        ([0, 1, 2, 3, 4], True)
    """
    check_request(n, seed, start)
    index = np.arange(start, start + n)
    turns, places = index // available, index % available
    orders = {int(turn): generator(seed, stream(name), int(turn)).permutation(available) for turn in np.unique(turns)}
    return [int(orders[int(turn)][place]) for turn, place in zip(turns, places, strict=True)]
