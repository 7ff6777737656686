"""Operators made of operators, against dense matrices; and the numbers of an operator."""

from __future__ import annotations

import pickle

import numpy as np
import pylops
import pytest
import torch

from bayesinv.physics import (
    ForwardModel,
    GaussianNoise,
    add,
    check,
    compose,
    diagonal,
    from_function,
    from_pylops,
    from_scipy,
    identity,
    lipschitz,
    normal,
    restrict,
    scale,
    stack,
    taylor_test,
    to_dense,
)

SHAPE = (1, 4, 3)
random = np.random.default_rng(0)
A = from_scipy(random.standard_normal((6, 12)), model_shape=SHAPE, data_shape=(1, 2, 3))
B = from_scipy(random.standard_normal((6, 12)), model_shape=SHAPE, data_shape=(1, 2, 3))
C = from_scipy(random.standard_normal((5, 6)), model_shape=(1, 2, 3), data_shape=(1, 5))
FOURIER = from_pylops(pylops.signalprocessing.FFT2D((4, 3)))
MASK = torch.tensor([True, False, True, True, False, False]).reshape(1, 2, 3)
WEIGHTS = torch.rand(1, 2, 3, dtype=torch.float64) + 0.5
a, b, c = (to_dense(op) for op in (A, B, C))
COMBINED = {
    "identity": (lambda: identity(SHAPE), torch.eye(12, dtype=torch.float64)),
    "diagonal": (lambda: diagonal(WEIGHTS), torch.diag(WEIGHTS.ravel())),
    "compose": (lambda: compose(C, A), c @ a),
    "add": (lambda: add(A, B, A), 2 * a + b),
    "stack on one grid": (lambda: stack(A, B), torch.cat([a, b])),
    "stack of unlike grids": (lambda: stack(A, compose(C, B)), torch.cat([a, c @ b])),
    "scale by a number": (lambda: scale(A, -2.5), -2.5 * a),
    "scale each datum": (lambda: scale(A, WEIGHTS), WEIGHTS.ravel()[:, None] * a),
    "restrict": (lambda: restrict(A, MASK), a[MASK.ravel()]),
    "all": (
        lambda: stack(restrict(scale(add(A, B), WEIGHTS), MASK), compose(C, A)),
        torch.cat([(WEIGHTS.ravel()[:, None] * (a + b))[MASK.ravel()], c @ a]),
    ),
}


@pytest.mark.parametrize("name", COMBINED)
def test_it_is_the_matrix_and_obeys_the_laws(name):
    make, matrix = COMBINED[name]
    operator = make()
    torch.testing.assert_close(to_dense(operator), matrix)
    y = torch.randn(7, *operator.data_shape, dtype=torch.float64)
    torch.testing.assert_close(operator.adjoint(y).flatten(1), y.flatten(1) @ matrix)
    results = check(ForwardModel(operator, GaussianNoise(0.1)))
    assert [result for result in results if not result.passed] == []
    x = torch.randn(2, *operator.model_shape)
    assert torch.equal(pickle.loads(pickle.dumps(operator))(x), operator(x))


def test_data_on_one_grid_are_joined_along_the_channels():
    assert stack(A, B).data_shape == (2, 2, 3)
    assert stack(A, compose(C, A)).data_shape == (1, 11)
    x = torch.randn(5, *SHAPE)
    torch.testing.assert_close(stack(A, B)(x)[:, 1:], B(x))


def test_a_part_of_a_spectrum():
    sampled = restrict(FOURIER, torch.rand(1, 4, 3) > 0.4)
    assert sampled.complex_data
    results = check(ForwardModel(sampled, GaussianNoise(0.1)))
    assert [result for result in results if not result.passed] == []
    phases = diagonal(torch.exp(1j * torch.arange(12.0)).reshape(1, 4, 3))
    assert compose(phases, FOURIER).complex_data
    both = stack(FOURIER, scale(FOURIER, 2.0))
    matrix = to_dense(FOURIER)
    torch.testing.assert_close(to_dense(both), torch.cat([matrix, 2 * matrix]))


def test_the_real_part_of_complex_data_is_real():
    real = from_pylops(pylops.Real((4, 3)), complex_model=True)
    operator = compose(real, compose(FOURIER, identity(SHAPE)))
    assert not operator.complex_data
    torch.testing.assert_close(to_dense(operator), to_dense(FOURIER).real)


SQUARE = from_function(torch.square, model_shape=SHAPE, data_shape=SHAPE)
CUBE = from_function(lambda x: x**3, model_shape=SHAPE, data_shape=SHAPE)
NONLINEAR = {
    "linear after nonlinear": (lambda: compose(C, A, SQUARE), lambda x: c @ a @ torch.diag(2 * x)),
    "nonlinear after linear": (lambda: compose(SQUARE, scale(identity(SHAPE), 3.0)), lambda x: torch.diag(18 * x)),
    "nonlinear twice": (lambda: compose(CUBE, SQUARE), lambda x: torch.diag(6 * x**5)),
    "sum": (lambda: add(SQUARE, identity(SHAPE)), lambda x: torch.diag(2 * x + 1)),
    "stack": (lambda: stack(CUBE, SQUARE), lambda x: torch.cat([torch.diag(3 * x**2), torch.diag(2 * x)])),
    "restrict": (
        lambda: restrict(CUBE, torch.ones(SHAPE, dtype=torch.bool).tril()),
        lambda x: torch.diag(3 * x**2)[torch.ones(SHAPE, dtype=torch.bool).tril().ravel()],
    ),
}


@pytest.mark.parametrize("name", NONLINEAR)
def test_nonlinear_parts_follow_the_chain_rule(name):
    make, jacobian = NONLINEAR[name]
    operator = make()
    x = 1 + torch.rand(SHAPE, dtype=torch.float64)
    torch.testing.assert_close(to_dense(operator.linearize(x)), jacobian(x.ravel()))
    assert taylor_test(operator) > 1.9
    results = check(ForwardModel(operator, GaussianNoise(0.1)))
    assert [result for result in results if not result.passed] == []


def test_the_norm_is_the_largest_singular_value():
    for operator, matrix in ((A, a), (compose(C, A), c @ a), (FOURIER, to_dense(FOURIER))):
        expected = float(torch.linalg.svdvals(matrix)[0]) ** 2
        assert lipschitz(operator, iterations=2000, tolerance=1e-12) == pytest.approx(expected, rel=1e-6)
        assert lipschitz(operator) <= expected * (1 + 1e-12)
    assert lipschitz(scale(A, 0.0)) == 0.0
    step = 1.9 / lipschitz(A)
    x, y = torch.zeros(SHAPE, dtype=torch.float64), A(torch.randn(SHAPE, dtype=torch.float64))
    for _ in range(20000):
        x = x - step * A.adjoint(A(x) - y)
        if float((A(x) - y).norm()) < 1e-6:
            break
    assert float((A(x) - y).norm()) < 1e-6  # a step below 2 / ||A||^2 descends


def test_the_normal_operator():
    x = torch.randn(3, *SHAPE, dtype=torch.float64)
    expected = x.flatten(1) @ (a.T @ a) + 0.25 * x.flatten(1)
    torch.testing.assert_close(normal(A, x, damping=0.5).flatten(1), expected)
    torch.testing.assert_close(normal(A, x), A.adjoint(A(x)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: compose(A, C), r"data \(1, 4, 3\) before one with such models, got data \(1, 5\)"),
        (lambda: compose(), "one operator or more"),
        (lambda: add(A, C), "the same .* shapes"),
        (lambda: stack(A, C), "the same model shape"),
        (lambda: stack(from_pylops(pylops.Identity(12)), C), "the same model shape"),
        (lambda: stack(identity(SHAPE), FOURIER), "all real or all complex"),
        (lambda: scale(A, torch.ones(4)), r"weights that broadcast to \(1, 2, 3\), got \(4,\)"),
        (lambda: restrict(A, torch.ones(1, 2, 3)), "boolean mask, got torch.float32"),
        (lambda: restrict(A, torch.ones(4, dtype=torch.bool)), r"mask that broadcasts to \(1, 2, 3\)"),
        (lambda: restrict(A, torch.zeros(1, dtype=torch.bool)), "keeps something"),
        (lambda: compose(pylops.Identity(3), A), "got Identity"),
        (lambda: to_dense(identity((1, 100, 100))), "at most 67108864 entries, got 10000 x 10000"),
        (lambda: to_dense(SQUARE), "linear operator"),
        (lambda: lipschitz(A, iterations=0), "one iteration or more"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
