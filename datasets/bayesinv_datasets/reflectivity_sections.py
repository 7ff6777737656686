"""The prior `reflectivity-sections`: what migration images, half the step of log-impedance from a pixel to the next.

    x(z) = (1/2) [L(z + 1) - L(z)]

with ``L`` the log-impedance of the layered, folded, faulted sections of `bayesinv_datasets.sections`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bayesinv.seeding import generator, stream
from bayesinv_datasets.checks import as_lists, check_request
from bayesinv_datasets.columns import Tails
from bayesinv_datasets.deformation import Floats
from bayesinv_datasets.sections import LayeredSections, deformed, grain, layered_sections

__all__ = ["ReflectivitySections", "reflectivity_sections"]


@dataclass(frozen=True)
class ReflectivitySections:
    """A `Prior` of reflectivity, shape ``(1, size, size)`` as (channel, z, x); see :func:`reflectivity_sections`."""

    rock: LayeredSections

    @property
    def shape(self) -> tuple[int, ...]:
        """``(channels, z, x)``."""
        return self.rock.shape

    @property
    def regions(self) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
        """Pixels that a report looks at apart from the rest."""
        return {"reflectors": lambda x: x.abs() > 0.02}

    @property
    def parameters(self) -> dict[str, Any]:
        """The keywords of :func:`reflectivity_sections` that make this prior, ready for JSON."""
        rock, column = self.rock, self.rock.column
        own = {"size": rock.size, "thickness": column.thickness, "contrast": column.contrast, "tails": column.tails}
        return as_lists({**own, "faults": rock.deformation.faults, "noise": rock.noise})

    def sample(self, n: int, seed: int, *, start: int = 0) -> torch.Tensor:
        """Sections ``start .. start + n - 1`` of the stream of `seed`: float32 ``(n, 1, size, size)``.

        Section i depends on ``(seed, i)`` only.

        Raises:
            ValueError: if `n` is not positive, or `seed` or `start` is negative.
        """
        check_request(n, seed, start)
        sections = np.empty((n, *self.shape), dtype=np.float32)
        for row in range(n):
            sections[row, 0] = self._section(generator(seed, stream("reflectivity-sections"), start + row))
        return torch.from_numpy(sections)

    def _section(self, rng: np.random.Generator) -> Floats:
        rock, size = self.rock, self.rock.size
        (impedance,) = deformed(rng, lambda rng, n: [rock.column.draw(rng, n)], rock.deformation, size, 1.0)
        margin = (len(impedance) - size) // 2
        return 0.5 * np.diff(impedance, axis=0)[margin : margin + size] + rock.noise * grain(rng, size)


def reflectivity_sections(
    size: int = 32,
    *,
    thickness: tuple[float, float] = (3.0, 6.0),
    contrast: float = 0.12,
    tails: Tails = "gaussian",
    faults: float = 1.2,
    noise: float = 0.001,
) -> ReflectivitySections:
    """Reflectivity of layered, folded, faulted sections.

    Args:
        size: side of the square section.
        thickness: range of a section's typical layer thickness, in pixels.
        contrast: standard deviation of the innovation of log-impedance from layer to layer.
        tails: distribution of that innovation: "gaussian", "laplace" or "student-t", all of the same variance.
        faults: expected number of faults (Poisson).
        noise: standard deviation of the grain, correlated over 1 x 8 pixels.

    Raises:
        ValueError: if a size is too small, a range is not one, or the name of the tails is unknown.

    Example:
        >>> reflectivity_sections(32).sample(2, seed=0).shape
        torch.Size([2, 1, 32, 32])
    """
    return ReflectivitySections(
        layered_sections(size, thickness=thickness, contrast=contrast, tails=tails, faults=faults, noise=noise)
    )
