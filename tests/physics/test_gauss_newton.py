"""Gauss-Newton against scipy's, its descent, its bounds, and a batch against a loop."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import torch

from bayesinv.physics import from_function, gauss_newton_iterates

MATRIX = torch.from_numpy(np.random.default_rng(0).standard_normal((6, 4)))
CURVED = from_function(lambda x: (x @ MATRIX.to(x).T).tanh() + x.sum(-1, True), model_shape=(1, 4), data_shape=(1, 6))


def data(n=3):
    random = torch.Generator().manual_seed(1)
    return CURVED(0.5 * torch.randn(n, 1, 4, generator=random).double()) + 0.1 * torch.randn(n, 1, 6, generator=random)


def misfit(x, y):
    return (y - CURVED(x)).square().sum((-2, -1))


def test_it_ends_where_scipy_ends():
    y = data()
    found = gauss_newton_iterates(CURVED, y, [40], start=torch.zeros(3, 1, 4).double(), iterations=4)[0]
    for image, record in zip(found, y, strict=True):
        theirs = scipy.optimize.least_squares(
            lambda x, r=record: (CURVED(torch.from_numpy(x)[None]) - r).numpy().ravel(), np.zeros(4), xtol=1e-12
        )
        np.testing.assert_allclose(image[0], theirs.x, atol=1e-5)


def test_the_misfit_falls_with_every_step_and_each_record_goes_its_own_way():
    y, start = data(), torch.full((3, 1, 4), 2.0).double()
    found = gauss_newton_iterates(CURVED, y, [1, 2, 3, 6], start=start, iterations=3)
    values = torch.stack([misfit(start, y), *[misfit(x, y) for x in found]])
    assert bool((values.diff(dim=0) <= 0).all())
    assert bool((values[-1] < 0.1 * values[0]).all())
    alone = gauss_newton_iterates(CURVED, y[1:2], [6], start=start[:1], iterations=3)[0]
    torch.testing.assert_close(alone[0], found[-1, 1], rtol=1e-6, atol=1e-8)
    grid = gauss_newton_iterates(CURVED, y.expand(2, 3, 1, 6), [6], start=start.expand(2, 3, 1, 4), iterations=3)[0]
    torch.testing.assert_close(grid[1], found[-1], rtol=1e-6, atol=1e-8)


def test_a_step_that_is_too_long_is_halved():
    """From 2, the tangent of ``arctan`` points to -3.5 and further out from there: whole steps diverge."""
    curve = from_function(torch.arctan, model_shape=(1,), data_shape=(1,))
    start, zero = torch.full((1, 1), 2.0), torch.zeros(1, 1)
    first, last = gauss_newton_iterates(curve, zero, [1, 8], start=start, iterations=1)
    whole = 2 - torch.arctan(start) * (1 + start**2)
    assert float(whole) < -3.5
    torch.testing.assert_close(first, (start + whole) / 2)
    assert abs(float(last)) < 1e-6
    assert float(gauss_newton_iterates(curve, zero, [3], start=zero, iterations=1)[0]) == 0.0  # nothing to gain


def test_values_stay_within_the_bounds():
    y = data()
    found = gauss_newton_iterates(
        CURVED, y, [8], start=torch.zeros(3, 1, 4).double(), iterations=4, bounds=(-0.1, 0.2)
    )[0]
    assert float(found.min()) == -0.1
    assert float(found.max()) == 0.2


@pytest.mark.parametrize("steps", [[], [0], [2, 2]])
def test_bad_numbers_of_steps_are_named(steps):
    with pytest.raises(ValueError, match="increasing numbers of steps from 1"):
        gauss_newton_iterates(CURVED, data(), steps, start=torch.zeros(3, 1, 4), iterations=2)
