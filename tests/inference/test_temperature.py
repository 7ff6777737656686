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

    def __init__(self, width: float) -> None:
        self.scale = width * torch.linspace(0.2, 2, 64).reshape(1, 8, 8)
        self.summary_network = nn.Identity()
        self.flow = SimpleNamespace(sample=self.sample)

    def sample(self, n: int, cond: Tensor, *, seed: int, temperature: float) -> Tensor:
        return cond + temperature * self.scale * normal((n, *cond.shape), seed, 7)

    def restored(self, u: Tensor) -> Tensor:
        return u


def pairs(count: int = 60) -> tuple[Tensor, Tensor]:
    c = normal((count, 1, 8, 8), 0, 1)
    return c + Pixelwise(1.0).scale * normal(c.shape, 0, 2), c


@pytest.mark.parametrize(("width", "expected"), [(1.0, 1.0), (1 / 1.12, 1.12), (1 / 0.95, 0.95), (0.5, 1.2)])
def test_the_temperature_that_covers(width: float, expected: float) -> None:
    """Within a step of the grid (about 0.03): the miss has the noise of 60 records of 64 pixels."""
    x, c = pairs()
    posterior: Any = Pixelwise(width)
    counted: list[int] = []
    found = choose_temperature(posterior, x, c, seed=3, regions={"left": lambda x: x > 0}, advance=counted.append)
    assert found == pytest.approx(expected, abs=0.05)
    assert 3 <= len(counted) <= 9
    assert found == choose_temperature(posterior, x, c, seed=3, regions={"left": lambda x: x > 0})


def test_the_targets_bear_the_training_noise() -> None:
    """Samples of the noisy image are right for noisy targets: without the noise they would look too wide."""
    x, c = pairs()
    posterior: Any = Pixelwise(1.0)
    posterior.target_noise = 0.5
    posterior.scale = (posterior.scale**2 + 0.25).sqrt()
    assert choose_temperature(posterior, x, c, seed=3) == pytest.approx(1, abs=0.05)
