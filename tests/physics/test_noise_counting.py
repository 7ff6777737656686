"""Poisson and signal-dependent noise: moments, keys and likelihoods against scipy.stats."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch

from bayesinv.physics import ForwardModel, GaussianNoise, Noise, PoissonNoise, SignalDependentNoise, check, identity

NOISES = [PoissonNoise(50.0), SignalDependentNoise(0.1, shot=2.0), SignalDependentNoise(0.1, proportional=0.5)]


def clean(batch=4, count=8):
    return 0.2 + 2 * torch.rand(batch, 1, count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("noise", [*NOISES, GaussianNoise(0.1)], ids=str)
def test_it_is_a_noise_and_a_forward_model_with_it_passes_the_checks(noise):
    assert isinstance(noise, Noise)
    forward = ForwardModel(identity((1, 8)), noise, bounds=(0.0, math.inf))
    assert [result for result in check(forward) if not result.passed] == []


@pytest.mark.parametrize(
    ("noise", "variance"),
    [
        (PoissonNoise(50.0), lambda c: c / 50),
        (SignalDependentNoise(0.1), lambda c: 0.01 + 0 * c),
        (SignalDependentNoise(0.1, shot=2.0), lambda c: 0.01 * (1 + 2 * c)),
        (SignalDependentNoise(0.1, proportional=3.0), lambda c: 0.01 * (1 + 9 * c**2)),
    ],
    ids=["Poisson", "white", "shot", "proportional"],
)
def test_mean_and_variance_are_what_was_said(noise, variance):
    level, count = torch.tensor([0.3, 1.0, 2.5], dtype=torch.float64), 40000
    noisy, sigma = noise.draw(level.reshape(3, 1, 1).expand(3, 1, count), 0)
    wanted = variance(level)
    assert ((noisy.mean((1, 2)) - level).abs() < 4.5 * (wanted / count).sqrt()).all()
    kurtosis = 1 / (50 * level) if isinstance(noise, PoissonNoise) else 0 * level
    spread = wanted * ((2 + kurtosis) / count).sqrt()
    assert ((noisy.var((1, 2)) - wanted).abs() < 4.5 * spread).all()
    torch.testing.assert_close(sigma, noise.sigma_of(noisy))


@pytest.mark.parametrize("counts", [1.0, 50.0, 1e5])
def test_the_likelihood_of_counts_is_that_of_scipy(counts):
    x = clean()
    x[0, 0, 0] = 1e-9  # nothing is expected and nothing is seen
    y, sigma = PoissonNoise(counts).draw(x, 0)
    number = (y * counts).numpy()
    np.testing.assert_allclose(number, np.round(number), atol=1e-8)
    expected = scipy.stats.poisson(counts * x.numpy()).logpmf(np.round(number)).sum((1, 2))
    np.testing.assert_allclose(PoissonNoise(counts).log_likelihood(x, y, sigma).numpy(), expected, rtol=1e-8)


def test_impossible_counts_have_no_likelihood():
    noise, y = PoissonNoise(10.0), torch.tensor([[[0.3, 0.0]]], dtype=torch.float64)
    sigma = noise.sigma_of(y)
    zero = torch.tensor([[[0.3, 0.0]]], dtype=torch.float64)
    expected = scipy.stats.poisson(3).logpmf(3)
    assert noise.log_likelihood(zero, y, sigma).item() == pytest.approx(expected)
    assert noise.log_likelihood(zero.flip(-1), y, sigma).item() == -math.inf
    assert noise.log_likelihood(-zero - 0.1, y, sigma).item() == -math.inf


@pytest.mark.parametrize("noise", NOISES[1:], ids=str)
def test_the_signal_dependent_likelihood_is_that_of_scipy(noise):
    x = clean() - 1
    y, _ = noise.draw(x, 0)
    sigma = torch.linspace(0.05, 0.2, 4, dtype=torch.float64)
    scale = sigma.numpy()[:, None, None] * np.sqrt(
        1 + noise.shot * np.abs(x.numpy()) + (noise.proportional * x.numpy()) ** 2
    )
    expected = scipy.stats.norm(x.numpy(), scale).logpdf(y.numpy()).sum((1, 2))
    np.testing.assert_allclose(noise.log_likelihood(x, y, sigma).numpy(), expected)


@pytest.mark.parametrize("noise", NOISES, ids=str)
def test_likelihoods_can_be_differentiated(noise):
    x = clean().requires_grad_()
    y, sigma = noise.draw(x.detach(), 0)
    assert torch.autograd.gradcheck(lambda x: noise.log_likelihood(x, y, sigma), x)


@pytest.mark.parametrize("noise", [PoissonNoise((10.0, 1000.0)), SignalDependentNoise((0.01, 1.0), shot=1.0)], ids=str)
def test_a_level_of_its_own_for_each_record(noise):
    y, sigma = noise.draw(clean(400, 3), 7)
    low, high = noise.level
    place = (sigma / low).log() / math.log(high / low)
    assert 0 <= place.min() < place.max() <= 1
    assert abs(float(place.mean()) - 0.5) < 4 / math.sqrt(12 * 400)
    part, part_sigma = noise.draw(clean(400, 3)[300:], 7, start=300)
    assert torch.equal(part, y[300:])
    assert torch.equal(part_sigma, sigma[300:])
    with pytest.raises(ValueError, match="sigma to be given"):
        noise.sigma_of(y)
    assert torch.isfinite(noise.log_likelihood(clean(400, 3), y, sigma)).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PoissonNoise(0.0), "positive"),
        (lambda: SignalDependentNoise(-0.1), "positive"),
        (lambda: SignalDependentNoise(0.1, shot=-1.0), "of zero or more, got -1.0"),
        (lambda: PoissonNoise(1.0).draw(-clean(), 0), "not negative .*mean counts"),
        (lambda: PoissonNoise(1.0).draw(clean() + 0j, 0), "real data"),
        (lambda: SignalDependentNoise(1.0).draw(clean() + 0j, 0), "real data"),
        (lambda: PoissonNoise(1.0).log_likelihood(clean(), -clean(), 1.0), "not negative .*counts"),
        (lambda: PoissonNoise(1.0).log_likelihood(clean(), clean(), 0.0), "positive sigma"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_no_record_is_no_error():
    for noise in (*NOISES, GaussianNoise(0.1)):
        y, sigma = noise.draw(clean()[:0], 0)
        assert y.shape == (0, 1, 8)
        assert sigma.shape == (0,)
