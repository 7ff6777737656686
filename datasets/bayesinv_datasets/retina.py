"""Real vessels: patches of a fundus photograph, shipped with the package.

These are no draws of a distribution but a small set of real pictures, with the interface of a prior so that they can
stand in for one: the objects on which a posterior trained on generated vessels is tried. `datasets/make_retina.py`
makes the file.

Source: `skimage.data.retina` of scikit-image, CC0 (Häggström 2014, "Medical gallery of Mikael Häggström 2014",
    WikiJournal of Medicine 1(2), doi:10.15347/wjm/2014.008).
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

__all__ = ["Retina", "retina"]

SIDE = 64


@dataclass(frozen=True)
class Retina:
    """The shipped patches as a `Prior`, shape ``(1, size, size)`` as (channel, z, x); made by :func:`retina`."""

    size: int
    patches: NDArray[np.float32] = field(repr=False, compare=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """``(channels, z, x)``."""
        return (1, self.size, self.size)

    @property
    def regions(self) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
        """Pixels that a report looks at apart from the rest."""
        return {"vessels": lambda x: x > 0.05}

    @property
    def parameters(self) -> dict[str, Any]:
        """The keywords of :func:`retina` that make this prior, ready for JSON."""
        return {"size": self.size}

    @property
    def available(self) -> int:
        """The number of different patches."""
        return len(self.patches)

    def sample(self, n: int, seed: int, *, start: int = 0) -> torch.Tensor:
        """Patches ``start .. start + n - 1`` in the order of `seed`: float32 ``(n, 1, size, size)`` in [0, 1].

        The first `available` patches are all different; then the set comes again in another order, and so on. Patch i
        depends on ``(seed, i)`` only.

        Raises:
            ValueError: if `n` is not positive, or `seed` or `start` is negative.
        """
        return torch.from_numpy(self.patches[in_turns("retina", self.available, n, seed, start)][:, None])


def retina(size: int = 32) -> Retina:
    """Real retinal vessels: 45 patches of one photograph, at most 64 x 64.

    Args:
        size: side of the square patches; below 64, of each patch the window with the most vessel in it (of 3 x 3
            windows).

    Raises:
        ValueError: if `size` is not in 8 to 64.

    Example:
        >>> x = retina(64).sample(3, seed=0)
        >>> x.shape, bool((x >= 0).all() and (x <= 1).all())
        (torch.Size([3, 1, 64, 64]), True)
    """
    check_size(size, most=SIDE)
    patches = read_pictures("retina_patches.npz", "patches")
    return Retina(size, np.stack([_fullest(patch, size) for patch in patches]))


def _fullest(patch: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """The brightest of the 3 x 3 windows of a patch, ``(size, size)``."""
    places = (0, (SIDE - size) // 2, SIDE - size)
    windows = [patch[top : top + size, left : left + size] for top in places for left in places]
    return max(windows, key=lambda window: float(window.sum(dtype=np.float64)))
