"""The prior `shepp-logan`: heads like the phantom of Shepp and Logan, each other than the last.

An image is a sum of ellipses, ``x(z, x) = sum_k a_k [ellipse k contains (z, x)]``, cut to ``[0, 1]``, its edges as wide
as a pixel. The ten ellipses of the phantom, with Toft's contrast, are varied: the whole head by ``spread`` (shift, size
and turn), the inner eight each by ``spread`` again, their intensities by four times it, the thickness of the skull; up
to ``lesions`` small ellipses are added inside.

Sources: L. A. Shepp, B. F. Logan, IEEE Trans. Nucl. Sci. 21 (1974) 21, doi:10.1109/TNS.1974.6499235;
P. A. Toft, The Radon transform, PhD thesis, Technical University of Denmark, 1996 (contrast).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bayesinv.seeding import generator, stream
from bayesinv_datasets.checks import check_request, check_size

__all__ = ["SheppLogan", "draw_ellipses", "shepp_logan"]

Floats = NDArray[np.float64]

# intensity, half axes across and down, centre across and down (down is positive), turn in degrees (clockwise)
HEAD = np.array([
    [1.00, 0.6900, 0.9200, 0.00, 0.0000, 0.0],
    [-0.80, 0.6624, 0.8740, 0.00, 0.0184, 0.0],
    [-0.20, 0.1100, 0.3100, 0.22, 0.0000, 18.0],
    [-0.20, 0.1600, 0.4100, -0.22, 0.0000, -18.0],
    [0.10, 0.2100, 0.2500, 0.00, -0.3500, 0.0],
    [0.10, 0.0460, 0.0460, 0.00, -0.1000, 0.0],
    [0.10, 0.0460, 0.0460, 0.00, 0.1000, 0.0],
    [0.10, 0.0460, 0.0230, -0.08, 0.6050, 0.0],
    [0.10, 0.0230, 0.0230, 0.00, 0.6060, 0.0],
    [0.10, 0.0230, 0.0460, 0.06, 0.6050, 0.0],
])  # fmt: skip


@dataclass(frozen=True)
class SheppLogan:
    """A `Prior` of phantoms, shape ``(1, size, size)`` as (channel, z, x); made by :func:`shepp_logan`."""

    size: int
    spread: float
    lesions: int

    @property
    def shape(self) -> tuple[int, ...]:
        """``(channels, z, x)``."""
        return (1, self.size, self.size)

    @property
    def regions(self) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
        """Pixels that a report looks at apart from the rest."""
        return {"head": lambda x: x > 0.02}

    @property
    def parameters(self) -> dict[str, Any]:
        """The keywords of :func:`shepp_logan` that make this prior, ready for JSON."""
        return asdict(self)

    def sample(self, n: int, seed: int, *, start: int = 0) -> torch.Tensor:
        """Heads ``start .. start + n - 1`` of the stream of `seed`: float32 ``(n, 1, size, size)`` in [0, 1].

        Head i depends on ``(seed, i)`` only.

        Raises:
            ValueError: if `n` is not positive, or `seed` or `start` is negative.
        """
        check_request(n, seed, start)
        heads = np.empty((n, 1, self.size, self.size), dtype=np.float32)
        for row in range(n):
            ellipses = self._ellipses(generator(seed, stream("shepp-logan"), start + row))
            heads[row, 0] = np.clip(draw_ellipses(ellipses, self.size), 0.0, 1.0)
        return torch.from_numpy(heads)

    def _ellipses(self, rng: np.random.Generator) -> Floats:
        """Rows of `HEAD`, varied, with lesions."""
        own = HEAD.copy()
        varied = self.spread * rng.uniform(-1.0, 1.0, own.shape)
        varied[:2] = 0.0
        own[:, 0] *= 1 + 4 * varied[:, 0]
        own[:, 1:3] *= 1 + 2 * varied[:, 1:3]
        own[:, 3:5] += varied[:, 3:5]
        own[:, 5] += np.rad2deg(4 * varied[:, 5])
        own[1, 1:3] = HEAD[0, 1:3] * (1 - rng.uniform(0.5, 2.0) * 0.045)
        number = int(rng.integers(0, self.lesions + 1))
        radius, angle = 0.55 * np.sqrt(rng.random(number)), rng.uniform(0, 2 * np.pi, number)
        lesions = np.stack(
            [
                rng.choice([-1.0, 1.0], number) * rng.uniform(0.1, 0.3, number),
                rng.uniform(0.03, 0.1, number),
                rng.uniform(0.03, 0.1, number),
                radius * np.cos(angle),
                1.3 * radius * np.sin(angle),
                rng.uniform(0.0, 180.0, number),
            ],
            axis=1,
        )
        ellipses = np.concatenate([own, lesions])
        scale, turn = 1 + self.spread * rng.uniform(-2.0, 1.0), 4 * self.spread * rng.uniform(-1.0, 1.0)
        ellipses[:, 1:5] *= scale
        across, down = ellipses[:, 3].copy(), ellipses[:, 4].copy()
        ellipses[:, 3] = math.cos(turn) * across - math.sin(turn) * down
        ellipses[:, 4] = math.sin(turn) * across + math.cos(turn) * down
        ellipses[:, 3:5] += 0.5 * self.spread * rng.uniform(-1.0, 1.0, 2)
        ellipses[:, 5] += math.degrees(turn)
        return ellipses


def draw_ellipses(ellipses: Floats, size: int) -> Floats:
    """The sum of ellipses on ``(size, size)`` pixels of ``[-1, 1]^2``; edges fall from 1 to 0 over one pixel.

    Args:
        ellipses: rows of intensity, half axes across and down, centre across and down, turn in degrees clockwise.
        size: pixels a side.
    """
    place = (2 * np.arange(size) + 1) / size - 1
    picture = np.zeros((size, size))
    for intensity, half_across, half_down, across, down, degrees in ellipses:
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        x, z = place - across, place[:, None] - down
        u, v = (cos * x + sin * z) / half_across, (cos * z - sin * x) / half_down
        level = u**2 + v**2 - 1
        slope = 2 * np.hypot(u / half_across, v / half_down)
        picture += intensity * np.clip(0.5 - 0.5 * size * level / np.maximum(slope, 1e-9), 0.0, 1.0)
    return picture


def shepp_logan(size: int = 32, *, spread: float = 0.05, lesions: int = 4) -> SheppLogan:
    """Heads like the phantom of Shepp and Logan, with random shapes, contrasts and lesions.

    Args:
        size: side of the square image.
        spread: how far shapes vary: shifts of 5 %, sizes of 10 %, turns of 11 degrees, intensities of 20 % at 0.05.
        lesions: greatest number of added small ellipses.

    Raises:
        ValueError: if the spread is not in 0 to 0.1, or the number of lesions negative.

    Example:
        >>> x = shepp_logan(64).sample(2, seed=0)
        >>> x.shape, bool((x >= 0).all() and (x <= 1).all())
        (torch.Size([2, 1, 64, 64]), True)
    """
    check_size(size)
    if not 0 <= spread <= 0.1:
        raise ValueError(f"expected a spread of 0 to 0.1, got {spread!r}")
    if int(lesions) != lesions or lesions < 0:
        raise ValueError(f"expected a number of lesions of at least 0, got {lesions!r}")
    return SheppLogan(int(size), spread, int(lesions))
