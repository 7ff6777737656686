"""Recentring removes a common bias to its standard error, and leaves an unbiased posterior alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bayesinv.inference.recentring import common_bias, recentre
from bayesinv.seeding import normal

SPACE = torch.linspace(0, 1, 16)
BIAS = {
    "none": torch.zeros(1, 16, 16),
    "constant": torch.full((1, 16, 16), 0.1),
    "deep": 0.2 * (1 - torch.cos(np.pi * (torch.arange(16) + 0.5) / 16)).view(1, 16, 1).expand(1, 16, 16),
}


class Biased:
    """x = c + e pixel by pixel, and a posterior ``N(c - bias, 1)`` until its mean is moved."""

    temperature = 1.0

    def __init__(self, bias: Tensor) -> None:
        self.image_mean = -bias.clone()
        self.summary_network = nn.Identity()
        self.flow = SimpleNamespace(sample=self.sample)

    def sample(self, n: int, cond: Tensor, *, seed: int, temperature: float) -> Tensor:
        return cond + temperature * normal((n, *cond.shape), seed, 7)

    def restored(self, u: Tensor) -> Tensor:
        return self.image_mean + u


@pytest.mark.parametrize("name", BIAS)
def test_a_common_bias_is_taken_away(name: str) -> None:
    """What is left is one number's error for each wave, ``sqrt((1 + 1/16) / 100) = 0.103``, or nothing."""
    c = normal((100, 1, 16, 16), 0, 1)
    posterior: Any = Biased(BIAS[name])
    recentre(posterior, c + normal(c.shape, 0, 2), c, seed=3)
    left = np.abs(posterior.image_mean.numpy())
    if name == "none":
        assert not left.any()
    else:
        assert left.max() < 4 * 0.103 * 2 / 16  # two waves at most, each of amplitude sqrt(2)/16 a unit or less


def test_what_records_do_not_share_stays() -> None:
    residuals = np.random.default_rng(0).normal(size=(100, 2, 8, 8))
    residuals[:, 1] += np.random.default_rng(1).normal(size=(100, 1, 1)) * 5  # a bias of either sign
    assert not common_bias(residuals).any()


def test_channels_and_numbers_are_taken_one_by_one() -> None:
    residuals = np.random.default_rng(2).normal(size=(400, 3))  # a number moves by chance in 0.3 % of all seeds
    residuals[:, 1] += 1
    found = common_bias(residuals)
    assert found[0] == found[2] == 0
    assert found[1] == pytest.approx(1, abs=4 / 20)
