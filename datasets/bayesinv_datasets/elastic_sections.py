"""The prior `elastic-sections`: ``ln Vp``, ``ln Vs`` and ``ln rho`` of layered sections, three channels.

The layers are those of `bayesinv_datasets.sections`, one geometry for all three; the innovation from layer to layer is
a vector, Gaussian, with the standard deviations and correlations

    contrast * (1, 1.4, 0.5),    corr(Vp, Vs) = 0.8,    corr(Vp, rho) = 0.7,    corr(Vs, rho) = 0.5

and each channel is taken about its background. Source: the law of A. Buland, H. Omre, Geophysics 68 (2003) 185,
doi:10.1190/1.1543206; numbers of that order are common in sand and shale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bayesinv.seeding import generator, stream
from bayesinv_datasets.checks import as_lists, check_request
from bayesinv_datasets.columns import autoregression, on_pixels
from bayesinv_datasets.deformation import Floats
from bayesinv_datasets.sections import LayeredSections, about_background, deformed, grain, layered_sections

__all__ = ["ElasticSections", "elastic_sections"]

SCALE = np.array([1.0, 1.4, 0.5])
CORRELATION = np.array([[1.0, 0.8, 0.7], [0.8, 1.0, 0.5], [0.7, 0.5, 1.0]])
MIXING = SCALE[:, None] * np.linalg.cholesky(CORRELATION)


@dataclass(frozen=True)
class ElasticSections:
    """A `Prior` of three parameters, shape ``(3, size, size)`` as (parameter, z, x); see :func:`elastic_sections`."""

    rock: LayeredSections

    @property
    def shape(self) -> tuple[int, ...]:
        """``(3, z, x)``."""
        return (3, self.rock.size, self.rock.size)

    @property
    def regions(self) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
        """None: no part of a section stands apart."""
        return {}

    @property
    def parameters(self) -> dict[str, Any]:
        """The keywords of :func:`elastic_sections` that make this prior, ready for JSON."""
        rock, column = self.rock, self.rock.column
        own = {"size": rock.size, "thickness": column.thickness, "contrast": column.contrast}
        return as_lists({**own, "faults": rock.deformation.faults, "noise": rock.noise, "background": rock.background})

    def sample(self, n: int, seed: int, *, start: int = 0) -> torch.Tensor:
        """Sections ``start .. start + n - 1`` of the stream of `seed`: float32 ``(n, 3, size, size)``.

        Section i depends on ``(seed, i)`` only.

        Raises:
            ValueError: if `n` is not positive, or `seed` or `start` is negative.
        """
        check_request(n, seed, start)
        sections = np.empty((n, *self.shape), dtype=np.float32)
        for row in range(n):
            rng = generator(seed, stream("elastic-sections"), start + row)
            rocks = deformed(rng, self._columns, self.rock.deformation, self.rock.size, self.rock.background)
            for channel, rock in enumerate(rocks):
                noise = self.rock.noise * SCALE[channel] * grain(rng, self.rock.size)
                sections[row, channel] = about_background(rock, self.rock.background) + noise
        return torch.from_numpy(sections)

    def _columns(self, rng: np.random.Generator, length: int) -> list[Floats]:
        thickness = self.rock.column.layers(rng, length)
        steps = self.rock.column.contrast * MIXING @ rng.standard_normal((3, len(thickness)))
        return [on_pixels(thickness, autoregression(step), length) for step in steps]


def elastic_sections(
    size: int = 32,
    *,
    thickness: tuple[float, float] = (3.0, 6.0),
    contrast: float = 0.08,
    faults: float = 1.2,
    noise: float = 0.005,
    background: float = 12.0,
) -> ElasticSections:
    """P velocity, S velocity and density of layered sections, as logarithms about their background.

    Args:
        size: side of the square section.
        thickness: range of a section's typical layer thickness, in pixels.
        contrast: standard deviation of the innovation of ln Vp from layer to layer; 1.4 times that for ln Vs, half for
            ln density.
        faults: expected number of faults (Poisson).
        noise: standard deviation of the grain of ln Vp.
        background: standard deviation of the smoothing along depth that makes the background, in pixels.

    Raises:
        ValueError: if a size is too small, or a range is not one.

    Example:
        >>> elastic_sections(32).sample(2, seed=0).shape
        torch.Size([2, 3, 32, 32])
    """
    return ElasticSections(
        layered_sections(
            size, thickness=thickness, contrast=contrast, faults=faults, noise=noise, background=background
        )
    )
