"""The posterior of given data: keyed draws, labelled samples, densities in the image's unit, refinement."""

from __future__ import annotations

import math

import numpy as np
import pylops
import pytest
import torch
from toy_problems import dense_problem, line_problem, square_problem, tiny

from bayesinv.inference import Posterior, Problem, fit
from bayesinv.physics import Covariance, ForwardModel, GaussianNoise, PoissonNoise, from_pylops


@pytest.fixture(scope="module")
def line() -> tuple[Problem, Posterior]:
    problem = line_problem(16)
    posterior = tiny(problem)
    fit(posterior, problem, simulations=64, epochs=4, validation=4, show_progress=False, device="cpu")
    return problem, posterior


def test_draws_depend_on_seed_sample_and_record_only(line: tuple[Problem, Posterior]) -> None:
    problem, posterior = line
    _, y, _ = problem.sample(3, seed=1)
    for refine in (0, 3):
        many = posterior(y).draw(7, seed=4, refine=refine)
        assert many.shape == (7, 3, 1, 16)
        for batch_size in (1, 5):
            again = posterior(y).draw(7, seed=4, refine=refine, batch_size=batch_size)
            assert torch.allclose(again, many, rtol=1e-4, atol=1e-4)
        fewer = posterior(y[0]).draw(4, seed=4, refine=refine)
        assert torch.allclose(fewer[:, 0], many[:4, 0], rtol=1e-4, atol=1e-4)
        assert not torch.allclose(posterior(y).draw(7, seed=5, refine=refine), many, atol=1e-2)


def test_samples_bear_names_units_and_provenance(line: tuple[Problem, Posterior]) -> None:
    problem, posterior = line
    _, y, sigma = problem.sample(3, seed=1)
    batch, single = posterior(y).sample(4, seed=2, refine=2), posterior(y[1]).sample(4, seed=2)
    assert batch.values.dims == ("sample", "observation", "channel", "x")
    assert single.values.dims == ("sample", "channel", "x")
    assert batch.values.attrs["units"] == "kg/m3"
    assert batch.values.coords["x"].to_numpy()[-1] == pytest.approx(1.5)
    assert batch.chi2.dims == ("sample", "observation")
    assert np.allclose(single.sigma, sigma[1])
    assert np.allclose(single.data.to_numpy(), y[1])
    assert single.data.attrs["operator"] == problem.forward.fingerprint()
    assert {k: batch.provenance[k] for k in ("samples", "seed", "refine")} == {"samples": 4, "seed": 2, "refine": 2}
    residual = problem.forward.operator(torch.from_numpy(batch.values.to_numpy())) - y
    assert np.allclose(batch.chi2, residual.square().mean((-2, -1)) / sigma**2, rtol=1e-4)


def test_refinement_brings_the_misfit_to_the_noise() -> None:
    """Of randomise-then-optimise samples ``|A x - y|^2 / (n sigma^2)`` is 1 from ``A x = y + sigma e``, whatever x was.

    The pixel-wise operator is solved in one step, so the mean over 50 x 64 values is 1 +- 4 sqrt(2 / 3200) = 0.1.
    """
    forward = ForwardModel(from_pylops(pylops.Identity(64)), GaussianNoise(0.1, relative=False))
    problem = Problem(line_problem(64).prior, forward)
    posterior = tiny(problem)
    _, y, _ = problem.sample(1, seed=1)
    raw, refined = posterior(y[0]).sample(50, seed=3), posterior(y[0]).sample(50, seed=3, refine=2)
    assert float(raw.chi2.mean()) > 10
    assert float(refined.chi2.mean()) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("name", ["coloured", "counts"])
def test_refinement_knows_the_noise(name: str) -> None:
    """As above; chi-square is in the metric of the noise, so that it is 1 for the truth as well."""
    lag = np.abs(np.subtract.outer(np.arange(64), np.arange(64)))
    coloured = GaussianNoise(0.1, relative=False, colour=Covariance(np.exp(-lag / 4.0)))
    noise = coloured if name == "coloured" else PoissonNoise(400.0)
    forward = ForwardModel(from_pylops(pylops.Identity(64)), noise)
    posterior = tiny(Problem(line_problem(64).prior, forward))
    x = 2 + 0.5 * torch.sin(torch.arange(64) / 5.0).expand(20, 1, 64)
    y, sigma = forward.simulate(x, 1)
    assert float(posterior(y, sigma)._chi2(x).mean()) == pytest.approx(1, abs=4 * math.sqrt(2 / 1280) + 0.01)
    raw, refined = (posterior(y[0]).sample(50, seed=3, refine=k) for k in (0, 40))
    assert float(raw.chi2.mean()) > 10
    assert float(refined.chi2.mean()) == pytest.approx(1, abs=0.1)


def test_refinement_of_a_smoothing_operator_and_of_no_step(line: tuple[Problem, Posterior]) -> None:
    """Eight steps bring what the flow of a minute's training leaves to the order of the noise, and never raise it."""
    problem, posterior = line
    _, y, _ = problem.sample(5, seed=1)
    raw, refined = (posterior(y).sample(20, seed=3, refine=k).chi2 for k in (0, 8))
    assert float(refined.mean()) < 0.5 * float(raw.mean())
    assert 0.7 < float(refined.mean()) < 2
    with pytest.raises(ValueError, match="refine=0 or more"):
        posterior(y).draw(2, refine=-1)
    with pytest.raises(ValueError, match="at least one sample"):
        posterior(y).draw(0)


def test_the_density_is_in_the_unit_of_the_image(line: tuple[Problem, Posterior]) -> None:
    """``log q(x) = log flow(u) - d log s`` with ``u = (x - mu)/s``, temperature included."""
    problem, posterior = line
    x, y, _ = problem.sample(3, seed=1)
    conditioned = posterior(y)
    found = conditioned.log_prob(x)
    with torch.no_grad():
        u, condition = posterior.standardised(x), conditioned.condition()
        flow = posterior.flow.log_prob(u, condition, temperature=posterior.temperature)
    assert torch.allclose(found, flow - 16 * math.log(float(posterior.image_scale)), rtol=1e-5)
    assert not found.requires_grad
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(conditioned.log_prob(x).sum(), x)
    assert bool(torch.isfinite(gradient).all())


def test_one_record_takes_any_number_of_images(line: tuple[Problem, Posterior]) -> None:
    problem, posterior = line
    x, y, _ = problem.sample(3, seed=1)
    one = posterior(y[0])
    each = torch.cat([one.log_prob(image) for image in x])
    assert each.shape == (3,)
    assert torch.allclose(one.log_prob(x.numpy().astype("f8")), each, rtol=1e-4, atol=1e-3)
    with pytest.raises(ValueError, match=r"as many images as records \(3\), got 2"):
        posterior(y).log_prob(x[:2])
    with pytest.raises(ValueError, match="expected images of shape"):
        one.log_prob(x[..., :8])
    with pytest.raises(ValueError, match="expected finite images"):
        one.log_prob(x * math.nan)


@pytest.mark.parametrize("make", [dense_problem, square_problem])
def test_other_ranks(make: object) -> None:
    problem = make()  # type: ignore[operator]
    posterior = tiny(problem)
    x, y, sigma = problem.sample(2, seed=1)
    samples = posterior(y, sigma).sample(3, refine=1)
    assert samples.values.shape == (3, 2, *problem.forward.model_shape)
    assert posterior(y[0]).sample(3).values.shape == (3, *problem.forward.model_shape)
    assert posterior(y).log_prob(x).shape == (2,)


def test_complex_data() -> None:
    """``sigma`` is the standard deviation of the real and of the imaginary part, so that chi2 is 1, not 2."""
    forward = ForwardModel(from_pylops(pylops.signalprocessing.FFT(16, real=False)), GaussianNoise(0.05))
    problem = Problem(line_problem(16).prior, forward)
    for summary in ("cgls", "data"):
        posterior = tiny(problem, summary=summary)
        x, y, sigma = problem.sample(2, seed=1)
        assert y.is_complex()
        samples = posterior(y, sigma).sample(40, seed=1, refine=3)
        assert posterior(y).log_prob(x).shape == (2,)
        # the Fourier transform is onto half of the complex data only: 32 real numbers a record, 16 of them reachable
        truth = posterior(y, sigma)._chi2(x)
        assert torch.allclose(truth, torch.ones(2), atol=4 * math.sqrt(2 / 32))
        assert 0.5 < float(samples.chi2.mean()) < 2.5
