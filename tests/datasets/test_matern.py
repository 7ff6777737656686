"""Gaussian fields against their covariance, and their density against scipy's."""

from __future__ import annotations

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch

from bayesinv_datasets.matern import GaussianField, matern, torus_amplitudes


@pytest.mark.parametrize("nugget", [0.0, 0.01])  # through transforms, and through the Cholesky factor
@pytest.mark.parametrize("smoothness", [0.5, 1.5, 2.5])
def test_sampled_fields_have_the_covariance(smoothness, nugget):
    """Of 4000 fields: each entry's error is about sqrt((C_ii C_jj + C_ij^2) / 4000) <= .0224; five of those for all."""
    prior = matern(8, lengths=(2.0, 4.0), smoothness=smoothness, nugget=nugget, mean=3.0)
    x = prior.sample(4000, 0).double().flatten(1) - 3.0
    assert float((x.T @ x / 4000 - prior.covariance).abs().max()) < 5 * 0.0224 * 1.01
    assert float(x.mean()) == pytest.approx(0.0, abs=5 * float(prior.covariance.mean().sqrt()) / 4000**0.5)


def test_fields_on_a_torus_of_odd_width_have_the_very_covariance():
    """Of 17 pixels it is 51 wide. A field is ``B white``; the columns of ``B`` are fields of single white numbers."""
    prior, ones = matern(17, nugget=0.0), np.eye(51 * 51)
    whites = (SimpleNamespace(standard_normal=one.reshape) for one in ones)
    columns = np.stack([prior._draw(white).ravel() for white in whites], 1)
    np.testing.assert_allclose(columns @ columns.T, prior.covariance.numpy(), atol=1e-8)


@pytest.mark.parametrize("size", [8, 20])
def test_the_parameters_make_the_prior_again(size):
    prior = matern(size, lengths=(2.0, 3.0), smoothness=0.5, variance=2.0, nugget=0.1, mean=-4.0)
    again = matern(**prior.parameters)
    assert again.parameters == prior.parameters
    assert torch.equal(again.sample(2, 3), prior.sample(2, 3))


def test_a_field_of_any_covariance_has_its_moments():
    """As above, and its mean to five standard errors; it can be sent to another process."""
    covariance = np.array([[1.0, 0.5, 0.0], [0.5, 2.0, -0.7], [0.0, -0.7, 1.5]])
    prior = pickle.loads(pickle.dumps(GaussianField((1, 3), [1.0, 2.0, 3.0], covariance)))
    x = prior.sample(4000, 0).double().flatten(1) - torch.tensor([1.0, 2.0, 3.0])
    assert float((x.T @ x / 4000 - prior.covariance).abs().max()) < 5 * 2 * 0.0224
    assert float(x.mean(0).abs().max()) < 5 * np.sqrt(2 / 4000)
    assert torch.equal(pickle.loads(pickle.dumps(matern(8))).sample(2, 1), matern(8).sample(2, 1))


@pytest.mark.parametrize("smoothness", [0.5, 1.5, 2.5])
def test_the_covariance_is_that_of_the_formula(smoothness):
    """The Matern function by its Bessel form."""
    prior = matern(9, lengths=(2.0, 5.0), smoothness=smoothness, variance=2.0, nugget=0.1)
    covariance = prior.covariance.reshape(9, 9, 9, 9)
    assert float(covariance[3, 4, 3, 4]) == pytest.approx(2.1)
    s = np.sqrt(2 * smoothness) * np.hypot(2 / 2.0, 3 / 5.0)
    bessel = s**smoothness * scipy.special.kv(smoothness, s)
    expected = 2.0 * 2 ** (1 - smoothness) / scipy.special.gamma(smoothness) * bessel
    assert float(covariance[1, 1, 3, 4]) == pytest.approx(expected)


def test_the_amplitudes_on_the_torus_give_back_the_covariance():
    """The inverse transform of the eigenvalues is the first row: exact up to the lags of the image."""

    def kernel(z, x):
        return np.exp(-np.hypot(z / 6, x / 3))

    row = np.fft.ifft2(torus_amplitudes(kernel, 16) ** 2).real
    np.testing.assert_allclose(row[:16, :16], kernel(np.arange(16)[:, None], np.arange(16)), atol=1e-10)


def test_density_is_scipys():
    prior = matern(8, lengths=(2.0, 3.0), mean=0.5)
    x = prior.sample(5, 0)
    law = scipy.stats.multivariate_normal(prior.mean.flatten().numpy(), prior.covariance.numpy())
    np.testing.assert_allclose(prior.log_prob(x).numpy(), law.logpdf(x.flatten(1).double().numpy()), rtol=1e-9)
    assert torch.autograd.gradcheck(prior.log_prob, x.double()[:1].requires_grad_())


def test_long_lengths_are_refused_and_large_sizes_are_drawn_without_a_matrix():
    with pytest.raises(ValueError, match="lengths well below"):
        matern(8, lengths=(200.0, 200.0), smoothness=2.5, nugget=0.0)
    large = matern(96)
    assert large.sample(1, 0).shape == (1, 1, 96, 96)
    with pytest.raises(ValueError, match="at most 64"):
        _ = large.covariance
    with pytest.raises(ValueError, match="smoothness"):
        matern(smoothness=1.0)
    with pytest.raises(ValueError, match="positive definite"):
        GaussianField((1, 2), [0.0, 0.0], np.ones((2, 2)))
    with pytest.raises(ValueError, match="covariance of shape"):
        GaussianField((1, 2), [0.0, 0.0], np.eye(3))
