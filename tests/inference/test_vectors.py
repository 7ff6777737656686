"""Posteriors of vectors: units, a head by least squares and a recipe of their own; a density that integrates to one."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from bayesinv.flows import RegressedSummary
from bayesinv.inference import Posterior, Problem, fit, load_problem
from bayesinv.inference.plan import recipe
from bayesinv.inference.temperature import choose_temperature
from bayesinv_datasets.vector_problems import VECTOR_PROBLEMS


def made(name: str) -> Problem:
    problem = VECTOR_PROBLEMS[name]()
    return Problem(problem.prior, problem.forward)


def normalised(name: str, *, simulations: int = 200) -> tuple[Posterior, torch.Tensor, torch.Tensor]:
    problem = made(name)
    posterior = Posterior.build(problem, seed=1)
    x, y, _ = problem.sample(simulations, 0)
    posterior.normalise(x, y)
    posterior.regress([(x[:150], y[:150]), (x[150:], y[150:])])
    return posterior, x, y


def test_numbers_have_units_of_their_own() -> None:
    posterior, x, y = normalised("slcp")
    assert posterior.summary == "data"
    assert posterior.image_mean.shape == posterior.image_scale.shape == (5,)
    torch.testing.assert_close(posterior.standardised(x).std(0), torch.ones(5))
    torch.testing.assert_close(posterior.restored(posterior.standardised(x)), x)
    assert posterior.scaled(y).square().mean(0).sqrt().tolist() == pytest.approx([1.0] * 8)


def test_density_integrates_to_one() -> None:
    posterior, x, y = normalised("two-moons")
    posterior.normalise(x * torch.tensor([1.0, 0.2]), y)  # two scales, neither of them one
    with torch.no_grad():
        random = torch.Generator().manual_seed(0)
        for parameter in posterior.flow.parameters():
            parameter.add_(0.03 * torch.randn(parameter.shape, generator=random))
    line = torch.linspace(-1, 1, 400)
    at = torch.cartesian_prod(6 * line, 1.5 * line)
    total = float(posterior(y[0]).log_prob(at).double().exp().sum()) * (12 / 399) * (3 / 399)
    assert total == pytest.approx(1.0, abs=0.01)


def test_the_head_begins_as_least_squares() -> None:
    posterior, x, y = normalised("gaussian-linear", simulations=2000)
    with torch.no_grad():
        head, _ = posterior.summary_network(posterior.scaled(y))
        estimate = posterior.restored(head[:, 10:])
    assert float((estimate - 0.5 * y).square().mean().sqrt()) < 0.1 * math.sqrt(0.05)  # the exact mean is y / 2
    assert float((estimate - x).square().mean()) == pytest.approx(0.05, rel=0.05)


def test_copies_of_a_number_leave_the_head_finite() -> None:
    network, c = RegressedSummary(2, 1, 4), torch.randn(50, 1)
    network.regress([(torch.cat([c, c], 1), 2 * c)])
    assert network.shift.weight.detach()[0].tolist() == pytest.approx([1.0, 1.0], abs=0.01)


def test_an_untold_fit_of_vectors_follows_its_recipe(tmp_path: Path) -> None:
    problem = made("gaussian-linear")
    posterior = Posterior.build(problem)
    fit(posterior, problem, simulations=300, epochs=2, show_progress=False, device="cpu")
    settings = posterior.record["training"]["settings"]
    wanted = recipe(problem, 300) | {"epochs": 2, "target_noise": [0.0, 0.0]}
    assert {name: settings[name] for name in wanted} == wanted
    assert posterior.target_noise == 0
    _, y, _ = problem.sample(20, 5)
    drawn = posterior(y).draw(400, seed=1)
    error = (drawn.mean(0) - 0.5 * y) / math.sqrt(0.05)
    assert float(error.square().mean().sqrt()) < 0.4  # of least squares from 300 pairs: sqrt(11 / 300) = 0.19
    assert float(drawn.std(0).mean()) == pytest.approx(math.sqrt(0.05), rel=0.12)
    again = Posterior.load(posterior.save(tmp_path / "vector.bayesinv"), problem=problem)
    torch.testing.assert_close(again(y).draw(3, seed=2), posterior(y).draw(3, seed=2))


@pytest.mark.parametrize("factor", [0.93, 1.1])
def test_temperature_of_vectors_is_the_likeliest(factor: float) -> None:
    problem = made("gaussian-linear")
    posterior = Posterior.build(problem)
    white = torch.randn(3000, 10, generator=torch.Generator().manual_seed(0))
    c = torch.zeros(3000, 10)
    with torch.no_grad():
        posterior.summary_network.shift.bias.zero_()
        posterior.flow.sample(1, posterior.summary_network(c[:1]))  # no batch of its own for the first ActNorm
        at_rest = posterior.flow.map.inverse(factor * white, posterior.summary_network(c))[0]
    likeliest = factor * float(white.square().mean().sqrt())
    assert choose_temperature(posterior, at_rest, c, seed=0) == pytest.approx(likeliest, rel=1e-4)


def test_images_keep_their_recipe() -> None:
    told = recipe(load_problem("photoacoustic-line", size=64), 4000)
    assert (told["epochs"], told["batch_size"], told["learning_rate"], told["validation"]) == (10, 16, 4e-3, 100)
    assert (told["head_fraction"], told["target_noise"]) == (0.35, (0.25, 0.05))
