"""Vector problems: keyed pairs, likelihoods that integrate to one, reference samples whose ranks are uniform."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bayesinv.inference import Problem
from bayesinv.inference.ecdf import ecdf_difference
from bayesinv_datasets.vector_problems import VECTOR_PROBLEMS


@pytest.fixture(params=VECTOR_PROBLEMS)
def problem(request):
    return VECTOR_PROBLEMS[request.param]()


def test_pairs_are_keyed(problem):
    x, y, sigma = problem.sample(7, 3)
    again = problem.sample(3, 3, start=2)
    for one, other in zip((x, y, sigma), again, strict=True):
        torch.testing.assert_close(one[2:5], other, rtol=0, atol=0)
    joined = Problem(problem.prior, problem.forward).sample(7, 3)
    torch.testing.assert_close(joined[1], y, rtol=0, atol=0)


def test_a_likelihood_in_the_plane_integrates_to_one(problem):
    if problem.forward.data_shape != (2,):
        pytest.skip("more than two data")
    x = problem.prior.sample(1, 0)
    centre = problem.forward.operator(x)[0].double()
    width, size = {"two-moons": (0.45, 1500), "gaussian-mixture": (6.0, 1500)}[problem.name]
    line = torch.linspace(-width, width, size, dtype=torch.float64)
    y = torch.cartesian_prod(line, line) + centre
    density = problem.forward.log_likelihood(x.double().expand(len(y), -1), y).exp()
    assert float(density.sum()) * (2 * width / (size - 1)) ** 2 == pytest.approx(1.0, abs=2e-3)


def test_likelihood_of_slcp_is_the_normal_law():
    problem = VECTOR_PROBLEMS["slcp"]()
    x, y, _ = problem.sample(20, 1)
    found = problem.forward.log_likelihood(x, y)
    for row, record, value in zip(x.double(), y.double(), found, strict=True):
        first, second, rho = row[2] ** 2, row[3] ** 2, torch.tanh(row[4])
        covariance = torch.stack(
            [torch.stack([first**2, rho * first * second]), torch.stack([rho * first * second, second**2])]
        )
        law = torch.distributions.MultivariateNormal(row[:2], covariance, validate_args=False)
        assert float(value) == pytest.approx(float(law.log_prob(record.reshape(4, 2)).sum()), rel=1e-5, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("gaussian-linear", 200),
        ("gaussian-mixture", 200),
        ("two-moons", 200),
        pytest.param("slcp", 40, marks=pytest.mark.slow),  # a second each
    ],
)
def test_reference_samples_are_of_the_posterior(name, count):
    """Simulation-based calibration: ranks of the true vector among reference samples are uniform."""
    problem = VECTOR_PROBLEMS[name]()
    x, y, _ = problem.sample(count, 5)
    ranks = [(problem.reference(record, 49, 100 + i) < x[i]).sum(0).numpy() for i, record in enumerate(y)]
    for column in np.stack(ranks).T:
        assert ecdf_difference(column, 49).p_value > 0.001


def test_gaussian_linear_is_exact():
    problem = VECTOR_PROBLEMS["gaussian-linear"]()
    drawn = problem.reference(torch.ones(10), 20000, 0)
    assert float((drawn.mean(0) - 0.5).abs().max()) < 4.5 * math.sqrt(0.05 / 20000)
    assert float((drawn.var(0) / 0.05 - 1).abs().max()) < 4.5 * math.sqrt(2 / 20000)


def test_two_moons_has_two_modes():
    problem = VECTOR_PROBLEMS["two-moons"]()
    drawn = problem.reference(torch.zeros(2), 4000, 0)
    share = float((drawn.sum(1) > 0).double().mean())
    assert abs(share - 0.5) < 4 * 0.5 / math.sqrt(4000)
    assert bool(torch.isfinite(problem.log_posterior(drawn, torch.zeros(2))).all())
    with pytest.raises(ValueError, match="far outside"):
        problem.reference(torch.full((2,), 50.0), 5, 0)


def test_the_command_writes_references(tmp_path):
    script = Path(__file__).parents[2] / "datasets/make_reference.py"
    out = tmp_path / "moons.npz"
    command = [sys.executable, str(script), "two-moons", "--observations", "2", "--samples", "30", "--out", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    with np.load(out) as found:
        assert found["samples"].shape == (2, 30, 2)
