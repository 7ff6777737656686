"""Exact posteriors against independent formulas, known answers, quadrature and simulation."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from exact_problems import KNOWN, exact_problem
from toy_problems import Matrix

from bayesinv.inference.exact import ExactPosterior, exact_posterior, with_known_noise
from bayesinv.inference.exact_update import dense_matrix
from bayesinv.physics import ForwardModel, GaussianNoise
from bayesinv_datasets.matern import GaussianField, matern
from bayesinv_datasets.mixtures import GaussianMixture


def small(components: int = 1, *, sigma: float = 0.4, seed: int = 0):
    """A prior on four numbers, seen through three sums."""
    random = np.random.default_rng(seed)
    fields = []
    for _ in range(components):
        factor = random.normal(size=(4, 4))
        fields.append(GaussianField((1, 4), random.normal(size=4), factor @ factor.T + 0.1 * np.eye(4)))
    matrix = torch.from_numpy(random.normal(size=(3, 4)))
    forward = ForwardModel(Matrix(matrix, (1, 4), (1, 3)), GaussianNoise(sigma, relative=False))
    prior = fields[0] if components == 1 else GaussianMixture(random.uniform(1, 2, components), fields)
    return prior, forward, torch.from_numpy(random.normal(size=(2, 1, 3)))


def test_gaussian_posterior_is_the_textbook_formula():
    prior, forward, y = small()
    found = exact_posterior(prior, forward, y)
    matrix, precision = forward.operator.matrix, torch.linalg.inv(prior.covariance)
    gamma = torch.linalg.inv(matrix.T @ matrix / 0.4**2 + precision)
    mean = (y[:, 0] @ matrix / 0.4**2 + prior.mean.flatten() @ precision) @ gamma
    torch.testing.assert_close(found.mean().flatten(1), mean, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found.covariance(), gamma.expand(2, 4, 4), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found.std().flatten(1), gamma.diagonal().sqrt().expand(2, 4), rtol=1e-10, atol=1e-10)
    x = prior.sample(2, 0)
    law = torch.distributions.MultivariateNormal(mean, gamma)
    torch.testing.assert_close(found.log_prob(x), law.log_prob(x.double().flatten(1)), rtol=1e-9, atol=1e-9)
    value, error = found.expected_log_prob()
    torch.testing.assert_close(value, -law.entropy(), rtol=1e-10, atol=1e-10)
    assert not error.any()


@pytest.mark.parametrize("components", [1, 3])
def test_bayes_rule(components):
    """log p(x|y) = log p(x) + log p(y|x) - log p(y), every term on its own way."""
    prior, forward, y = small(components)
    x = prior.sample(2, 1)
    found = exact_posterior(prior, forward, y)
    likelihood = forward.log_likelihood(x.double(), y, 0.4)
    expected = prior.log_prob(x) + likelihood - found.log_evidence
    torch.testing.assert_close(found.log_prob(x), expected, rtol=1e-9, atol=1e-9)


def test_evidence_integrates_to_one():
    prior, forward, _ = small(2)
    first = Matrix(forward.operator.matrix[:1], (1, 4), (1, 1))
    forward = ForwardModel(first, GaussianNoise(0.4, relative=False))
    grid = torch.linspace(-40, 40, 4001, dtype=torch.float64)
    total = exact_posterior(prior, forward, grid.reshape(-1, 1, 1)).log_evidence.exp().sum() * 0.02
    assert float(total) == pytest.approx(1.0, abs=1e-9)


def test_target_noise_widens_the_law():
    prior, forward, y = small()
    plain, noisy = exact_posterior(prior, forward, y), exact_posterior(prior, forward, y, target_noise=0.3)
    torch.testing.assert_close(noisy.covariance(), plain.covariance() + 0.09 * torch.eye(4), check_dtype=False)
    torch.testing.assert_close(noisy.mean(), plain.mean())


def test_samples_have_the_moments_and_the_modes():
    prior, forward, y = small(3, sigma=2.0)
    found = exact_posterior(prior, forward, y)
    drawn = found.draw(20000, seed=1).flatten(2)
    error = (drawn.mean(0) - found.mean().flatten(1)) / (found.std().flatten(1) / math.sqrt(20000))
    assert float(error.abs().max()) < 4.5
    for index in range(2):
        centred = drawn[:, index] - drawn[:, index].mean(0)
        empirical = centred.T @ centred / 19999
        scale = found.std()[index].flatten()
        assert float(((empirical - found.covariance()[index]) / (scale[:, None] * scale)).abs().max()) < 0.05
    one = exact_posterior(prior, forward, y[0])
    share = one.responsibilities(drawn[:, 0].reshape(-1, 1, 4)).mean(0)
    assert float((share - one.weights[0]).abs().max()) < 4 * 0.5 / math.sqrt(20000)
    assert 0.02 < float(one.weights.min()) < float(one.weights.max()) < 0.98  # else the test says nothing
    value, error = one.expected_log_prob(samples=4000, seed=3)
    again, _ = one.expected_log_prob(samples=4000, seed=4)
    assert abs(float(value - again)) < 5 * float(error)


def test_pit_is_uniform():
    prior, forward, _ = small(2)
    x = prior.sample(2000, 5)
    y, sigma = forward.simulate(x, 5)
    pit = exact_posterior(prior, forward, y, sigma=sigma).cdf(x).flatten(1)
    for pixel in pit.T:
        deviation = (pixel.sort().values - (torch.arange(2000) + 0.5) / 2000).abs().max()
        assert float(deviation) < 1.95 / math.sqrt(2000)  # Kolmogorov: P = 0.001


def test_a_sample_depends_on_its_key_only():
    prior, forward, y = small(2)
    found = exact_posterior(prior, forward, y)
    torch.testing.assert_close(found.draw(3, seed=2), found.draw(7, seed=2)[:3], rtol=0, atol=0)
    assert not torch.equal(found.draw(3, seed=2), found.draw(3, seed=3))
    samples = exact_posterior(prior, forward, y[0]).sample(5, seed=2)
    assert samples.values.dims == ("sample", "channel", "x")
    many = found.sample(5, seed=2)
    np.testing.assert_allclose(samples.values, many.values[:, 0])
    np.testing.assert_allclose(samples.chi2, many.chi2[:, 0])
    residual = dense_matrix(forward.operator).numpy() @ samples.values[0].to_numpy().ravel() - y[0].numpy().ravel()
    assert float(samples.chi2[0]) == pytest.approx((residual**2).mean() / 0.4**2)


@pytest.mark.parametrize("name", [*KNOWN, "two-modes"])
def test_small_problems_are_made(name):
    problem = exact_problem(name, size=8)
    assert problem.sample(1, 0)[0].shape == (1, 1, 8, 8)


@pytest.mark.parametrize("name", KNOWN)
def test_known_expected_log_density(name):
    problem = exact_problem(name)
    _, y, _ = problem.sample(1, seed=0)
    value, _ = exact_posterior(problem.prior, problem.forward, y).expected_log_prob()
    assert float(value) == pytest.approx(KNOWN[name], abs=0.006)


def test_expected_log_density_is_that_of_pairs():
    problem = exact_problem("inpaint")
    x, y, sigma = problem.sample(200, seed=3)
    found = exact_posterior(problem.prior, problem.forward, y, sigma=sigma)
    gap = found.log_prob(x).mean() - found.expected_log_prob()[0][0]
    assert abs(float(gap)) < 4 * math.sqrt(256 / 2 / 200)


def test_two_modes_in_the_null_space_weigh_the_same_whatever_the_data():
    problem = exact_problem("two-modes")
    x, y, sigma = problem.sample(50, seed=1)
    found = exact_posterior(problem.prior, problem.forward, y, sigma=sigma)
    torch.testing.assert_close(found.weights, torch.full((50, 2), 0.5, dtype=torch.float64), rtol=0, atol=1e-9)
    which = found.responsibilities(x)
    assert bool((which.amax(1) > 0.9).float().mean() > 0.95)  # the modes are apart
    true = problem.prior.component(50, 1)
    assert float((which.argmax(1) == true).float().mean()) > 0.95


def test_doors():
    prior, forward, y = small()
    with pytest.raises(ValueError, match="with_known_noise"):
        ExactPosterior(prior, ForwardModel(forward.operator, GaussianNoise(0.1)))
    with pytest.raises(ValueError, match="weights, means and covariances"):
        ExactPosterior(SimpleNamespace(shape=(1, 4)), forward)
    with pytest.raises(ValueError, match="expected a prior of images"):
        ExactPosterior(matern(8), forward)
    with pytest.raises(ValueError, match="positive, finite"):
        ExactPosterior(prior, forward)(y, sigma=-1.0)
    with pytest.raises(ValueError, match="one sample or more"):
        exact_posterior(prior, forward, y).draw(0)
    with pytest.raises(ValueError, match="as many images as records"):
        exact_posterior(prior, forward, y).log_prob(torch.zeros(3, 1, 4))
    with pytest.raises(ValueError, match="one for each of 2 records, got 3"):
        ExactPosterior(prior, forward)(y.expand(2, -1, -1), sigma=torch.ones(3))
    for ask in ("log_prob", "cdf", "responsibilities"):
        with pytest.raises(ValueError, match=r"images of shape \(n, 1, 4\), got \(4, 4, 4\)"):
            getattr(exact_posterior(prior, forward, y), ask)(torch.zeros(4, 4, 4))
    one = exact_posterior(prior, forward, y[:1])
    torch.testing.assert_close(one.log_prob(torch.zeros(1, 4)), one.log_prob(torch.zeros(1, 1, 4)))

    class Square(Matrix):
        def __call__(self, model):
            return super().__call__(model) ** 2

    curved = Square(forward.operator.matrix, (1, 4), (1, 3))
    with pytest.raises(ValueError, match="expected a linear operator"):
        ExactPosterior(prior, ForwardModel(curved, GaussianNoise(0.1, relative=False)))


def test_known_noise_is_the_fraction_of_the_clean_rms():
    prior, forward, _ = small(2)
    level = with_known_noise(prior, forward, 0.1).noise.level
    clean = forward.operator(prior.sample(20000, 0).double())
    assert level == pytest.approx(0.1 * float(clean.square().mean().sqrt()), rel=0.03)


def test_complex_data_count_as_two():
    class Fourier:
        model_shape, data_shape = (1, 4), (1, 4)

        def __call__(self, model):
            return torch.fft.fft(model, norm="ortho")

        def adjoint(self, data):
            return torch.fft.ifft(data, norm="ortho").real

    prior = small()[0]
    forward = ForwardModel(Fourier(), GaussianNoise(0.4, relative=False))
    x = prior.sample(1, 0)
    y, sigma = forward.simulate(x, 0)
    found = exact_posterior(prior, forward, y, sigma=sigma)
    identity = ForwardModel(Matrix(torch.eye(4).double(), (1, 4), (1, 4)), GaussianNoise(0.4, relative=False))
    expected = exact_posterior(prior, identity, torch.fft.ifft(y, norm="ortho").real)
    torch.testing.assert_close(found.mean(), expected.mean(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.covariance(), expected.covariance(), rtol=1e-9, atol=1e-9)
