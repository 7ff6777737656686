"""The prior `frequency-slices`: seismic surveys on a line at one frequency, sources by receivers, as waves make them.

In a homogeneous medium of speed ``c``, the sound of a line source at distance ``r`` is ``g(r) = e^(i k r) / sqrt(k
r)``, ``k = 2 pi f / c`` (the Hankel function ``H_0`` far away, less its constant factor). A reflector with dip, depth
and coefficient ``R`` sends it as from the mirror image ``s'`` of the source, a small body as a source of its own::

    D(s, r) = sum_reflectors R g(|s' - r|) + sum_bodies a g(|s - b|) g(|b - r|)

divided by the root of its mean square. ``D(s, r) = D(r, s)``: exchanging source and receiver changes nothing.

Sources: K. Aki, P. G. Richards, Quantitative Seismology, 1980; A. J. Berkhout, Seismic Migration, 1982 (data matrix).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bayesinv.seeding import generator, stream
from bayesinv_datasets.checks import as_lists, check_range, check_request, check_size

__all__ = ["FrequencySlices", "frequency_slices"]

SPACING = 25.0  # m
Complex = NDArray[np.complex128]


@dataclass(frozen=True)
class FrequencySlices:
    """A `Prior` of slices, shape ``(2, size, size)`` as (Re and Im, source, receiver); see :func:`frequency_slices`."""

    size: int
    frequency: tuple[float, float]
    speed: tuple[float, float]
    reflectors: tuple[int, int]
    bodies: tuple[int, int]

    @property
    def shape(self) -> tuple[int, ...]:
        """``(2, sources, receivers)``."""
        return (2, self.size, self.size)

    @property
    def regions(self) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
        """None: no part of a slice stands apart."""
        return {}

    @property
    def parameters(self) -> dict[str, Any]:
        """The keywords of :func:`frequency_slices` that make this prior, ready for JSON."""
        return as_lists(asdict(self))

    def sample(self, n: int, seed: int, *, start: int = 0) -> torch.Tensor:
        """Slices ``start .. start + n - 1`` of the stream of `seed`: float32 ``(n, 2, size, size)``.

        Slice i depends on ``(seed, i)`` only.

        Raises:
            ValueError: if `n` is not positive, or `seed` or `start` is negative.
        """
        check_request(n, seed, start)
        slices = np.empty((n, *self.shape), dtype=np.float32)
        for row in range(n):
            wave = self._slice(generator(seed, stream("frequency-slices"), start + row))
            slices[row] = np.stack([wave.real, wave.imag]) / np.sqrt(np.mean(np.abs(wave) ** 2))
        return torch.from_numpy(slices)

    def _slice(self, rng: np.random.Generator) -> Complex:
        """``D(s, r)``, complex ``(size, size)``."""
        line = SPACING * np.arange(self.size)
        k = 2 * np.pi * rng.uniform(*self.frequency) / rng.uniform(*self.speed)
        total = np.zeros((self.size, self.size), dtype=np.complex128)
        for _ in range(int(rng.integers(self.reflectors[0], self.reflectors[1] + 1))):
            dip, depth = np.deg2rad(rng.uniform(-15.0, 15.0)), rng.uniform(8.0, 40.0) * SPACING
            size = rng.choice([-1.0, 1.0]) * rng.uniform(0.3, 1.0)
            middle = line - line.mean()
            height = depth * np.cos(dip) + middle * np.sin(dip)  # distance of a source from the plane
            mirror_x, mirror_z = middle - 2 * height * np.sin(dip), 2 * height * np.cos(dip)
            total += size * _wave(k * np.hypot(mirror_x[:, None] - middle, mirror_z[:, None]))
        for _ in range(int(rng.integers(self.bodies[0], self.bodies[1] + 1))):
            x, z = rng.uniform(0.0, 1.0) * line[-1], rng.uniform(4.0, 20.0) * SPACING
            size = rng.choice([-1.0, 1.0]) * rng.uniform(1.0, 3.0)
            leg = _wave(k * np.hypot(line - x, z))
            total += size * leg[:, None] * leg
        return total


def _wave(phase: NDArray[np.float64]) -> Complex:
    return np.asarray(np.exp(1j * phase) / np.sqrt(phase))


def frequency_slices(
    size: int = 32,
    *,
    frequency: tuple[float, float] = (8.0, 16.0),
    speed: tuple[float, float] = (1600.0, 2400.0),
    reflectors: tuple[int, int] = (2, 5),
    bodies: tuple[int, int] = (1, 4),
) -> FrequencySlices:
    """Seismic data at one frequency, sources by receivers: reflections and diffractions in a constant medium.

    Args:
        size: number of sources and receivers, 25 m apart on one line.
        frequency: range of the frequency in Hz.
        speed: range of the speed of sound in m/s.
        reflectors: least and greatest number of plane reflectors, 200 to 1000 m deep, dipping at most 15 degrees.
        bodies: least and greatest number of small bodies, 100 to 500 m deep.

    Raises:
        ValueError: if a range is not one, or there is neither reflector nor body.

    Example:
        >>> x = frequency_slices(32).sample(2, seed=0)
        >>> x.shape, bool(torch.allclose(x, x.transpose(2, 3), atol=1e-5))
        (torch.Size([2, 2, 32, 32]), True)
    """
    check_size(size)
    check_range("frequency", frequency, low=1.0)
    check_range("speed", speed, low=100.0)
    for name, value in (("reflectors", reflectors), ("bodies", bodies)):
        check_range(name, value, low=0)
    if reflectors[0] + bodies[0] < 1:
        raise ValueError(f"expected one reflector or body at least, got {reflectors} and {bodies}")
    counts = [(int(low), int(high)) for low, high in (reflectors, bodies)]
    return FrequencySlices(int(size), (frequency[0], frequency[1]), (speed[0], speed[1]), counts[0], counts[1])
