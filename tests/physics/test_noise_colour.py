"""Coloured noise: its covariance, its likelihood against scipy.stats, and white noise as a special case."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch

from bayesinv.physics import Covariance, GaussianNoise, Spectrum, from_scipy

N = 12
POWER = 1 / (0.05 + np.abs(np.fft.fftfreq(N))) ** 2
CIRCULANT = scipy.linalg.circulant(np.fft.ifft(POWER / POWER.mean()).real)  # of unit variance
DISTANCE = np.abs(np.subtract.outer(np.arange(N), np.arange(N)))
DENSE = np.exp(-DISTANCE / 3.0) * np.sqrt(np.outer(*[1 + np.arange(N)] * 2))
UNIT = DENSE / np.diag(DENSE).mean()
COLOURS = {
    "spectrum": (lambda: Spectrum(POWER), CIRCULANT),
    "matrix": (lambda: Covariance(DENSE), UNIT),
    "operator": (lambda: Covariance(from_scipy(DENSE, model_shape=(1, N), data_shape=(1, N))), UNIT),
    "white": (lambda: Spectrum(np.full(N, 7.0)), np.eye(N)),
}


def clean(batch, shape=(1, N)):
    return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("name", COLOURS)
def test_draws_have_the_covariance(name):
    make, covariance = COLOURS[name]
    count, level = 20000, 0.3
    y = torch.zeros(count, 1, N, dtype=torch.float64)
    noisy, sigma = GaussianNoise(level, relative=False, colour=make()).draw(y, 0)
    assert sigma.tolist() == [level] * count
    sampled = noisy[:, 0].T @ noisy[:, 0] / count / level**2
    error = np.abs(sampled.numpy() - covariance)
    spread = np.sqrt((covariance**2 + np.outer(*[np.diag(covariance)] * 2)) / count)  # of a sample covariance
    assert (error / spread).max() < 5  # 78 distinct numbers: 4e-5 by chance


@pytest.mark.parametrize("name", COLOURS)
def test_the_likelihood_is_that_of_scipy(name):
    make, covariance = COLOURS[name]
    noise = GaussianNoise(0.3, relative=False, colour=make())
    x = clean(5)
    y, _ = noise.draw(x, 1)
    sigma = torch.linspace(0.2, 0.6, 5, dtype=torch.float64)
    expected = [
        scipy.stats.multivariate_normal(a.numpy().ravel(), float(s) ** 2 * covariance).logpdf(b.numpy().ravel())
        for a, b, s in zip(x, y, sigma, strict=True)
    ]
    np.testing.assert_allclose(noise.log_likelihood(x, y, sigma).numpy(), expected, rtol=1e-8)


def test_complex_noise_has_two_parts_of_that_likelihood():
    covariance = Covariance(DENSE)
    for colour, matrix in ((covariance, UNIT), (Spectrum(POWER), CIRCULANT)):
        noise = GaussianNoise(0.3, relative=False, colour=colour)
        x = torch.complex(clean(4), clean(4).flip(0))
        y, _ = noise.draw(x, 2)
        assert y.is_complex()
        law = scipy.stats.multivariate_normal(np.zeros(N), 0.09 * matrix)
        r = (y - x).numpy()[:, 0]
        np.testing.assert_allclose(noise.log_likelihood(x, y, 0.3).numpy(), law.logpdf(r.real) + law.logpdf(r.imag))


def test_rows_before_the_axes_of_the_spectrum_are_independent():
    noise = GaussianNoise(0.3, relative=False, colour=Spectrum(POWER))
    x = clean(3, (2, 4, N))
    y, _ = noise.draw(x, 0)
    law = scipy.stats.multivariate_normal(np.zeros(N), 0.09 * CIRCULANT)
    expected = law.logpdf((y - x).numpy()).sum((1, 2))
    np.testing.assert_allclose(noise.log_likelihood(x, y, 0.3).numpy(), expected)


def test_a_plane_of_frequencies():
    power = 1 / (0.1 + np.hypot(*np.meshgrid(np.fft.fftfreq(6), np.fft.fftfreq(5), indexing="ij")))
    colour = Spectrum(power)
    white = torch.eye(30, dtype=torch.float64).reshape(30, 1, 6, 5)
    L = colour.colour(white).flatten(1).T
    torch.testing.assert_close(colour.whiten(colour.colour(white)), white)
    assert float(torch.linalg.slogdet(L)[1]) == pytest.approx(colour.log_det((1, 6, 5)))
    assert float((L @ L.T).diagonal().mean()) == pytest.approx(1)


def test_the_likelihood_can_be_differentiated_and_follows_the_key():
    noise = GaussianNoise((0.05, 0.5), colour=Spectrum(POWER))
    x = clean(6).requires_grad_()
    y, sigma = noise.draw(x.detach(), 3)
    part, part_sigma = noise.draw(x.detach()[4:], 3, start=4)
    torch.testing.assert_close(part, y[4:])
    torch.testing.assert_close(part_sigma, sigma[4:])
    assert torch.autograd.gradcheck(lambda x: noise.log_likelihood(x, y, sigma), x)
    single, _ = noise.draw(x.detach().float(), 3)
    assert single.dtype == torch.float32


def test_white_noise_is_as_ever():
    x = clean(3)
    y, sigma = GaussianNoise(0.1).draw(x, 0)
    same = GaussianNoise(0.1, colour=Spectrum(np.ones(N)))
    torch.testing.assert_close(same.draw(x, 0)[0], y)
    torch.testing.assert_close(same.log_likelihood(x, y, sigma), GaussianNoise(0.1).log_likelihood(x, y, sigma))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Spectrum([1.0, 0.0, 1.0]), "positive, finite"),
        (lambda: Spectrum(2.0), "one for each frequency"),
        (lambda: Spectrum([1.0, 2.0, 3.0]), "symmetric power spectrum"),
        (lambda: Spectrum(POWER).colour(torch.zeros(2, 1, 5)), r"end in \(12,\), like the spectrum, got \(1, 5\)"),
        (lambda: Covariance(np.triu(DENSE)), "symmetric covariance"),
        (lambda: Covariance(-DENSE), "positive definite"),
        (lambda: Covariance(DENSE).whiten(torch.zeros(2, 1, 5)), r"records of 12 numbers, got \(1, 5\)"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
