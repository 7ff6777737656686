"""The prior `velocity-sections`: speed of sound in layered, folded, faulted rock, growing with depth, in km/s.

    x(z, x) = (v_0 + g z) exp(L(z, x) - G * L(z, x)),    cut to 1.4 to 4.5 km/s

with ``L`` the layers of `bayesinv_datasets.sections` about their background, whose place the linear trend takes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bayesinv.seeding import generator, stream
from bayesinv_datasets.checks import as_lists, check_range, check_request
from bayesinv_datasets.deformation import Floats
from bayesinv_datasets.sections import LayeredSections, about_background, deformed, grain, layered_sections

__all__ = ["VelocitySections", "velocity_sections"]

BOUNDS = (1.4, 4.5)  # km/s


@dataclass(frozen=True)
class VelocitySections:
    """A `Prior` of velocities, shape ``(1, size, size)`` as (channel, z, x); made by :func:`velocity_sections`."""

    rock: LayeredSections
    top: tuple[float, float]
    bottom: tuple[float, float]

    @property
    def shape(self) -> tuple[int, ...]:
        """``(channels, z, x)``."""
        return self.rock.shape

    @property
    def regions(self) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
        """None: no part of a section stands apart."""
        return {}

    @property
    def parameters(self) -> dict[str, Any]:
        """The keywords of :func:`velocity_sections` that make this prior, ready for JSON."""
        rock, column = self.rock, self.rock.column
        own = {"size": rock.size, "thickness": column.thickness, "contrast": column.contrast}
        return as_lists({**own, "faults": rock.deformation.faults, "top": self.top, "bottom": self.bottom})

    def sample(self, n: int, seed: int, *, start: int = 0) -> torch.Tensor:
        """Sections ``start .. start + n - 1`` of the stream of `seed`: float32 ``(n, 1, size, size)`` in km/s.

        Section i depends on ``(seed, i)`` only.

        Raises:
            ValueError: if `n` is not positive, or `seed` or `start` is negative.
        """
        check_request(n, seed, start)
        sections = np.empty((n, *self.shape), dtype=np.float32)
        for row in range(n):
            sections[row, 0] = self._section(generator(seed, stream("velocity-sections"), start + row))
        return torch.from_numpy(sections)

    def _section(self, rng: np.random.Generator) -> Floats:
        rock, size = self.rock, self.rock.size
        trend = np.linspace(rng.uniform(*self.top), rng.uniform(*self.bottom), size)[:, None]
        (layers,) = deformed(rng, lambda rng, n: [rock.column.draw(rng, n)], rock.deformation, size, rock.background)
        layers = about_background(layers, rock.background) + rock.noise * grain(rng, size)
        return np.clip(trend * np.exp(layers), *BOUNDS)


def velocity_sections(
    size: int = 32,
    *,
    thickness: tuple[float, float] = (4.0, 8.0),
    contrast: float = 0.08,
    faults: float = 1.2,
    top: tuple[float, float] = (1.8, 2.2),
    bottom: tuple[float, float] = (2.6, 3.4),
) -> VelocitySections:
    """Speed of sound in layered, folded, faulted rock, in km/s.

    Args:
        size: side of the square section.
        thickness: range of a section's typical layer thickness, in pixels.
        contrast: standard deviation of the innovation of log-velocity from layer to layer.
        faults: expected number of faults (Poisson).
        top: range of the trend's velocity at the top, in km/s.
        bottom: range of the trend's velocity at the bottom, in km/s.

    Raises:
        ValueError: if a size is too small, or a range is not one.

    Example:
        >>> x = velocity_sections(32).sample(2, seed=0)
        >>> x.shape, bool((x >= 1.4).all() and (x <= 4.5).all())
        (torch.Size([2, 1, 32, 32]), True)
    """
    pairs = [check_range(n, v, low=BOUNDS[0], high=BOUNDS[1]) for n, v in (("top", top), ("bottom", bottom))]
    rock = layered_sections(size, thickness=thickness, contrast=contrast, faults=faults)
    return VelocitySections(rock, pairs[0], pairs[1])
