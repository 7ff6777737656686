"""CGLS and regularised least squares against dense algebra and against PyLops."""

from __future__ import annotations

import math

import numpy as np
import pylops
import pytest
import torch

from bayesinv.physics import as_pylops, cgls, cgls_iterates, from_pylops, plugins, regularised_least_squares


class Counted:
    def __init__(self, matrix):
        self.matrix, self.calls, self.adjoints = matrix, 0, 0
        self.model_shape, self.data_shape = (1, matrix.shape[1]), (1, matrix.shape[0])

    def __call__(self, model):
        self.calls += 1
        return model @ self.matrix.T

    def adjoint(self, data):
        self.adjoints += 1
        return data @ self.matrix


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


@pytest.mark.parametrize("damping", [0.0, 0.7])
@pytest.mark.parametrize("started", [False, True])
def test_it_ends_at_the_least_squares_solution(damping, started):
    matrix, y = draw(12, 8), draw(2, 3, 1, 12)
    start = draw(2, 3, 1, 8) if started else None
    x = cgls(Counted(matrix), y, iterations=30, start=start, damping=damping)
    normal = matrix.T @ matrix + damping**2 * torch.eye(8, dtype=torch.float64)
    expected = torch.linalg.solve(normal, (y @ matrix).unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(x, expected, rtol=1e-8, atol=1e-8)


def test_iterates_are_those_of_pylops_record_by_record():
    forward = plugins.load("photoacoustic-line")(12)
    y = draw(3, *forward.data_shape)
    ours = cgls_iterates(forward.operator, y, [0, 1, 4, 9], damping=0.3)
    assert torch.equal(ours[0], torch.zeros_like(ours[0]))
    view = as_pylops(forward.operator)
    for place, iterations in ((1, 1), (2, 4), (3, 9)):
        for record, result in zip(y, ours[place], strict=True):
            theirs = pylops.optimization.basic.cgls(
                view, record.numpy().ravel(), np.zeros(144), niter=iterations, damp=0.3, tol=0
            )[0]
            np.testing.assert_allclose(result.numpy().ravel(), theirs.ravel(), rtol=1e-8, atol=1e-10)


def test_it_costs_one_call_each_way_an_iteration():
    operator = Counted(draw(12, 8))
    cgls_iterates(operator, draw(5, 1, 12), [2, 6])
    assert (operator.calls, operator.adjoints) == (6, 6)


def test_a_converged_record_stays_and_the_rest_goes_on():
    matrix = draw(12, 8)
    y = torch.stack([torch.zeros(1, 12, dtype=torch.float64), draw(1, 12)])
    late = cgls_iterates(Counted(matrix), y, [8, 200])
    assert torch.equal(late[:, 0], torch.zeros_like(late[:, 0]))
    torch.testing.assert_close(late[0, 1], late[1, 1], rtol=1e-8, atol=1e-8)
    single = cgls(Counted(matrix.float()), y.float(), iterations=200)
    torch.testing.assert_close(single.double(), late[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("damping", [0.0, 0.7])
def test_a_null_space_is_not_entered_after_convergence(dtype, damping):
    """Of 5 numbers the operator sees 2, most data are outside its range: the solution of least norm, for good."""
    matrix, y = draw(8, 2) @ draw(2, 5), draw(2000, 1, 8)
    found = cgls_iterates(Counted(matrix.to(dtype)), y.to(dtype), [3, 7, 30, 180], damping=damping)
    normal = matrix.T @ matrix + damping**2 * torch.eye(5, dtype=torch.float64)
    expected = y @ matrix @ torch.linalg.pinv(normal, rtol=1e-10)
    error = (found.double() - expected).abs().amax((1, 2, 3)) / expected.abs().max()
    assert float(error.max()) < 1000 * torch.finfo(dtype).eps


def test_data_that_are_no_numbers_give_none():
    y = draw(3, 1, 12)
    y[1, 0, 4] = math.nan
    found = cgls(Counted(draw(12, 8)), y, iterations=20)
    assert found.isnan().flatten(1).all(1).tolist() == [False, True, False]
    assert found[[0, 2]].isfinite().all()


def test_complex_data_of_real_models():
    operator = from_pylops(pylops.signalprocessing.FFT2D((4, 3)))
    x = draw(2, 1, 4, 3)
    result = cgls(operator, operator(x), iterations=3)
    torch.testing.assert_close(result, x)


@pytest.mark.parametrize("axes", [None, (1,)])
def test_regularised_least_squares_is_that_of_pylops(axes):
    forward = plugins.load("seismic-poststack")(16)
    y = draw(3, 1, 16, 16)
    ours = regularised_least_squares(
        forward.operator, y, damping=0.1, smoothing=0.3, iterations=400, smoothing_axes=axes
    )
    view = as_pylops(forward.operator)
    curved = (
        pylops.Laplacian((16, 16), dtype="float64") if axes is None else pylops.SecondDerivative((16, 16), axis=axes[0])
    )
    for record, result in zip(y, ours, strict=True):
        theirs = pylops.optimization.leastsquares.regularized_inversion(
            view,
            record.numpy().ravel(),
            [pylops.Identity(256), curved],
            epsRs=[0.1, 0.3],
            **{"iter_lim": 2000, "atol": 1e-14, "btol": 1e-14},
        )[0]
        difference = np.linalg.norm(result.numpy().ravel() - theirs.ravel()) / np.linalg.norm(theirs)
        assert difference < 1e-6


@pytest.mark.parametrize("wanted", [[], [3, 3], [-1], [5, 2]])
def test_bad_numbers_of_iterations_are_named(wanted):
    with pytest.raises(ValueError, match="increasing numbers"):
        cgls_iterates(Counted(draw(4, 3)), draw(1, 1, 4), wanted)


def test_bad_shapes_are_named():
    with pytest.raises(ValueError, match=r"expected data of shape \(1, 4\)"):
        cgls(Counted(draw(4, 3)), draw(1, 1, 5), iterations=2)
    with pytest.raises(ValueError, match=r"expected start of shape \(1, 3\)"):
        cgls(Counted(draw(4, 3)), draw(1, 1, 4), iterations=2, start=draw(1, 1, 4))
    with pytest.raises(ValueError, match="smoothing axes"):
        regularised_least_squares(
            Counted(draw(4, 3)), draw(1, 1, 4), damping=1, smoothing=1, iterations=2, smoothing_axes=[1]
        )
