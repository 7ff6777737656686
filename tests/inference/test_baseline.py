"""The classical reconstruction is the best of its grid, by the error on the pairs it is tuned on."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from toy_problems import GaussianPrior, Matrix, line_problem

from bayesinv.inference import Problem, baseline
from bayesinv.inference.baseline import reconstruct, tune_baseline
from bayesinv.physics import ForwardModel, GaussianNoise, cgls


def test_cgls_stops_at_the_best_iteration() -> None:
    problem = line_problem(16)
    x, y, _ = problem.sample(20, seed=0)
    tuned = tune_baseline("cgls", problem.forward, x, y)
    errors = {k: float((cgls(problem.forward.operator, y, iterations=k) - x).square().mean()) for k in baseline._STOPS}
    assert tuned == {"kind": "cgls", "iterations": min(errors, key=errors.get)}  # type: ignore[arg-type]
    assert 1 < tuned["iterations"] < 180  # neither end: the blur is worth more than a step, the noise no full solution
    expected = cgls(problem.forward.operator, y, iterations=tuned["iterations"])
    assert torch.equal(reconstruct(tuned, problem.forward, y), expected)


@pytest.mark.parametrize("kind", ["cgls", "regularised"])
def test_what_is_not_finite_is_never_the_best(monkeypatch: pytest.MonkeyPatch, kind: baseline.Baseline) -> None:
    problem = line_problem(16)
    x, y, _ = problem.sample(4, seed=0)
    best = tune_baseline(kind, problem.forward, x, y)
    iterates, regularised = baseline.cgls_iterates, baseline.regularised_least_squares

    def without_the_first(*args: Any) -> torch.Tensor:
        found = iterates(*args)
        found[0] = math.nan
        return found

    def without_little_damping(*args: Any, **weights: Any) -> torch.Tensor:
        return regularised(*args, **weights) * (math.nan if weights["damping"] < 0.5 * best["damping"] else 1)

    monkeypatch.setattr(baseline, "cgls_iterates", without_the_first)
    monkeypatch.setattr(baseline, "regularised_least_squares", without_little_damping)
    assert tune_baseline(kind, problem.forward, x, y) == best


def test_regularised_least_squares_take_the_best_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = line_problem(16)
    x, y, _ = problem.sample(20, seed=0)
    tuned = tune_baseline("regularised", problem.forward, x, y)
    best = float((reconstruct(tuned, problem.forward, y) - x).square().mean())
    scale = float(problem.forward.operator.adjoint(y).norm() / y.norm())
    for damping in baseline._DAMPING:
        for smoothing in baseline._SMOOTHING:
            other = {**tuned, "damping": damping * scale, "smoothing": smoothing * scale}
            assert best <= float((reconstruct(other, problem.forward, y) - x).square().mean()) * (1 + 1e-6)


def test_the_damping_of_white_images_is_the_noise_over_their_deviation() -> None:
    """For ``A = I`` the best damping is sigma/std = 0.1, of which the grid (times the norm 1) has the very value."""
    forward = ForwardModel(Matrix(torch.eye(64), (1, 64), (1, 64)), GaussianNoise(0.1, relative=False))
    problem = Problem(GaussianPrior((1, 64), torch.eye(64)), forward)
    x, y, _ = problem.sample(50, seed=0)
    tuned = tune_baseline("regularised", forward, x, y)
    assert tuned["damping"] == pytest.approx(0.1)
    assert tuned["smoothing"] <= 0.01


def test_an_unknown_baseline_is_refused() -> None:
    problem = line_problem(16)
    x, y, _ = problem.sample(2, seed=0)
    with pytest.raises(ValueError, match="expected baseline 'cgls' or 'regularised', got 'tv'"):
        tune_baseline("tv", problem.forward, x, y)  # type: ignore[arg-type]
