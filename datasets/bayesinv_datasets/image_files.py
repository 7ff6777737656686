"""The prior `image-files`: patches of your own images, cut at random, as a stream of training images.

Patches of one image are not independent, and a few images are no population: what is learnt from them knows nothing
else. Keep some images apart for testing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bayesinv.seeding import generator, stream
from bayesinv_datasets.checks import check_request, check_size
from bayesinv_datasets.loaders import load_array

__all__ = ["ImageFiles", "image_files"]


@dataclass(frozen=True)
class ImageFiles:
    """A `Prior` of patches, shape ``(1, size, size)`` as (channel, z, x); made by :func:`image_files`."""

    size: int
    paths: tuple[str, ...]
    variable: str | None
    mirror: bool
    images: tuple[NDArray[np.float32], ...] = field(repr=False, compare=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """``(channels, z, x)``."""
        return (1, self.size, self.size)

    @property
    def regions(self) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
        """None: nothing is known of the images."""
        return {}

    @property
    def parameters(self) -> dict[str, Any]:
        """The keywords of :func:`image_files` that make this prior, ready for JSON."""
        return {"size": self.size, "paths": list(self.paths), "variable": self.variable, "mirror": self.mirror}

    def sample(self, n: int, seed: int, *, start: int = 0) -> torch.Tensor:
        """Patches ``start .. start + n - 1`` of the stream of `seed`: float32 ``(n, 1, size, size)``.

        Patch i depends on ``(seed, i)`` only: an image with probability in proportion to the places of a patch in it,
        then a place, then, with ``mirror``, a reversal of ``x`` with probability one half.

        Raises:
            ValueError: if `n` is not positive, or `seed` or `start` is negative.
        """
        check_request(n, seed, start)
        places = np.array([np.prod([length - self.size + 1 for length in image.shape]) for image in self.images])
        patches = np.empty((n, *self.shape), dtype=np.float32)
        for row in range(n):
            rng = generator(seed, stream("image-files"), start + row)
            image = self.images[int(rng.choice(len(places), p=places / places.sum()))]
            top, left = (int(rng.integers(0, length - self.size + 1)) for length in image.shape)
            patch = image[top : top + self.size, left : left + self.size]
            patches[row, 0] = patch[:, ::-1] if self.mirror and rng.random() < 0.5 else patch
        return torch.from_numpy(patches)


def image_files(
    size: int, *, paths: Sequence[str | Path], variable: str | None = None, mirror: bool = True
) -> ImageFiles:
    """Patches of images in files: see `bayesinv_datasets.loaders` for what can be read.

    Args:
        size: side of the square patches.
        paths: files of one image ``(z, x)`` each, or of several ``(image, z, x)``.
        variable: which array, where a file holds several.
        mirror: whether half of the patches are reversed along ``x``.

    Raises:
        ValueError: if there is no file, an image is complex, no image, or smaller than a patch.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(Path(folder) / "section.npy", np.random.default_rng(0).random((64, 48)))
        ...     image_files(16, paths=[Path(folder) / "section.npy"]).sample(3, seed=0).shape
        torch.Size([3, 1, 16, 16])
    """
    check_size(size)
    if isinstance(paths, str | Path) or not paths:
        raise ValueError(f"expected a list of one or more files, got {paths!r}")
    images: list[NDArray[np.float32]] = []
    for path in paths:
        array = load_array(path, variable=variable)
        if array.dtype.kind == "c" or array.ndim not in (2, 3):
            raise ValueError(f"expected real images (z, x) or (image, z, x) in {path}, got {array.dtype} {array.shape}")
        values = np.asarray(array, dtype=np.float32)
        images.extend(values if values.ndim == 3 else [values])
    small = [image.shape for image in images if min(image.shape) < size]
    if small:
        raise ValueError(f"expected images of at least {size} x {size} pixels, got one of {small[0]}")
    return ImageFiles(int(size), tuple(str(path) for path in paths), variable, mirror, tuple(images))
