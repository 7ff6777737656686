"""The temperature undoes a posterior that is too narrow or too wide, and leaves a right one alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bayesinv.inference.temperature import choose_temperature
from bayesinv.seeding import normal


class Pixelwise:
    """x = c + s_i e pixel by pixel, and a posterior N(c, (width s_i)^2)."""

    target_noise = 0.0
    image_mean = torch.zeros(1)

    def __init__(self, width: float, side: int = 40) -> None:
        self.scale = width * torch.linspace(0.2, 2, side**2).reshape(1, side, side)
        self.summary_network = nn.Identity()
        self.flow = SimpleNamespace(sample=self.sample, log_prob=self.log_prob)

    def sample(self, n: int, cond: Tensor, *, seed: int, temperature: float) -> Tensor:
        return cond + temperature * self.scale * normal((n, *cond.shape), seed, 7)

    def log_prob(self, u: Tensor, cond: Tensor, *, temperature: float) -> Tensor:
        return torch.distributions.Normal(cond, temperature * self.scale).log_prob(u).flatten(1).sum(1)

    def restored(self, u: Tensor) -> Tensor:
        return u

    standardised = restored


def pairs(count: int = 60, side: int = 40) -> tuple[Tensor, Tensor]:
    c = normal((count, 1, side, side), 0, 1)
    return c + Pixelwise(1.0, side).scale * normal(c.shape, 0, 2), c


@pytest.mark.parametrize(("width", "expected"), [(1.0, 1.0), (1 / 1.12, 1.12), (1 / 0.95, 0.95), (0.5, 1.2)])
def test_the_temperature_that_covers(width: float, expected: float) -> None:
    """Within a step of the grid (about 0.03)."""
    x, c = pairs()
    posterior: Any = Pixelwise(width)
    counted: list[int] = []
    found = choose_temperature(posterior, x, c, seed=3, regions={"left": lambda x: x > 0}, advance=counted.append)
    assert found == pytest.approx(expected, abs=0.05)
    assert 3 <= len(counted) <= 9
    assert found == choose_temperature(posterior, x, c, seed=3, regions={"left": lambda x: x > 0})


@pytest.mark.parametrize(("width", "expected"), [(1.0, 1.0), (1 / 1.12, 1.12), (1 / 0.93, 0.93), (0.5, 1.2)])
def test_the_likeliest_temperature_of_small_images(width: float, expected: float) -> None:
    """Its standard error is T / sqrt(2 n d), of 60 images of 64 pixels .011 T; three of them."""
    x, c = pairs(side=8)
    posterior: Any = Pixelwise(width, side=8)
    assert choose_temperature(posterior, x, c, seed=3) == pytest.approx(expected, abs=0.034 * expected)


@pytest.mark.parametrize("side", [8, 40])
def test_the_targets_bear_the_training_noise(side: int) -> None:
    """Samples of the noisy image are right for noisy targets: without the noise they would look too wide."""
    x, c = pairs(side=side)
    posterior: Any = Pixelwise(1.0, side)
    posterior.target_noise = 0.5
    posterior.scale = (posterior.scale**2 + 0.25).sqrt()
    assert choose_temperature(posterior, x, c, seed=3) == pytest.approx(1, abs=0.05)
