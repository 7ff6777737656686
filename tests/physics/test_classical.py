"""LSQR and FISTA-TV against dense algebra, optimality conditions and PyProximal itself."""

from __future__ import annotations

import numpy as np
import pylops
import pyproximal
import pytest
import torch

from bayesinv.physics import as_pylops, fista_tv, from_pylops, from_scipy, identity, lipschitz, lsqr, plugins

MATRIX = np.random.default_rng(0).standard_normal((12, 8))
DENSE = from_scipy(MATRIX, model_shape=(1, 8), data_shape=(1, 12))


@pytest.mark.parametrize("damping", [0.0, 0.7])
def test_lsqr_ends_at_the_least_squares_solution(damping):
    y = torch.randn(2, 3, 1, 12, dtype=torch.float64)
    x = lsqr(DENSE, y, iterations=60, damping=damping, tolerance=1e-14)
    rows = np.linalg.solve(MATRIX.T @ MATRIX + damping**2 * np.eye(8), (y.numpy() @ MATRIX)[..., None])[..., 0]
    np.testing.assert_allclose(x.numpy(), rows, rtol=1e-8)
    assert lsqr(DENSE, y.float(), iterations=3).dtype == torch.float32


def test_lsqr_of_complex_data():
    operator = from_pylops(pylops.signalprocessing.FFT2D((4, 3)))
    x = torch.randn(2, 1, 4, 3)
    torch.testing.assert_close(lsqr(operator, operator(x), iterations=5), x, rtol=1e-4, atol=1e-5)


def test_fista_tv_is_that_of_pyproximal_record_by_record():
    forward = plugins.load("deblur")(12)
    y = torch.randn(2, 1, 12, 12, dtype=torch.float64)
    ours = fista_tv(forward.operator, y, weight=0.1, iterations=7)
    view, step = as_pylops(forward.operator), 0.98 / lipschitz(forward.operator)
    for record, image in zip(y, ours, strict=True):
        theirs = pyproximal.optimization.primal.ProximalGradient(
            pyproximal.L2(Op=view, b=record.numpy().ravel()),
            pyproximal.TV((12, 12), sigma=0.1, niter=20),
            x0=np.zeros(144), tau=step, niter=7, acceleration="fista", show=False,
        )  # fmt: skip
        np.testing.assert_allclose(image.numpy().ravel(), theirs.ravel(), atol=1e-10)


def test_fista_tv_of_a_noisy_step_is_the_taut_string():
    """Two plateaus of n pixels each: the minimiser moves each mean by weight / n towards the other."""
    y = torch.cat([torch.zeros(10), torch.ones(10)]) + 0.05 * torch.tensor([1.0, -1.0] * 10)
    x = fista_tv(identity((1, 20)), y[None], weight=0.5, iterations=200, inner=200)
    expected = torch.cat([torch.full((10,), 0.05), torch.full((10,), 0.95)])[None]
    torch.testing.assert_close(x, expected, rtol=0, atol=5e-3)  # their inner loop stops at a change of 1e-4


def test_fista_tv_lowers_its_objective_and_keeps_edges():
    forward = plugins.load("deblur")(24)
    truth = torch.zeros(1, 24, 24, dtype=torch.float64)
    truth[:, 6:18, 8:20] = 1
    y = forward.operator(truth) + 0.02 * torch.randn(1, 24, 24, dtype=torch.float64)
    found = fista_tv(forward.operator, y, weight=0.01, iterations=100, norm=1.0)
    plain = lsqr(forward.operator, y, iterations=8)
    assert (found - truth).norm() < 0.8 * (plain - truth).norm()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lsqr(DENSE, torch.zeros(1, 5), iterations=3), r"expected data of shape \(1, 12\)"),
        (lambda: fista_tv(identity((2, 4)), torch.zeros(2, 4), weight=1, iterations=1), r"images \(1, \*space\)"),
        (lambda: fista_tv(DENSE, torch.zeros(1, 12), weight=0, iterations=1), "positive weight"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
