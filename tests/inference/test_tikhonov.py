"""The summary ``"tikhonov"``: the minimiser of its cost, exact for the prior it stands for, kept with the posterior."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from toy_problems import GaussianPrior, Matrix, blur, dense_problem, line_problem, square_problem, tiny

from bayesinv.inference import Posterior, Problem
from bayesinv.inference.summaries import default_summary, summarise, summary_channels
from bayesinv.inference.tikhonov import applied, tikhonov_map, tikhonov_shape
from bayesinv.physics import Covariance, ForwardModel, GaussianNoise


def test_it_minimises_its_cost() -> None:
    """The gradient of misfit + 0.1 |x - mu|^2 / var + sum_k |D_k x|^2 / var_k vanishes there."""
    problem = square_problem(6)
    affine = tikhonov_map(problem, seed=3)
    assert affine.shape == tikhonov_shape(problem.forward) == (36, 37)
    x, y, sigma = problem.sample(256, seed=3)
    x, y = x.double(), y.double()
    mean, variance = float(x.mean()), float(x.var())
    rough = [float(x.diff(dim=k).square().mean()) for k in (2, 3)]
    found = applied(affine.double(), y[:4], (1, 6, 6)).requires_grad_()
    misfit = (problem.forward.operator(found) - y[:4]).square().sum() / float(sigma[0]) ** 2
    cost = misfit + 0.1 * (found - mean).square().sum() / variance
    for axis, scale in zip((2, 3), rough, strict=True):
        cost = cost + found.diff(dim=axis).square().sum() / scale
    (gradient,) = torch.autograd.grad(cost, found)
    (whole,) = torch.autograd.grad((problem.forward.operator(found) - y[:4]).square().sum() / 0.1**2, found)
    assert float(gradient.norm()) < 1e-4 * float(whole.norm())


def test_it_is_near_the_posterior_mean_of_a_random_walk_and_not_of_others() -> None:
    """Independent increments are what its cost stands for."""
    size, matrix = 32, torch.eye(32)[::4]
    forward = ForwardModel(Matrix(matrix, (1, size), (1, 8)), GaussianNoise(0.3, relative=False))
    errors = {}
    for name, factor in {"walk": torch.ones(size, size).tril(), "white": torch.eye(size)}.items():
        problem = Problem(GaussianPrior((1, size), factor), forward)
        covariance = (factor @ factor.T).double()
        seen = matrix.double()
        _, y, _ = problem.sample(100, seed=1)
        gain = covariance @ seen.T @ torch.linalg.inv(seen @ covariance @ seen.T + 0.09 * torch.eye(8))
        exact = (y.double().flatten(1) @ gain.T).reshape(-1, 1, size)
        found = applied(tikhonov_map(problem, seed=0), y, (1, size)).double()
        errors[name] = float((found - exact).square().mean() / exact.square().mean())
    assert errors["walk"] < 0.02
    assert errors["white"] > 0.2


def test_it_is_the_default_of_small_linear_images_only() -> None:
    assert default_summary(line_problem(8).forward) == "tikhonov"
    assert default_summary(dense_problem().forward) == "data"
    large = ForwardModel(Matrix(torch.eye(1024, 1025), (1, 1025), (1, 1024)), GaussianNoise(0.1))
    assert default_summary(large) == "cgls"
    coloured = GaussianNoise(0.1, relative=False, colour=Covariance(torch.eye(8) + 0.5))
    assert default_summary(ForwardModel(Matrix(torch.eye(8), (1, 8), (1, 8)), coloured)) == "cgls"
    with pytest.raises(ValueError, match="at most 1048576 entries"):
        summary_channels("tikhonov", large)
    y, sigma = torch.zeros(1, 1, 8), torch.ones(1)
    with pytest.raises(ValueError, match="expected the map of summary='tikhonov'"):
        summarise("tikhonov", line_problem(8).forward, y, sigma)


def test_its_map_is_kept_with_the_posterior(tmp_path: Path) -> None:
    problem = line_problem(8)
    posterior = tiny(problem)
    _, y, sigma = problem.sample(3, seed=5)
    again = Posterior.load(posterior.save(tmp_path / "own.bayesinv"), problem=problem)
    assert torch.equal(again.summarise(y, sigma), posterior.summarise(y, sigma))
    assert posterior.summarise(y, sigma).shape == (3, 1, 8)


def test_a_constant_is_reached_where_nothing_is_seen() -> None:
    """Without data the estimate is the mean of the prior."""
    forward = ForwardModel(Matrix(0 * blur(8, 1.0), (1, 8), (1, 8)), GaussianNoise(0.1, relative=False))
    problem = Problem(GaussianPrior((1, 8), torch.eye(8), mean=2.5), forward)
    found = applied(tikhonov_map(problem, seed=0), torch.zeros(1, 1, 8), (1, 8))
    assert float((found - problem.sample(256, seed=0)[0].mean()).abs().max()) < 1e-5
