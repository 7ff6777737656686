"""The prior `layered-sections`: log-impedance of layered, folded, faulted sections about a smooth background.

Geology is written backwards: a pixel ``(z, x)`` is moved along the faults (youngest first), then by unconformity and
folds, to the relative geologic time ``u(z, x)`` at which its rock was laid down; a column ``L(u)`` of layers gives its
log-impedance,

    x = L(u) - G * L(u) + noise,    G = Gaussian smoothing along depth, standard deviation `background` pixels.

What is left is the band that post-stack data and a layer prior inform; the background itself (a constant or a slow
trend) is in the null space of band-limited data and comes from well logs and velocities. The section is made taller
than the picture for the smoothing, so the background knows no edges. The recipe is the project's own; its parts are
common in synthetic training data, as in Wu, Liang, Shi & Fomel 2019, "FaultSeg3D" (Geophysics 84(3), IM35),
doi:10.1190/geo2018-0646.1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from bayesinv.seeding import generator, stream
from bayesinv_datasets.checks import as_lists, check_positive, check_range, check_request, check_size
from bayesinv_datasets.columns import Column, Tails, at_times, checked_column
from bayesinv_datasets.deformation import Deformation, Floats

__all__ = ["Column", "LayeredSections", "Tails", "about_background", "deformed", "grain", "layered_sections"]


@dataclass(frozen=True)
class LayeredSections:
    """A `Prior` of sections, shape ``(1, size, size)`` as (channel, z, x); made by :func:`layered_sections`."""

    size: int
    column: Column
    deformation: Deformation
    noise: float
    background: float

    @property
    def shape(self) -> tuple[int, ...]:
        """``(channels, z, x)``."""
        return (1, self.size, self.size)

    @property
    def regions(self) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
        """None: no part of a section stands apart."""
        return {}

    @property
    def parameters(self) -> dict[str, Any]:
        """The keywords of :func:`layered_sections` that make this prior, ready for JSON."""
        own = {"size": self.size, "noise": self.noise, "background": self.background}
        return as_lists({**own, **asdict(self.column), **asdict(self.deformation)})

    def sample(self, n: int, seed: int, *, start: int = 0) -> torch.Tensor:
        """Sections ``start .. start + n - 1`` of the stream of `seed`: float32 ``(n, 1, size, size)``.

        Values are natural logarithms of impedance about the background. Section i depends on ``(seed, i)`` only.

        Raises:
            ValueError: if `n` is not positive, or `seed` or `start` is negative.
        """
        check_request(n, seed, start)
        sections = np.empty((n, 1, self.size, self.size), dtype=np.float32)
        for row in range(n):
            sections[row, 0] = self._section(generator(seed, stream("layered-sections"), start + row))
        return torch.from_numpy(sections)

    def _section(self, rng: np.random.Generator) -> Floats:
        """One section: column, geologic time of every pixel, minus background, plus noise."""
        (rock,) = deformed(rng, lambda rng, n: [self.column.draw(rng, n)], self.deformation, self.size, self.background)
        return about_background(rock, self.background) + self.noise * grain(rng, self.size)


def deformed(
    rng: np.random.Generator,
    columns: Callable[[np.random.Generator, int], Sequence[Floats]],
    deformation: Deformation,
    size: int,
    background: float,
) -> list[Floats]:
    """Columns, drawn by ``columns(rng, length)``, on the deformed section ``(size + 2 margin, size)``.

    The margin above and below, 2.5 `background`, is there for the smoothing.
    """
    margin = _margin(background)
    reach = margin + size + 64  # how far deformation may carry a pixel above or below the section
    drawn = columns(rng, size + 2 * reach)
    time = deformation.times(rng, size, margin)
    return [at_times(column, time + reach) for column in drawn]


def about_background(rock: Floats, background: float) -> Floats:
    """``rock - G * rock`` without the margin: ``(size, size)``."""
    margin = _margin(background)
    smooth = gaussian_filter1d(rock, background, axis=0, mode="nearest", truncate=2.5)
    return (rock - smooth)[margin : len(rock) - margin]


def grain(rng: np.random.Generator, size: int) -> Floats:
    """Noise of unit variance, correlated over 1 x 8 pixels."""
    return gaussian_filter(rng.standard_normal((size, size)), (1.0, 8.0), mode="wrap") / GRAIN


def _margin(background: float) -> int:
    return int(np.ceil(2.5 * background))


GRAIN = float(np.sqrt(1.0 / (4 * np.pi * 1.0 * 8.0)))
"""Standard deviation of white noise of unit variance after smoothing by Gaussians of 1 and 8 pixels."""


def layered_sections(
    size: int = 32,
    *,
    thickness: tuple[float, float] = (3.0, 6.0),
    contrast: float = 0.12,
    tails: Tails = "gaussian",
    faults: float = 1.2,
    throw: tuple[float, float] = (2.0, 9.0),
    fold: tuple[float, float] = (3.0, 14.0),
    fold_length: tuple[float, float] = (20.0, 60.0),
    shear: float = 0.15,
    unconformity: float = 0.3,
    noise: float = 0.01,
    background: float = 12.0,
) -> LayeredSections:
    """The prior of layered sections; lengths in pixels.

    A shifted set, to test a posterior out of its distribution: ``layered_sections(thickness=(2, 3.5),
    tails="student-t")``.

    Args:
        size: side of the square section.
        thickness: range of a section's typical layer thickness.
        contrast: standard deviation of the innovation of log-impedance from layer to layer.
        tails: distribution of that innovation: "gaussian", "laplace" or "student-t" (4 degrees of freedom), all of the
            same variance.
        faults: expected number of faults (Poisson).
        throw: range of a fault's greatest displacement; 85 % are normal faults, the rest reverse.
        fold: range of the fold amplitude, which grows with depth.
        fold_length: range of the correlation length of folds.
        shear: greatest linear dip, in pixels per pixel, either way.
        unconformity: probability of an angular unconformity.
        noise: standard deviation of the grain, correlated over 1 x 8 pixels.
        background: standard deviation of the smoothing along depth that makes the background.

    Raises:
        ValueError: if a size is too small, a range is not one, or the name of the tails is unknown.

    Example:
        >>> x = layered_sections(32).sample(2, seed=0)
        >>> x.shape, x.dtype
        (torch.Size([2, 1, 32, 32]), torch.float32)
    """
    check_size(size)
    check_positive(background=background)
    for name, value in (("faults", faults), ("shear", shear), ("noise", noise)):
        if not 0 <= value < np.inf:
            raise ValueError(f"expected {name} of at least 0, got {value!r}")
    if not 0 <= unconformity <= 1:
        raise ValueError(f"expected a probability of an unconformity in [0, 1], got {unconformity!r}")
    column = checked_column(thickness, contrast, tails)
    deformation = Deformation(
        faults,
        check_range("throw", throw, low=0.0),
        check_range("fold", fold, low=0.0),
        check_range("fold_length", fold_length, low=1.0),
        shear,
        unconformity,
    )
    return LayeredSections(size, column, deformation, noise, background)
