"""Summaries that apply the operator to more than the data: residual, score, and an i-RIM trained with the flow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from toy_problems import (
    GaussianPrior,
    Matrix,
    blur,
    correlated,
    line_problem,
    nonlinear_problem,
    same_state,
    square_problem,
    tiny,
)

from bayesinv.inference import Posterior, Problem, fit
from bayesinv.inference.summaries import mirror_axes, summarise, summary_channels
from bayesinv.physics import Covariance, ForwardModel, GaussianNoise, cgls
from bayesinv.unrolled import IRIM, UnrolledSummary


def test_the_residual_is_what_the_fourth_iterate_leaves() -> None:
    forward = line_problem(16).forward
    _, y, sigma = line_problem(16).sample(3, seed=0)
    found = summarise("residual", forward, y, sigma)
    reached = cgls(forward.operator, y, iterations=4)
    assert found.shape[1] == 2 == summary_channels("residual", forward)
    torch.testing.assert_close(found[:, :1], reached)
    torch.testing.assert_close(found[:, 1:], forward.operator.adjoint(y - forward.operator(reached)))


def test_the_score_is_the_gradient_of_the_log_likelihood() -> None:
    """For white noise ``A^T (y - A x_0) / sigma^2``."""
    forward = line_problem(16).forward
    _, y, sigma = line_problem(16).sample(3, seed=0)
    at = torch.linspace(-1, 1, 16)[None]
    found = summarise("score", forward, y, sigma, fiducial=at)
    expected = forward.operator.adjoint(y - forward.operator(at)) / sigma[:, None, None] ** 2
    torch.testing.assert_close(found, expected)
    assert not found.requires_grad


def test_the_score_is_taken_at_the_mean_of_the_prior() -> None:
    problem = line_problem(16, mean=5.0)
    posterior = tiny(problem, summary="score")
    # The mean of 64 images of standard deviation 2: off by 2 / 8, here within four of that.
    assert float((posterior.fiducial - 5.0).abs().max()) < 1.0
    assert tiny(problem, summary="cgls").fiducial is None
    _, y, sigma = problem.sample(2, seed=1)
    expected = summarise("score", problem.forward, y, sigma, fiducial=posterior.fiducial)
    assert torch.equal(posterior.summarise(y, sigma), expected)


def test_a_nonlinear_operator_is_linearised_at_the_mean_of_the_prior() -> None:
    problem = nonlinear_problem()
    _, y, sigma = problem.sample(3, seed=0)
    operator: Any = problem.forward.operator
    at = tiny(problem, summary="adjoint").fiducial
    assert at is not None
    tangent = Matrix(blur(8, 1.0) @ torch.diag((at[0] / 4).exp().double() / 4), (1, 8), (1, 8))
    rest = y - operator(at)
    torch.testing.assert_close(summarise("adjoint", problem.forward, y, sigma, fiducial=at), tangent.adjoint(rest))
    update, left = summarise("residual", problem.forward, y, sigma, fiducial=at).chunk(2, 1)
    torch.testing.assert_close(update, cgls(tangent, rest, iterations=4))
    reached = at + update
    torch.testing.assert_close(left, operator.linearize(reached).adjoint(y - operator(reached)))
    score = summarise("score", problem.forward, y, sigma, fiducial=at)
    torch.testing.assert_close(score, tangent.adjoint(rest) / sigma[:, None, None] ** 2)


def test_coloured_noise_is_whitened() -> None:
    """The iterates and the score are those of ``W A`` and ``W y`` with ``W W^T = C^-1``."""
    shape, covariance = (1, 8), correlated(8, 2.0) @ correlated(8, 2.0).T
    noise = GaussianNoise(0.1, relative=False, colour=Covariance(covariance))
    forward = ForwardModel(Matrix(blur(8, 1.0), shape, shape), noise)
    y, sigma = forward.simulate(torch.randn(3, *shape).double(), 0)
    inverse = torch.linalg.inv(torch.linalg.cholesky(covariance / covariance.diagonal().mean()))
    white = Matrix(inverse @ blur(8, 1.0), shape, shape)
    data = y @ inverse.T
    found = summarise("residual", forward, y, sigma)
    reached = cgls(white, data, iterations=4)
    torch.testing.assert_close(found, torch.cat([reached, white.adjoint(data - white(reached))], 1))
    score = summarise("score", forward, y, sigma)
    torch.testing.assert_close(score, white.adjoint(data) / 0.01)


def shorter_problem(level: Any = 0.1) -> Problem:
    """Data on a grid of their own."""
    shape = (1, 16)
    forward = ForwardModel(Matrix(blur(16, 1.0)[::2], shape, (1, 8)), GaussianNoise(level, relative=False))
    return Problem(GaussianPrior(shape, 2 * correlated(16, 4.0), mean=1.0), forward)


def test_the_unrolled_summary_is_the_data_and_a_loop() -> None:
    problem = shorter_problem((0.01, 1.0))
    x, y, sigma = problem.sample(3, seed=0)
    posterior = tiny(problem, summary="unrolled")
    network = posterior.summary_network
    assert isinstance(network, UnrolledSummary)
    c = posterior.summarise(y, sigma)
    assert c.shape == (3, 2, 8)
    assert torch.equal(c[:, :1], y)
    posterior.normalise(x, 7 * c)
    assert torch.equal(posterior.summarise(y, sigma), c)  # the operator knows the data in their own unit only
    assert float(network.mean) == pytest.approx(float(x.mean()))
    condition = posterior(y, sigma).condition()
    expected = network.network(torch.cat([network.loop.state(y), c[:, 1:, :1].expand(-1, -1, 16)], 1))
    assert all(torch.equal(a, b) for a, b in zip(condition, expected, strict=True))
    assert mirror_axes("unrolled", problem.forward) == ()


def test_the_noise_level_and_complex_data_reach_an_unrolled_summary() -> None:
    class Waves:
        model_shape, data_shape, complex_data = (1, 8), (1, 5), True

        def __call__(self, model: Tensor) -> Tensor:
            return torch.fft.rfft(model, norm="ortho")

        def adjoint(self, data: Tensor) -> Tensor:
            padded = torch.cat([data, data.new_zeros(*data.shape[:-1], 3)], -1)
            return (torch.fft.ifft(padded, norm="ortho")).real

    problem = Problem(GaussianPrior((1, 8), correlated(8, 3.0)), ForwardModel(Waves(), GaussianNoise((0.01, 0.1))))
    x, y, sigma = problem.sample(4, seed=0)
    posterior = tiny(problem, summary="unrolled")
    assert posterior.summarise(y, sigma).shape == (4, 3, 5)
    assert posterior(y, sigma).log_prob(x).shape == (4,)
    seen = posterior.summary_network.loop.state(y)
    assert not seen.is_complex()
    torch.testing.assert_close(posterior.summarise(y, sigma)[:, :2], torch.cat([y.real, y.imag], 1))


def test_an_unrolled_posterior_is_trained_jointly_saved_and_loaded(tmp_path: Path) -> None:
    problem = shorter_problem()
    posterior = tiny(problem, summary="unrolled", seed=1)
    before = {name: p.detach().clone() for name, p in posterior.named_parameters()}
    history = fit(posterior, problem, simulations=128, epochs=3, validation=20, show_progress=False, device="cpu")
    assert history.rows[-1]["heldout"] < history.rows[0]["heldout"] + 1
    moved = [n for n, p in posterior.named_parameters() if not torch.equal(p, before[n]) and ".loop." in n]
    assert len(moved) > 20
    _, y, _ = problem.sample(2, seed=5)
    path = posterior.save(tmp_path / "p.bayesinv")
    again = Posterior.load(path, problem=problem)
    assert same_state(posterior, again)
    assert torch.equal(again(y).draw(3, seed=1), posterior(y).draw(3, seed=1))


@pytest.mark.parametrize("kind", ["score", "residual", "unrolled"])
def test_a_posterior_of_a_square_with_each_summary(kind: Any, tmp_path: Path) -> None:
    problem = square_problem(8)
    posterior = tiny(problem, summary=kind)
    _, y, _ = problem.sample(2, seed=0)
    samples = posterior(y).draw(2, seed=1)
    assert samples.shape == (2, 2, 1, 8, 8)
    again = Posterior.load(posterior.save(tmp_path / "p.bayesinv"), problem=problem)
    assert torch.equal(again(y).draw(2, seed=1), samples)


def test_a_users_own_network_gets_the_data() -> None:
    problem = shorter_problem()
    loop = IRIM(problem.forward.operator, memory=1, hidden=4, dilations=(1,))
    posterior = tiny(problem, summary="unrolled", summary_network=loop, flow=own_flow(problem))
    _, y, _ = problem.sample(2, seed=0)
    assert torch.equal(posterior(y).condition(), loop(y))


def own_flow(problem: Problem) -> Any:
    from bayesinv.flows import glow

    return glow(problem.forward.model_shape, condition=1, levels=1, steps=1, hidden=4)
