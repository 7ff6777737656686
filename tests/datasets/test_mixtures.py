"""Mixtures of Gaussian fields: equal modes, density, keyed draws, doors."""

from __future__ import annotations

import json
import math

import pytest
import torch

from bayesinv_datasets.matern import GaussianField, matern
from bayesinv_datasets.mixtures import GaussianMixture, two_modes


def test_an_image_depends_on_seed_and_index_only():
    prior = two_modes(8)
    many = prior.sample(9, 5)
    assert many.shape == (9, *prior.shape)
    assert many.dtype == torch.float32
    assert torch.equal(many[3:5], prior.sample(2, 5, start=3))
    assert not torch.equal(many, prior.sample(9, 6))
    with pytest.raises(ValueError, match="expected"):
        prior.sample(0, 0)


def test_modes_are_equal_and_apart():
    prior = two_modes(8, separation=6.0)
    x, which = prior.sample(400, 2), prior.component(400, 2)
    assert abs(float(which.double().mean()) - 0.5) < 4 * 0.5 / math.sqrt(400)
    side = x.mean((1, 2, 3)) > 0
    assert float((side == (which == 0)).double().mean()) > 0.98
    unit = torch.full((64,), 0.125, dtype=torch.float64)
    spread = float((unit @ prior.covariances[0] @ unit).sqrt())
    apart = (prior.means[0] - prior.means[1]).flatten()
    assert float(apart.norm()) == pytest.approx(6 * spread)


def test_the_parameters_make_the_prior_again():
    slope = torch.linspace(-1, 1, 8, dtype=torch.float64).expand(1, 8, 8)
    for prior in (two_modes(8, separation=2.0), two_modes(8, direction=slope)):
        again = two_modes(**json.loads(json.dumps(prior.parameters)))
        torch.testing.assert_close(again.means, prior.means, rtol=1e-12, atol=0)


def test_density_of_a_mixture():
    low, high = (GaussianField((1, 2), [m, m], [[1.0, 0.9], [0.9, 1.0]]) for m in (-1.0, 1.0))
    prior = GaussianMixture([1, 3], [low, high])
    x = prior.sample(3, 0)
    expected = (0.25 * low.log_prob(x).exp() + 0.75 * high.log_prob(x).exp()).log()
    torch.testing.assert_close(prior.log_prob(x), expected)


def test_doors():
    with pytest.raises(ValueError, match="positive weights"):
        GaussianMixture([1.0], [matern(8), matern(8)])
    with pytest.raises(ValueError, match="one shape"):
        GaussianMixture([1.0, 1.0], [matern(8), matern(9)])
    with pytest.raises(ValueError, match="direction"):
        two_modes(8, direction=torch.zeros(1, 8, 8))
