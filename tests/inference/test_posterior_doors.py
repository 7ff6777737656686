"""The doors of a posterior: what `build` and the call on data take, and what they refuse."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pylops
import pytest
import torch
import xarray as xr
from toy_problems import GaussianPrior, line_problem, square_problem, tiny

from bayesinv.flows import glow
from bayesinv.inference import Posterior, Problem
from bayesinv.physics import ForwardModel, GaussianNoise, from_pylops


@pytest.fixture(scope="module")
def posterior() -> Posterior:
    return tiny(line_problem())


def record() -> torch.Tensor:
    return line_problem().sample(1, seed=0)[1][0]


@pytest.mark.parametrize(
    "form",
    [
        lambda y: y.numpy(),
        lambda y: y.double(),
        lambda y: y.numpy().astype(">f4"),
        lambda y: y.numpy().astype(np.float64)[:, ::-1][:, ::-1],
        lambda y: xr.DataArray(y.numpy(), dims=("channel", "x")),
        lambda y: y.clone().requires_grad_(),
        lambda y: y.tolist(),
    ],
    ids=["array", "double", "big-endian", "strided", "xarray", "grad", "list"],
)
def test_data_in_every_form(posterior: Posterior, form: Any) -> None:
    expected = posterior(record()).draw(2, seed=1)
    assert torch.equal(posterior(form(record())).draw(2, seed=1), expected)


def test_read_only_data(posterior: Posterior) -> None:
    y = record().numpy()
    y.flags.writeable = False
    assert posterior(y).y.shape == (1, 1, 16)


@pytest.mark.parametrize(
    ("y", "match"),
    [
        (np.zeros((1, 15)), r"expected data of shape \(1, 16\)"),
        (np.zeros((4, 4, 1, 16)), r"expected data of shape \(batch, 1, 16\)"),
        (np.zeros(16), r"expected data of shape \(1, 16\)"),
        (np.zeros((1, 16), int), "floating-point data, got int64"),
        (torch.zeros(1, 16, dtype=torch.int32), "floating-point data, got torch.int32"),
        (np.zeros((1, 16), bool), "floating-point data, got bool"),
        (np.full((1, 16), "a"), "floating-point data, got <U1"),
        (np.full((1, 16), np.nan), "expected finite data, got 16 of 16"),
        (np.full((1, 16), -np.inf), "expected finite data"),
    ],
)
def test_wrong_data_are_refused(posterior: Posterior, y: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        posterior(y)


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan, math.inf, [0.1, 0.0]])
def test_noise_levels_that_are_not_positive_are_refused(posterior: Posterior, sigma: Any) -> None:
    with pytest.raises(ValueError, match="expected positive, finite noise levels sigma"):
        posterior(record().expand(2, 1, 16), sigma)


def test_as_many_noise_levels_as_records(posterior: Posterior) -> None:
    y = record().expand(3, 1, 16)
    for sigma in (0.1, torch.full((3,), 0.1), np.full(3, 0.1), [0.1]):
        assert torch.allclose(posterior(y, sigma).sigma, torch.full((3,), 0.1))
    with pytest.raises(ValueError, match="expected one noise level or 3, got sigma of shape"):
        posterior(y, [0.1, 0.1])


def test_data_marked_as_another_operators_are_refused(posterior: Posterior) -> None:
    y = xr.DataArray(record().numpy(), dims=("channel", "x"))
    assert posterior(posterior.mark(y)).single
    with pytest.raises(ValueError, match="got data marked as of fedcba98"):
        posterior(y.assign_attrs(operator="fedcba98"))


def test_a_users_own_operator_with_a_drawn_noise_level() -> None:
    """The level is one more channel; it must be given, for the data alone do not tell it."""
    forward = ForwardModel(from_pylops(pylops.FirstDerivative(16, kind="backward")), GaussianNoise((0.01, 0.2)))
    problem = Problem(GaussianPrior((1, 16), torch.eye(16)), forward)
    posterior = tiny(problem)
    _, y, sigma = problem.sample(2, seed=0)
    assert posterior.summarise(y, sigma).shape == (2, 2, 16)
    assert posterior(y, sigma).draw(3).shape == (3, 2, 1, 16)
    with pytest.raises(ValueError, match="expected sigma to be given"):
        posterior(y)


@pytest.mark.parametrize(("size", "levels", "fits"), [(20, 3, (16, 24)), (15, None, (14, 16)), (9, None, (8, 10))])
def test_odd_sizes_name_those_that_would_do(size: int, levels: int | None, fits: tuple[int, int]) -> None:
    problem = line_problem(size)
    with pytest.raises(ValueError, match="would do, or fewer levels") as caught:
        Posterior.build(problem, levels=levels)
    assert str(size) in str(caught.value)
    numbers = {int(word.strip("(),;")) for word in str(caught.value).split() if word.strip("(),;").isdigit()}
    block = 2 ** (levels or (2 if size > 15 else 1))
    assert any(number % block == 0 and number in numbers for number in (*fits, *range(block, 3 * size, block)))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"summary": "adjont"}, "among cgls, tikhonov, adjoint, data, residual, score, unrolled, got 'adjont'"),
        ({"flow": "realnvp"}, "expected flow 'glow' or a Flow"),
        ({"summary_network": "resnet"}, "expected summary_network 'unet' or a module"),
        ({"flow": glow((1, 8), levels=1, steps=1)}, r"expected a flow of shape \(1, 16\), got one of \(1, 8\)"),
    ],
)
def test_unknown_parts_are_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Posterior.build(line_problem(), **options)


def test_the_seed_makes_the_weights() -> None:
    one, same, other = (tiny(line_problem(), seed=seed) for seed in (1, 1, 2))
    pairs = [(a, b, c) for a, b, c in zip(one.parameters(), same.parameters(), other.parameters(), strict=True)]
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert any(not torch.equal(a, c) for a, _, c in pairs)


def test_a_fresh_posterior_is_white_noise_of_the_heads_first_scale() -> None:
    """Before any training it is ``N(0, e^{2 c} I)`` whatever the data, ``c`` the centre of the head's log-scale."""
    problem = square_problem(8)
    posterior = tiny(problem)
    centre = next(iter(posterior.flow.map)).affine.centre
    x, y, _ = problem.sample(4, seed=0)
    expected = -0.5 * (x / math.exp(centre)).square().flatten(1).sum(1) - 64 * (0.5 * math.log(2 * math.pi) + centre)
    assert torch.allclose(posterior(y).log_prob(x), expected, rtol=1e-4)
    drawn = posterior(y).draw(50) / math.exp(centre)
    assert float(drawn.std()) == pytest.approx(1, abs=4 / math.sqrt(2 * drawn.numel()))


def test_an_unfitted_posterior_has_no_baseline() -> None:
    with pytest.raises(ValueError, match="expected a posterior that was fitted"):
        tiny(line_problem()).baseline(record()[None])
