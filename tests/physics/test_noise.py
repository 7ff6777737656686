"""Gaussian noise: levels, keys, likelihood."""

from __future__ import annotations

import math

import pytest
import torch

from bayesinv.physics import GaussianNoise


def clean(batch=6, count=2000):
    return 3 * torch.randn(batch, 1, count, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 1


def test_a_record_depends_on_its_index_only():
    noise, y = GaussianNoise((0.01, 0.1)), clean()
    whole, sigma = noise.draw(y, 7)
    part, part_sigma = noise.draw(y[4:], 7, start=4)
    assert torch.equal(whole[4:], part)
    assert torch.equal(sigma[4:], part_sigma)
    assert not torch.equal(whole, noise.draw(y, 8)[0])


@pytest.mark.parametrize("relative", [True, False])
def test_the_level_is_what_was_said(relative):
    y = clean()
    noisy, sigma = GaussianNoise(0.2, relative).draw(y, 0)
    expected = 0.2 * y.square().mean((1, 2)).sqrt() if relative else torch.full((6,), 0.2, dtype=y.dtype)
    torch.testing.assert_close(sigma, expected)
    spread = ((noisy - y) / sigma[:, None, None]).std().item()
    assert abs(spread - 1) < 4 / math.sqrt(2 * y.numel())
    estimate = GaussianNoise(0.2, relative).sigma_of(noisy)
    assert ((estimate / sigma - 1).abs() < 4 * 0.2 * math.sqrt(1 / 2000) + 1e-12).all()


def test_drawn_levels_are_log_uniform():
    _, sigma = GaussianNoise((0.01, 1.0), relative=False).draw(clean(500, 2), 0)
    place = torch.log(sigma / 0.01) / math.log(100)
    assert 0 <= place.min() < place.max() <= 1
    assert abs(place.mean() - 0.5) < 4 / math.sqrt(12 * 500)
    with pytest.raises(ValueError, match="sigma to be given"):
        GaussianNoise((0.01, 1.0)).sigma_of(clean())


@pytest.mark.parametrize("is_complex", [False, True])
def test_the_likelihood_is_that_of_torch(is_complex):
    y = clean(3, 8)
    y = torch.complex(y, y.flip(-1)) if is_complex else y
    noise = GaussianNoise(0.3, relative=False)
    noisy, sigma = noise.draw(y, 0)
    parts = [(y.real, noisy.real), (y.imag, noisy.imag)] if is_complex else [(y, noisy)]
    expected = sum(torch.distributions.Normal(a, 0.3).log_prob(b).sum((1, 2)) for a, b in parts)
    torch.testing.assert_close(noise.log_likelihood(y, noisy, sigma), expected)
    torch.testing.assert_close(noise.log_likelihood(y, noisy, 0.3), expected)


@pytest.mark.parametrize("level", [0.0, -1.0, (0.1, 0.01), (0.0, 1.0), float("nan")])
def test_a_bad_level_is_named(level):
    with pytest.raises(ValueError, match="positive noise level"):
        GaussianNoise(level)


def test_silence_is_named():
    y = clean(3)
    y[1] = 0
    with pytest.raises(ValueError, match="zeros in record 5"):
        GaussianNoise(0.1).draw(y, 0, start=4)
    with pytest.raises(ValueError, match="positive sigma"):
        GaussianNoise(0.1).log_likelihood(y, y, 0.0)
