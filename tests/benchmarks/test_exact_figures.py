"""The figures beside exact posteriors: the exact sampler meets its floors, and planted faults have the closed form."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from exact_figures import coverage_figures, gap, sample_figures
from exact_problems import exact_problem

from bayesinv.inference.exact import ExactPosterior

OBSERVATIONS, SAMPLES = 8, 200


class Wider:
    """The exact posterior with all standard deviations times a factor, and its mean shifted by some of them."""

    def __init__(self, problem: Any, factor: float, shift: float = 0.0) -> None:
        self.exact, self.factor, self.shift = ExactPosterior(problem.prior, problem.forward), factor, shift

    def __call__(self, y: Any, sigma: Any) -> Any:
        known = self.exact(y, sigma)
        mean = known.mean() + self.shift * known.std()

        def draw(n: int, *, seed: int, batch_size: int = 64) -> torch.Tensor:
            drawn = known.draw(n, seed=5000 + seed)
            return mean + self.factor * (drawn - known.mean())

        def log_prob(x: torch.Tensor) -> torch.Tensor:
            inner = known.log_prob(known.mean() + (x.double() - mean) / self.factor)
            return inner - x[0].numel() * math.log(self.factor)

        return SimpleNamespace(draw=draw, log_prob=log_prob)


@pytest.fixture(scope="module")
def problem() -> Any:
    return exact_problem("deblur", size=8)


def test_the_exact_sampler_meets_its_floors(problem: Any) -> None:
    posterior: Any = Wider(problem, 1.0)
    assert gap(posterior, problem, pairs=50)[0] == pytest.approx(0, abs=1e-9)
    found = sample_figures(posterior, problem, observations=OBSERVATIONS, samples=SAMPLES)
    for name in ("mean", "sd", "covariance", "sliced Wasserstein"):
        assert found[name] == pytest.approx(found[f"{name} floor"], rel=0.15), name
    assert found["mean floor"] == pytest.approx(1 / math.sqrt(SAMPLES), rel=0.15)
    assert found["sd floor"] == pytest.approx(1 / math.sqrt(2 * (SAMPLES - 1)), rel=0.15)
    covered = coverage_figures(posterior, problem, observations=100)
    assert abs(covered["coverage"] - 0.9) < 4 * covered["coverage error"]
    assert covered["coverage"] == pytest.approx(covered["coverage floor"], abs=0.01)


def test_wrong_spreads_and_means_are_seen(problem: Any) -> None:
    """Spreads times f cost log f + (1/f^2 - 1) / 2 nats per dimension."""
    posterior: Any = Wider(problem, 1.3)
    value, error = gap(posterior, problem, pairs=200)
    assert abs(value - (math.log(1.3) + (1.3**-2 - 1) / 2)) < 4 * error
    found = sample_figures(posterior, problem, observations=OBSERVATIONS, samples=SAMPLES)
    assert found["sd"] == pytest.approx(math.hypot(0.3, 1.3 * found["sd floor"]), rel=0.1)
    covered = coverage_figures(posterior, problem, observations=50)
    assert covered["coverage"] > covered["coverage floor"] + 0.03
    assert found["sliced Wasserstein"] > 1.5 * found["sliced Wasserstein floor"]
    shifted: Any = Wider(problem, 1.0, shift=0.3)
    found = sample_figures(shifted, problem, observations=OBSERVATIONS, samples=SAMPLES)
    assert found["mean"] == pytest.approx(np.hypot(0.3, found["mean floor"]), rel=0.1)
