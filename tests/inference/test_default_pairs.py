"""What `fit` trains on where it is not told: fresh pairs where they are cheap."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from toy_problems import tiny

from bayesinv.inference import Problem, fit, load_problem, training
from bayesinv.inference.plan import Plan, default_simulations, recipe
from bayesinv.physics import ForwardModel, GaussianNoise, from_function
from bayesinv_datasets.vector_problems import VECTOR_PROBLEMS


@pytest.mark.parametrize(("size", "epochs"), [(16, 24), (32, 12)])
def test_small_images_with_cheap_pairs_are_trained_on_fresh_ones(size: int, epochs: int) -> None:
    """Cheap is a linear operator with a prior that has a density."""
    problem, moons = load_problem("deblur", size=size, prior="matern"), VECTOR_PROBLEMS["two-moons"]()
    assert default_simulations(problem) is None
    assert recipe(problem, None)["epochs"] == epochs
    assert recipe(problem, 4000)["epochs"] == 10
    bare = Problem(Undensed(problem.prior), problem.forward)
    assert default_simulations(bare) == default_simulations(load_problem("deblur", size=64)) == 4000
    exponential = from_function(torch.exp, model_shape=(1, size, size), data_shape=(1, size, size))
    nonlinear = ForwardModel(exponential, GaussianNoise(0.05))
    assert default_simulations(Problem(problem.prior, nonlinear)) == 4000
    assert default_simulations(Problem(moons.prior, moons.forward)) == 4000


class Undensed:
    """A prior that can only be sampled."""

    def __init__(self, prior: Any) -> None:
        self.prior, self.shape, self.parameters = prior, prior.shape, {}

    def sample(self, n: int, seed: int, *, start: int = 0) -> torch.Tensor:
        found: torch.Tensor = self.prior.sample(n, seed, start=start)
        return found


def test_fit_asks_for_what_is_cheap_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Plan, "epoch_steps", 1)
    problem = load_problem("deblur", size=8, prior="matern")
    small: dict[str, Any] = {"epochs": 1, "batch_size": 4, "validation": 4, "show_progress": False, "device": "cpu"}
    seen = []
    for changes in ({}, {"simulations": "auto"}, {"simulations": 8}):
        posterior = tiny(problem)
        monkeypatch.setattr(training, "choose_temperature", lambda *args, **kwargs: 1.0)
        fit(posterior, problem, **small | changes)
        seen.append(posterior.record["training"]["settings"]["simulations"])
    assert seen == [None, None, 8]
