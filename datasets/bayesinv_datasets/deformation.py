"""The geologic time of every pixel of a section: faults, an unconformity and folds, undone from young to old."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

__all__ = ["Deformation", "Floats"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Deformation:
    """How layers were moved after (and while) they were laid down; see `layered_sections` for the meaning of each."""

    faults: float
    throw: tuple[float, float]
    fold: tuple[float, float]
    fold_length: tuple[float, float]
    shear: float
    unconformity: float

    def times(self, rng: np.random.Generator, size: int, margin: int) -> Floats:
        """Geologic time ``u``, in pixels of undisturbed rock, ``(size + 2 margin, size)``; row `margin` is depth 0."""
        depth = np.repeat(np.arange(-margin, size + margin, dtype=np.float64)[:, None], size, axis=1)
        across = np.repeat(np.arange(size, dtype=np.float64)[None, :], size + 2 * margin, axis=0)
        for _ in range(int(rng.poisson(self.faults))):
            depth, across = self._undo_fault(rng, depth, across, size)
        depth = self._undo_unconformity(rng, depth, across, size)
        return self._undo_fold(rng, depth, across, size)

    def _undo_fault(self, rng: np.random.Generator, depth: Floats, across: Floats, size: int) -> tuple[Floats, Floats]:
        """Move the hanging wall back along a dipping plane.

        With ``s`` the distance to the plane on the hanging wall's side and ``l`` the place along the plane, the slip is
        ``throw exp(-l^2 / (2 (0.4 L)^2)) exp(-s / D)``: Gaussian along the plane, exponential away from it, none in the
        footwall.
        """
        dip = np.deg2rad(rng.uniform(50.0, 80.0))
        side = 1.0 if rng.random() < 0.5 else -1.0
        slip = rng.uniform(*self.throw) * (1.0 if rng.random() < 0.85 else -1.0)
        centre_depth, centre_across = rng.uniform(0.0, 1.0, 2) * size
        length = rng.uniform(0.4, 1.5) * size
        fade = rng.uniform(0.3, 1.0) * size
        down, out = np.sin(dip), side * np.cos(dip)  # the plane's direction, downwards
        z, x = depth - centre_depth, across - centre_across
        along = z * down + x * out
        away = side * (x * down - z * out)  # positive above the plane: the hanging wall
        moved = slip * np.exp(-(along**2) / (2 * (0.4 * length) ** 2) - np.maximum(away, 0.0) / fade) * (away > 0)
        return depth - moved * down, across - moved * out

    def _undo_unconformity(self, rng: np.random.Generator, depth: Floats, across: Floats, size: int) -> Floats:
        """Below a gently undulating surface the older layers dip otherwise, and some of them are missing."""
        present = rng.random() < self.unconformity
        surface = rng.uniform(0.25, 0.75) * size + 3.0 * _smooth_line(rng, size, 0.4 * size)
        tilt, missing = rng.uniform(-0.5, 0.5), rng.uniform(4.0, 16.0)
        if not present:
            return depth
        older = depth > np.interp(across, np.arange(size), surface)
        return depth + older * (tilt * (across - size / 2) + missing)

    def _undo_fold(self, rng: np.random.Generator, depth: Floats, across: Floats, size: int) -> Floats:
        """A random line, its amplitude growing with depth as ``0.4 + 0.6 z / size``, plus a linear dip."""
        line = rng.uniform(*self.fold) * _smooth_line(rng, size, rng.uniform(*self.fold_length))
        line += rng.uniform(-self.shear, self.shear) * (np.arange(size) - size / 2)
        growth = np.clip(0.4 + 0.6 * depth / size, 0.2, 1.2)
        return depth + growth * np.interp(across, np.arange(size), line)


def _smooth_line(rng: np.random.Generator, size: int, length: float) -> Floats:
    """A stationary Gaussian line of about unit variance and correlation length `length`, ``(size,)``."""
    margin = int(2 * length)
    white = rng.standard_normal(size + 2 * margin)
    smooth = gaussian_filter1d(white, length / 2, mode="wrap")
    return smooth[margin : margin + size] * np.sqrt(np.sqrt(np.pi) * length)
