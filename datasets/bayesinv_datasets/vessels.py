"""The prior `vessels`: pictures of vessel trees in [0, 1], every one a fresh tree.

A tree grows by space colonization (:mod:`bayesinv_datasets.colonization`) on a canvas wider than the picture; a random
window of it is drawn at a random zoom, mirrored, blurred, and dimmed with depth as light is: ``x(z) = a v(z) exp(-d z /
size)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from bayesinv.seeding import generator, stream
from bayesinv_datasets.checks import as_lists, check_positive, check_range, check_request, check_size
from bayesinv_datasets.colonization import Colonization, Tree
from bayesinv_datasets.rendering import draw_segments

__all__ = ["Vessels", "View", "vessels"]

CHUNK = 32
TRIES = 8
WIDEST = 28
"""Radii are capped at the canvas divided by this."""


@dataclass(frozen=True)
class View:
    """How a tree is looked at: ranges, from which each picture draws uniformly (see :func:`vessels`)."""

    zoom: tuple[float, float]
    width: tuple[float, float]
    blur: tuple[float, float]
    amplitude: tuple[float, float]
    decay: tuple[float, float]


@dataclass(frozen=True)
class Vessels:
    """A `Prior` of vessel pictures, shape ``(1, size, size)`` as (channel, z, x); made by :func:`vessels`."""

    size: int
    canvas_factor: float
    growth: Colonization
    view: View

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
        """The keywords of :func:`vessels` that make this prior, ready for JSON."""
        growth = asdict(self.growth)
        del growth["canvas"]
        return as_lists({"size": self.size, "canvas_factor": self.canvas_factor, **growth, **asdict(self.view)})

    def sample(self, n: int, seed: int, *, start: int = 0) -> torch.Tensor:
        """Pictures ``start .. start + n - 1`` of the stream of `seed`: float32 ``(n, 1, size, size)`` in [0, 1].

        Picture i depends on ``(seed, i)`` only.

        Raises:
            ValueError: if `n` is not positive, or `seed` or `start` is negative.
        """
        check_request(n, seed, start)
        pictures = np.empty((n, 1, self.size, self.size), dtype=np.float32)
        for first in range(0, n, CHUNK):
            keys = range(start + first, start + min(first + CHUNK, n))
            generators = [generator(seed, stream("vessels"), key) for key in keys]
            for offset, tree in enumerate(self.growth.grow(generators)):
                pictures[first + offset, 0] = self._look(tree, generators[offset])
        return torch.from_numpy(pictures)

    def _look(self, tree: Tree, rng: np.random.Generator) -> NDArray[np.float64]:
        """One window of the tree; of a few windows the first with enough vessels in it, or the fullest."""
        zoom, width, blur, amplitude, decay = (rng.uniform(*span) for span in asdict(self.view).values())
        slack = max(0.0, self.growth.canvas * zoom - self.size)
        corners = rng.uniform(0.0, 1.0, (TRIES, 2)) * slack
        ends = tree.end * zoom
        within = ((ends >= corners[:, None]) & (ends < corners[:, None] + self.size)).all(2).sum(1)
        corner = corners[np.argmax(np.minimum(within, self.size // 2))]
        shift = corner + 0.5  # the centre of the first pixel
        radius = np.minimum(tree.radius, self.growth.canvas / WIDEST) * zoom * width
        picture = draw_segments(tree.start * zoom - shift, ends - shift, radius, self.size)
        for axis in (0, 1):
            if rng.random() < 0.5:
                picture = np.flip(picture, axis)
        if rng.random() < 0.5:
            picture = picture.T
        depth = np.arange(self.size)[:, None] / self.size
        seen = amplitude * np.exp(-decay * depth) * gaussian_filter(picture, blur, truncate=3.0)
        return np.clip(seen, 0.0, 1.0)


def vessels(
    size: int = 32,
    *,
    canvas_factor: float = 1.5,
    density: float = 0.039,
    roots: tuple[int, int] = (1, 2),
    influence: float = 40.0,
    kill: float = 5.0,
    step: float = 2.0,
    jitter: float = 0.15,
    gamma: float = 2.7,
    tip: float = 0.45,
    zoom: tuple[float, float] = (0.67, 1.0),
    width: tuple[float, float] = (1.0, 1.5),
    blur: tuple[float, float] = (0.5, 0.9),
    amplitude: tuple[float, float] = (0.7, 1.0),
    decay: tuple[float, float] = (0.0, 1.5),
) -> Vessels:
    """The prior of vessel trees; lengths in pixels.

    Args:
        size: side of the square picture.
        canvas_factor: side of the canvas on which a tree grows, in units of `size`.
        density: attraction points per canvas pixel (0.039 is 160 at 64 x 64).
        roots: least and greatest number of roots on the border.
        influence: distance within which a point pulls at a node.
        kill: distance at which a point vanishes.
        step: length of a segment.
        jitter: noise on the direction of a segment.
        gamma: exponent of Murray's law (Murray 1926 has 3; measured trees 2.5 to 3).
        tip: radius of the thinnest vessels.
        zoom: range of the magnification; at ``1 / canvas_factor`` the window holds the whole canvas.
        width: range of a factor on all radii of a picture (a wider prior: ``(0.8, 2.5)``).
        blur: range of the Gaussian blur's standard deviation.
        amplitude: range of the peak value.
        decay: range of ``d`` in ``exp(-d z / size)``.

    Raises:
        ValueError: if a size is too small or a range is not one.

    Example:
        >>> x = vessels(32).sample(2, seed=0)
        >>> x.shape, x.dtype, bool((x >= 0).all() and (x <= 1).all())
        (torch.Size([2, 1, 32, 32]), torch.float32, True)
    """
    check_size(size)
    check_positive(density=density, influence=influence, kill=kill, step=step, gamma=gamma, tip=tip)
    if not jitter >= 0:
        raise ValueError(f"expected a jitter of at least 0, got {jitter!r}")
    fewest, most = (int(end) for end in check_range("roots", roots, low=1))
    view = View(
        check_range("zoom", zoom, low=1e-3),
        check_range("width", width, low=1e-3),
        check_range("blur", blur, low=0.0),
        check_range("amplitude", amplitude, low=0.0, high=1.0),
        check_range("decay", decay, low=0.0),
    )
    if not canvas_factor * view.zoom[0] >= 0.999:
        raise ValueError(
            f"expected a canvas_factor times the least zoom of at least 1, got {canvas_factor} x {view.zoom[0]}"
        )
    growth = Colonization(canvas_factor * size, density, (fewest, most), influence, kill, step, jitter, gamma, tip)
    return Vessels(size, canvas_factor, growth, view)
