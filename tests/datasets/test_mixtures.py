"""Gaussian fields and mixtures: the moments that they claim, keyed draws, doors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bayesinv_datasets.gaussian_fields import GaussianField, gaussian_field, matern_covariance
from bayesinv_datasets.mixtures import GaussianMixture, two_modes


@pytest.mark.parametrize("prior", [gaussian_field(4, mean=2.0), two_modes(4)], ids=["field", "modes"])
def test_an_image_depends_on_seed_and_index_only(prior):
    many = prior.sample(9, 5)
    assert many.shape == (9, *prior.shape)
    assert many.dtype == torch.float32
    assert torch.equal(many[3:5], prior.sample(2, 5, start=3))
    assert not torch.equal(many, prior.sample(9, 6))
    with pytest.raises(ValueError, match="expected"):
        prior.sample(0, 0)


def test_moments_of_the_field():
    prior = gaussian_field(4, lengths=(1.0, 3.0), mean=2.0)
    x = prior.sample(6000, 0).double().flatten(1)
    assert float((x.mean(0) - 2).abs().max()) < 4.5 / math.sqrt(6000)
    empirical = torch.cov(x.T)
    assert float((empirical - prior.covariance).abs().max()) < 5 * math.sqrt(2 / 6000)
    entropy = 0.5 * (16 * math.log(2 * math.pi * math.e) + float(torch.logdet(prior.covariance)))
    assert abs(float(prior.log_prob(prior.sample(2000, 1)).mean()) + entropy) < 4 * math.sqrt(8 / 2000)
    assert gaussian_field(**prior.parameters).covariance.equal(prior.covariance)


def test_covariance_of_lengths_and_smoothness():
    points = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    rough = matern_covariance(points, (1.0, 2.0), smoothness=0.5, variance=3.0, nugget=0.1)
    np.testing.assert_allclose(rough[0], [3.1, 3 * math.exp(-1), 3 * math.exp(-1)])
    for nu in (0.5, 1.5, 2.5):  # the Matern function by its Bessel form
        from scipy.special import gamma, kv

        s = math.sqrt(2 * nu)
        expected = 2 ** (1 - nu) / gamma(nu) * s**nu * kv(nu, s)
        assert matern_covariance(points, (1.0, 2.0), smoothness=nu)[0, 1] == pytest.approx(expected)


def test_modes_are_equal_and_apart():
    prior = two_modes(4, separation=6.0)
    x, which = prior.sample(400, 2), prior.component(400, 2)
    assert abs(float(which.double().mean()) - 0.5) < 4 * 0.5 / math.sqrt(400)
    side = x.mean((1, 2, 3)) > 0
    assert float((side == (which == 0)).double().mean()) > 0.98
    unit = torch.full((16,), 0.25, dtype=torch.float64)
    spread = float((unit @ prior.covariances[0] @ unit).sqrt())
    apart = (prior.means[0] - prior.means[1]).flatten()
    assert float(apart.norm()) == pytest.approx(6 * spread)


def test_density_of_a_mixture():
    low, high = gaussian_field(2, mean=-1.0), gaussian_field(2, mean=1.0)
    prior = GaussianMixture([1, 3], [low, high])
    x = prior.sample(3, 0)
    expected = (0.25 * low.log_prob(x).exp() + 0.75 * high.log_prob(x).exp()).log()
    torch.testing.assert_close(prior.log_prob(x), expected)


def test_doors():
    with pytest.raises(ValueError, match="smoothness"):
        gaussian_field(4, smoothness=1.0)
    with pytest.raises(ValueError, match="positive lengths"):
        gaussian_field(4, lengths=(0.0, 1.0))
    with pytest.raises(ValueError, match="size"):
        gaussian_field(100)
    with pytest.raises(ValueError, match="positive definite"):
        GaussianField((1, 2), [0.0, 0.0], np.ones((2, 2)))
    with pytest.raises(ValueError, match="covariance of shape"):
        GaussianField((1, 2), [0.0, 0.0], np.eye(3))
    with pytest.raises(ValueError, match="positive weights"):
        GaussianMixture([1.0], [gaussian_field(2), gaussian_field(2)])
    with pytest.raises(ValueError, match="one shape"):
        GaussianMixture([1.0, 1.0], [gaussian_field(2), gaussian_field(3)])
    with pytest.raises(ValueError, match="direction"):
        two_modes(4, direction=torch.zeros(1, 4, 4))
