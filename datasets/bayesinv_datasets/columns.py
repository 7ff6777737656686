"""Columns of layers in relative geologic time, on pixels: what a section is made of before it is deformed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from bayesinv_datasets.checks import check_positive, check_range
from bayesinv_datasets.deformation import Floats

__all__ = ["Column", "Tails", "at_times", "autoregression", "checked_column", "on_pixels"]

Tails = Literal["gaussian", "laplace", "student-t"]

OVERSAMPLE = 4
CORRELATION = 0.55
LOG_SPREAD = 0.75


@dataclass(frozen=True)
class Column:
    """Layers in relative geologic time: thickness lognormal, log-impedance a first-order autoregression.

    ``ln thickness ~ N(ln h - 0.3, 0.75^2)`` with mean ``h`` of about ``thickness`` drawn per section; the contrast of
    layer k is ``c_k = 0.55 c_(k-1) + contrast * e_k`` with ``e_k`` of unit variance, Gaussian, Laplace or Student-t (4
    degrees of freedom).
    """

    thickness: tuple[float, float]
    contrast: float
    tails: Tails

    def draw(self, rng: np.random.Generator, length: int) -> Floats:
        """The column on `length` pixels, `OVERSAMPLE` samples a pixel, averaged over one pixel."""
        thickness = self.layers(rng, length)
        return on_pixels(thickness, autoregression(self.contrast * self.unit(rng, len(thickness))), length)

    def layers(self, rng: np.random.Generator, length: int) -> Floats:
        """The thickness of each layer in pixels, enough of them for `length`."""
        mean = rng.uniform(*self.thickness)
        layers = int(2 * length / mean) + 8
        return np.exp(np.log(mean) - 0.3 + LOG_SPREAD * rng.standard_normal(layers))

    def unit(self, rng: np.random.Generator, number: int) -> Floats:
        """Draws of zero mean and unit variance."""
        if self.tails == "laplace":
            return rng.laplace(0.0, np.sqrt(0.5), number)
        if self.tails == "student-t":
            return rng.standard_t(4, number) * np.sqrt(0.5)
        return rng.standard_normal(number)


def autoregression(step: Floats) -> Floats:
    """``c_k = 0.55 c_(k-1) + step_k``, stationary from the first."""
    value = np.empty_like(step)
    last = step[0] / np.sqrt(1 - CORRELATION**2)
    for k in range(len(step)):
        last = CORRELATION * last + step[k]
        value[k] = last
    return value


def on_pixels(thickness: Floats, value: Floats, length: int) -> Floats:
    """Layers sampled `OVERSAMPLE` times a pixel and averaged over one pixel."""
    time = (np.arange(length * OVERSAMPLE) + 0.5) / OVERSAMPLE
    layer = np.searchsorted(np.cumsum(thickness), time)
    fine = value[np.minimum(layer, len(value) - 1)]
    total = np.concatenate(
        [np.full(1, 0.0), np.cumsum(np.pad(fine, (OVERSAMPLE // 2, OVERSAMPLE - OVERSAMPLE // 2 - 1), mode="edge"))]
    )
    return (total[OVERSAMPLE:] - total[:-OVERSAMPLE]) / OVERSAMPLE


def at_times(column: Floats, time: NDArray[np.float64]) -> Floats:
    """The value of a column at geologic times in pixels, linear between its samples."""
    at = np.clip(time * OVERSAMPLE - 0.5, 0.0, len(column) - 1.001)
    below = at.astype(np.int64)
    share = at - below
    return (1 - share) * column[below] + share * column[below + 1]


def checked_column(thickness: tuple[float, float], contrast: float, tails: Tails) -> Column:
    """A column of parameters that make sense.

    Raises:
        ValueError: if the thickness is no range, the contrast not positive, or the name of the tails unknown.
    """
    check_positive(contrast=contrast)
    if tails not in get_args(Tails):
        raise ValueError(f"expected tails as one of {', '.join(get_args(Tails))}, got {tails!r}")
    return Column(check_range("thickness", thickness, low=1.0), contrast, tails)
