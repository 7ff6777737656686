"""Least squares under noise that is not white: against the formula of generalised least squares, by dense algebra."""

from __future__ import annotations

import numpy as np
import pylops
import pytest
import torch

from bayesinv.physics import (
    Covariance,
    GaussianNoise,
    PoissonNoise,
    SignalDependentNoise,
    Spectrum,
    Whitening,
    cgls,
    dot_test,
    from_function,
    from_pylops,
    from_scipy,
    to_dense,
)

N = 10
LAG = np.abs(np.subtract.outer(np.arange(N), np.arange(N)))
DENSE = np.exp(-LAG / 3.0) * np.sqrt(np.outer(*[1 + np.arange(N)] * 2))
POWER = 1 / (0.05 + np.abs(np.fft.fftfreq(N))) ** 2
MATRIX = np.random.default_rng(0).standard_normal((N, 4))
OPERATOR = from_scipy(MATRIX, model_shape=(1, 4), data_shape=(1, N))
DATA = torch.from_numpy(np.random.default_rng(1).uniform(0.2, 4.0, (3, 1, N)))


def circulant():
    return np.array([np.roll(np.fft.ifft(POWER).real, k) for k in range(N)])


NOISES = {
    "matrix": (GaussianNoise(0.1, colour=Covariance(DENSE)), lambda y: DENSE),
    "spectrum": (GaussianNoise(0.1, colour=Spectrum(POWER)), lambda y: circulant()),
    "counts": (PoissonNoise(100.0), np.diag),
    "signal": (SignalDependentNoise(0.1, shot=3.0, proportional=0.5), lambda y: np.diag(1 + 3 * y + (0.5 * y) ** 2)),
}


@pytest.mark.parametrize("name", NOISES)
def test_least_squares_are_weighted_by_the_covariance(name):
    """``(A^T C^-1 A)^-1 A^T C^-1 y``, each record with its own ``C``, for further leading axes as well."""
    noise, covariance = NOISES[name]
    white = Whitening(noise, DATA)
    operator = white.operator(OPERATOR)
    assert dot_test(Whitening(noise, DATA[0:1]).operator(OPERATOR)) < 1e-12
    found = cgls(operator, white(DATA), iterations=40)
    start = torch.zeros(2, 3, 1, 4, dtype=torch.float64)
    twice = cgls(operator, white(DATA).expand(2, 3, 1, N), iterations=40, start=start)
    for i, y in enumerate(DATA[:, 0].numpy()):
        precision = np.linalg.inv(covariance(y))
        expected = np.linalg.solve(MATRIX.T @ precision @ MATRIX, MATRIX.T @ precision @ y)
        np.testing.assert_allclose(found[i, 0], expected, rtol=1e-8)
        np.testing.assert_allclose(twice[1, i, 0], expected, rtol=1e-8)
    plain = cgls(OPERATOR, DATA, iterations=40)
    assert float((plain - found).abs().max()) > 1e-2  # the weights matter


@pytest.mark.parametrize("name", NOISES)
def test_whitened_noise_has_the_level(name):
    noise, _ = NOISES[name]
    noise = PoissonNoise(1e4) if name == "counts" else noise
    clean = DATA[:1].expand(4000, 1, N)
    y, sigma = noise.draw(clean, 0)
    white = noise.whiten(y - clean, y) / sigma[:, None, None]
    assert float(white.square().mean()) == pytest.approx(1.0, abs=0.15 if name == "signal" else 0.04)
    correlation = np.corrcoef(white[:, 0].T.numpy())
    assert np.abs(correlation - np.eye(N)).max() < 5 / np.sqrt(4000)


def test_white_noise_changes_nothing():
    white = Whitening(GaussianNoise(0.1), DATA)
    assert white(DATA) is DATA
    assert white.operator(OPERATOR) is OPERATOR


def test_the_linearisation_of_a_whitened_operator_is_whitened():
    noise, _ = NOISES["counts"]
    square = from_function(lambda x: OPERATOR(x).square(), model_shape=(1, 4), data_shape=(1, N))
    x = torch.ones(3, 1, 4, dtype=torch.float64)
    white = Whitening(noise, DATA)
    tangent = white.operator(square).linearize(x)
    torch.testing.assert_close(tangent(x), square.linearize(x)(x) / DATA.sqrt())
    torch.testing.assert_close(tangent.adjoint(DATA), square.linearize(x).adjoint(DATA.sqrt()))


def test_a_datum_without_counts_weighs_as_the_least_that_has_some():
    y = torch.tensor([[[0.0, 0.02, 1.0]], [[0.0, 0.0, 0.0]]])
    weights = PoissonNoise(50.0).whiten(torch.ones(2, 1, 3), y)
    torch.testing.assert_close(weights[0, 0], torch.tensor([50.0, 50.0, 1.0]).sqrt())
    assert torch.equal(weights[1], torch.ones(1, 3))


def test_complex_data_of_coloured_noise():
    fourier = from_pylops(pylops.signalprocessing.FFT(8, real=False))
    noise = GaussianNoise(0.1, colour=Spectrum(1 / (0.1 + np.abs(np.fft.fftfreq(8)))))
    y = torch.complex(torch.randn(1, 1, 8), torch.randn(1, 1, 8)).to(torch.complex128)
    operator = Whitening(noise, y).operator(fourier)
    assert dot_test(operator) < 1e-12
    assert to_dense(operator).is_complex()
