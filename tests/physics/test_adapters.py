"""Adapters: functions, SciPy, DeepInverse, CUQIpy as operators with the laws of an operator."""

from __future__ import annotations

import pickle
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse
import torch

from bayesinv.physics import (
    ForwardModel,
    GaussianNoise,
    check,
    dot_test,
    from_callables,
    from_cuqipy,
    from_deepinv,
    from_scipy,
    from_torch,
    to_dense,
)

MATRIX = np.random.default_rng(0).standard_normal((6, 8))
SHAPES = {"model_shape": (2, 2, 2), "data_shape": (1, 6)}


def forward(x):
    return (MATRIX @ x.ravel()).reshape(1, 6)


def adjoint(y):
    return (MATRIX.T @ y.ravel()).reshape(2, 2, 2)


def rows(x):
    return x.flatten(1) @ torch.from_numpy(MATRIX).to(x.dtype).T


def batch_forward(x):
    return rows(x).reshape(-1, 1, 6)


def batch_adjoint(y):
    return (y.flatten(1) @ torch.from_numpy(MATRIX).to(y.dtype)).reshape(-1, 2, 2, 2)


PHYSICS = SimpleNamespace(A=batch_forward, A_adjoint=batch_adjoint)
CUQI = SimpleNamespace(forward=lambda x: MATRIX @ x, adjoint=lambda y: MATRIX.T @ y)
MADE = {
    "callables": lambda: from_callables(forward, adjoint, **SHAPES),
    "matrix": lambda: from_scipy(MATRIX, **SHAPES),
    "sparse": lambda: from_scipy(scipy.sparse.csr_array(MATRIX), **SHAPES),
    "scipy operator": lambda: from_scipy(scipy.sparse.linalg.aslinearoperator(MATRIX), **SHAPES),
    "torch": lambda: from_torch(batch_forward, batch_adjoint, **SHAPES),
    "deepinv": lambda: from_deepinv(PHYSICS, **SHAPES, dtype=None),
    "cuqipy": lambda: from_cuqipy(CUQI, **SHAPES),
}


@pytest.mark.parametrize("name", MADE)
def test_it_is_the_matrix_and_obeys_the_laws(name):
    operator = MADE[name]()
    torch.testing.assert_close(to_dense(operator), torch.from_numpy(MATRIX))
    results = check(ForwardModel(operator, GaussianNoise(0.1)))
    assert [result for result in results if not result.passed] == []


def test_a_wrong_adjoint_is_seen():
    assert dot_test(from_callables(forward, lambda y: 1.01 * adjoint(y), **SHAPES)) > 1e-3
    assert dot_test(from_torch(batch_forward, lambda y: 1.01 * batch_adjoint(y), **SHAPES)) > 1e-3


@pytest.mark.parametrize("name", ["callables", "matrix", "sparse", "torch"])
def test_it_pickles(name):
    operator = MADE[name]()
    x = torch.randn(3, 2, 2, 2)
    assert torch.equal(pickle.loads(pickle.dumps(operator))(x), operator(x))


def test_complex_data_of_real_models_reach_the_function_as_real_arrays():
    def real_transform(x):
        assert not np.iscomplexobj(x)
        return np.fft.rfft(x)

    def its_adjoint(y):  # of real models: rfft = P F, with P a restriction
        return 8 * np.fft.ifft(np.concatenate([y, np.zeros((1, 3))], -1))

    operator = from_callables(real_transform, its_adjoint, model_shape=(1, 8), data_shape=(1, 5), dtype=np.complex128)
    assert dot_test(operator) < 1e-14
    assert operator(torch.ones(1, 8)).dtype == torch.complex64


def test_complex_models():
    phase = np.exp(1j * np.arange(4.0))[None]
    both = {"model_shape": (1, 4), "data_shape": (1, 4), "complex_model": True}
    operator = from_callables(lambda x: phase * x, lambda y: phase.conj() * y, dtype=complex, **both)
    assert dot_test(operator) < 1e-14
    x = torch.randn(1, 4, dtype=torch.complex128, requires_grad=True)
    assert torch.autograd.gradcheck(operator, x)
    matrix = from_scipy(np.diag(phase[0]), **both)
    torch.testing.assert_close(matrix(x), operator(x))
    weights = torch.from_numpy(phase)
    shapes = {"model_shape": (1, 4), "data_shape": (1, 4)}
    batched = from_torch(lambda x: weights * x, lambda y: weights.conj() * y, **shapes)
    torch.testing.assert_close(batched(x), operator(x))
    assert dot_test(batched) < 1e-14


def test_a_precision_of_its_own_is_hidden():
    seen = []

    def single(x):
        seen.append(x.dtype)
        return batch_forward(x)

    operator = from_torch(single, batch_adjoint, **SHAPES, dtype=torch.float32)
    assert operator(torch.zeros(2, 2, 2, dtype=torch.float64)).dtype == torch.float64
    assert seen == [torch.float32]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: from_scipy(MATRIX, model_shape=(1, 6), data_shape=(1, 8)), r"shape \(8, 6\).* got \(6, 8\)"),
        (lambda: from_deepinv(CUQI, **SHAPES), "without A, A_adjoint"),
        (lambda: from_cuqipy(PHYSICS, **SHAPES), "without forward, adjoint"),
        (lambda: from_callables(forward, adjoint, model_shape=(), data_shape=(1, 6)), "model_shape as"),
        (lambda: from_callables(adjoint, forward, **SHAPES), r"forward to return an array of \(1, 6\)|mismatch"),
        (
            lambda: from_torch(batch_adjoint, batch_forward, **SHAPES)(torch.zeros(2, 2, 2)),
            r"forward to return a tensor of \(1, 1, 6\)|shapes cannot be multiplied",
        ),
        (
            lambda: from_torch(rows, batch_adjoint, **SHAPES)(torch.zeros(2, 2, 2)),
            r"forward to return a tensor of \(1, 1, 6\), got \(1, 6\)",
        ),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises((ValueError, RuntimeError), match=message):
        make()


def test_none_of_these_packages_is_imported():
    assert not {"deepinv", "cuqi"} & set(sys.modules)


@pytest.mark.slow
def test_the_real_cuqipy():
    cuqi = pytest.importorskip("cuqi")
    model = cuqi.model.LinearModel(MATRIX)
    operator = from_cuqipy(model, model_shape=(1, 2, 4), data_shape=(1, 6))
    torch.testing.assert_close(to_dense(operator), torch.from_numpy(MATRIX))
    assert dot_test(operator) < 1e-14


@pytest.mark.slow
def test_the_real_deepinv():
    deepinv = pytest.importorskip("deepinv")
    mask = (torch.arange(64).reshape(1, 8, 8) % 3 > 0).float()
    physics = deepinv.physics.Inpainting(img_size=(1, 8, 8), mask=mask)
    operator = from_deepinv(physics, model_shape=(1, 8, 8), data_shape=(1, 8, 8))
    assert dot_test(operator) < 1e-6
    x = torch.randn(2, 3, 1, 8, 8)
    torch.testing.assert_close(operator(x), x * mask)
