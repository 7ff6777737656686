r"""Laws of points in the plane with a known density and entropy: `banana`, `ring`, `swirl` and `two_moons`.

The banana bends a Gaussian, ``x_1 = e_1``, ``x_2 = e_1^2 - 1 + sigma e_2``; its entropy is ``log(2 pi e sigma)``. The
others are equal mixtures of Gaussians that stand on a curve, ``p(x) = 1/K sum_k N(x; c_k, sigma^2 I)``: eight far apart
on a ring, or so close (a standard deviation at most) that nothing but the curve is seen. Their entropy is
``-int p log p`` by the rectangle rule, which for such smooth laws is exact to more than eight digits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bayesinv.seeding import generator, stream
from bayesinv_datasets.checks import check_positive, check_request

__all__ = ["Banana", "Mixture", "banana", "ring", "swirl", "two_moons"]

_BLOCK = 1024  # points that share a generator: one each would take longer than to learn from them


@dataclass(frozen=True)
class Banana:
    """The law of ``(e_1, e_1^2 - 1 + sigma e_2)`` with standard normal ``e``."""

    sigma: float

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one point."""
        return (2,)

    @property
    def parameters(self) -> dict[str, Any]:
        """The keywords that make this law again."""
        return {"sigma": self.sigma}

    @property
    def entropy(self) -> float:
        """In nats."""
        return math.log(2 * math.pi * math.e * self.sigma)

    def sample(self, n: int, seed: int, *, start: int = 0) -> Tensor:
        """Points ``start`` to ``start + n`` of the stream of ``seed``, float32 ``(n, 2)``."""
        e = _numbers(n, seed, start)[:, 1:]
        return torch.from_numpy(np.stack([e[:, 0], e[:, 0] ** 2 - 1 + self.sigma * e[:, 1]], 1)).float()

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density in nats ``(n,)`` of points ``x (n, 2)``."""
        across = (x[:, 1] - x[:, 0] ** 2 + 1) / self.sigma
        return -0.5 * (x[:, 0] ** 2 + across**2) - math.log(2 * math.pi * self.sigma)


@dataclass(frozen=True)
class Mixture:
    """An equal mixture of isotropic Gaussians with standard deviation ``sigma`` at ``centres (K, 2)``."""

    centres: Tensor
    sigma: float
    parameters: dict[str, Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one point."""
        return (2,)

    @cached_property
    def entropy(self) -> float:
        """In nats, by the rectangle rule with steps of a third of ``sigma`` to eight ``sigma`` past every centre."""
        step, centres = self.sigma / 3, self.centres.double()
        low, high = centres.amin(0) - 8 * self.sigma, centres.amax(0) + 8 * self.sigma
        rows, columns = (
            torch.arange(float(a), float(b), step, dtype=torch.float64) for a, b in zip(low, high, strict=True)
        )
        total = 0.0
        for row in rows:
            log_p = self.log_prob(torch.stack([row.expand(len(columns)), columns], 1))
            total -= float((log_p.exp() * log_p).sum())
        return total * step**2

    def sample(self, n: int, seed: int, *, start: int = 0) -> Tensor:
        """Points ``start`` to ``start + n`` of the stream of ``seed``, float32 ``(n, 2)``."""
        numbers = torch.from_numpy(_numbers(n, seed, start))
        which = (numbers[:, 0] * len(self.centres)).long()
        return (self.centres[which] + self.sigma * numbers[:, 1:]).float()

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density in nats ``(n,)`` of points ``x (n, 2)``."""
        square = (x[:, None] - self.centres.to(x)).square().sum(2) / self.sigma**2
        return torch.logsumexp(-0.5 * square, 1) - math.log(2 * math.pi * self.sigma**2 * len(self.centres))


def banana(*, sigma: float = 0.25) -> Banana:
    """A bent Gaussian.

    Args:
        sigma: thickness.

    Raises:
        ValueError: if it is not positive.

    Source: Haario, Saksman and Tamminen, 1999, doi 10.1007/s001800050022.

    Example:
        >>> round(banana().entropy, 3)
        1.452
    """
    check_positive(sigma=sigma)
    return Banana(sigma)


def ring(*, sigma: float = 0.25) -> Mixture:
    """Eight Gaussians on a circle of radius 2.

    Args:
        sigma: standard deviation of each.

    Raises:
        ValueError: if it is not positive.

    Example:
        >>> round(ring(sigma=0.1).entropy - math.log(2 * math.pi * math.e * 0.1**2 * 8), 6)
        -0.0
    """
    check_positive(sigma=sigma)
    angle = torch.arange(8, dtype=torch.float64) * math.pi / 4
    return Mixture(2 * torch.stack([angle.cos(), angle.sin()], 1), sigma, {"sigma": sigma})


def swirl(*, sigma: float = 0.25) -> Mixture:
    """A spiral of two turns and a fifth out to radius 3.5, about evenly filled along its length of 24.

    ``c(t) = (-t cos t, t sin t) / 4`` with ``t = sqrt(u) 800 pi/180``, ``u`` uniform in [0, 1].

    Args:
        sigma: thickness.

    Raises:
        ValueError: if it is not 0.1 at least.

    Example:
        >>> swirl().sample(5, 0).shape
        torch.Size([5, 2])
    """
    t = _middles(256, sigma).sqrt() * 800 * math.pi / 180
    return Mixture(torch.stack([-t * t.cos(), t * t.sin()], 1) / 4, sigma, {"sigma": sigma})


def two_moons(*, sigma: float = 0.1) -> Mixture:
    """Two half circles of radius 1, each with its end in the other's hollow.

    Args:
        sigma: thickness.

    Raises:
        ValueError: if it is not 0.1 at least.

    Example:
        >>> two_moons().log_prob(torch.tensor([[0.0, 1.0]])).shape
        torch.Size([1])
    """
    angle = math.pi * _middles(32, sigma)
    upper = torch.stack([angle.cos(), angle.sin()], 1)
    lower = torch.stack([1 - angle.cos(), 0.5 - angle.sin()], 1)
    return Mixture(torch.cat([upper, lower]), sigma, {"sigma": sigma})


def _middles(n: int, sigma: float) -> Tensor:
    if not 0.1 <= sigma < math.inf:  # thinner than that, single Gaussians would show
        raise ValueError(f"expected a sigma of 0.1 or more, got {sigma!r}")
    return (torch.arange(n, dtype=torch.float64) + 0.5) / n


def _numbers(n: int, seed: int, start: int) -> np.ndarray:
    """Rows ``start`` to ``start + n`` of (uniform, normal, normal) numbers of ``seed``."""
    check_request(n, seed, start)
    first, last = start // _BLOCK, (start + n - 1) // _BLOCK
    blocks = []
    for block in range(first, last + 1):
        draws = generator(seed, stream("plane"), block)
        blocks.append(np.concatenate([draws.random((_BLOCK, 1)), draws.standard_normal((_BLOCK, 2))], 1))
    return np.concatenate(blocks)[start - first * _BLOCK :][:n]
