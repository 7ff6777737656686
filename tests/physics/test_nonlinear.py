"""Nonlinear operators: their linearisation, their derivatives, their bounds, and the checks that see a wrong one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bayesinv.physics import (
    ForwardModel,
    GaussianNoise,
    NonlinearOperator,
    Operator,
    as_pylops,
    cgls,
    check,
    dot_test,
    from_function,
    from_simulator,
    is_linear,
    taylor_test,
    to_dense,
)

MATRIX = np.random.default_rng(0).standard_normal((5, 4))
SHAPES = {"model_shape": (1, 2, 2), "data_shape": (1, 5)}


def travel_time(x):
    """Times along five rays of slowness 1 / x."""
    return (MATRIX**2 @ (1 / x.ravel()))[None]


def jacobian(x):
    return -(MATRIX**2) / x.ravel() ** 2


def travel_time_torch(x):
    return ((1 / x).flatten(-3) @ torch.from_numpy(MATRIX**2).to(x.dtype).T).unsqueeze(-2)


MADE = {
    "simulator": lambda: from_simulator(travel_time, jacobian, **SHAPES),
    "function": lambda: from_function(travel_time_torch, **SHAPES),
}
BOUNDS = (1.0, 3.0)


@pytest.fixture(params=MADE)
def operator(request):
    return MADE[request.param]()


def models(*batch, seed=0):
    return 2 + 0.5 * torch.rand(*batch, 1, 2, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def failures(operator, **fields):
    model = ForwardModel(operator, GaussianNoise(0.1), **{"bounds": BOUNDS, "unit": "km/s"} | fields)
    return {result.name: result for result in check(model) if not result.passed}


def test_it_passes_every_check(operator):
    assert isinstance(operator, NonlinearOperator)
    assert not isinstance(operator, Operator)
    assert not is_linear(operator)
    assert failures(operator) == {}


def test_the_jacobian_is_the_formula(operator):
    x = models()
    np.testing.assert_allclose(to_dense(operator.linearize(x)).numpy(), jacobian(x.numpy()))
    assert dot_test(operator.linearize(x)) < 1e-14
    assert taylor_test(operator, bounds=BOUNDS) == pytest.approx(2, abs=0.1)


def test_each_record_has_its_own_jacobian(operator):
    x = models(2, 3)
    J = operator.linearize(x)
    d, e = models(2, 3, seed=1), torch.randn(2, 3, 1, 5, dtype=torch.float64)
    for i in range(2):
        for j in range(3):
            alone = operator.linearize(x[i, j])
            torch.testing.assert_close(J(d)[i, j], alone(d[i, j]))
            torch.testing.assert_close(J.adjoint(e)[i, j], alone.adjoint(e[i, j]))
    more = models(4, 2, 3, seed=2)
    torch.testing.assert_close(J(more)[3], J(more[3]))
    torch.testing.assert_close(operator.linearize(x[0, 0])(d)[1, 2], operator.linearize(x[0, 0])(d[1, 2]))
    with pytest.raises(ValueError, match=r"leading axes that end in \(2, 3\).* got \(3,\)"):
        J(d[0])
    with pytest.raises(ValueError, match=r"leading axes that end in \(2, 3\).* got \(\)"):
        J.adjoint(e[0, 0])


def test_autograd_goes_through(operator):
    x = models(3).requires_grad_()
    y = operator(models(3, seed=1))
    misfit = 0.5 * (operator(x) - y).square().sum()
    (gradient,) = torch.autograd.grad(misfit, x)
    torch.testing.assert_close(gradient, operator.linearize(x).adjoint(operator(x) - y).detach())
    assert torch.autograd.gradcheck(operator, x, check_forward_ad=True)
    torch.testing.assert_close(torch.func.vmap(operator)(x), operator(x))
    tangent = torch.func.jvp(operator, (x,), (torch.ones_like(x),))[1]
    torch.testing.assert_close(tangent, operator.linearize(x)(torch.ones_like(x)))


def test_a_second_derivative_is_right_or_refused():
    x = models().requires_grad_()
    assert torch.autograd.gradgradcheck(MADE["function"](), x)
    J = MADE["function"]().linearize(x)
    (curved,) = torch.autograd.grad(J(torch.ones_like(x)).sum(), x)  # the derivative of J in x
    expected = 2 * (MATRIX**2).sum(0).reshape(1, 2, 2) / x.detach().numpy() ** 3
    np.testing.assert_allclose(curved.numpy(), expected)
    (gradient,) = torch.autograd.grad(MADE["simulator"]()(x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="at most one differentiation"):
        gradient.sum().backward()
    with pytest.raises(RuntimeError, match="at most one differentiation"):
        torch.func.hessian(lambda x: MADE["simulator"]()(x).sum())(x.detach())


def test_complex_data():
    operator = from_simulator(
        lambda x: np.exp(1j * x), lambda x: 1j * np.diag(np.exp(1j * x).ravel()), model_shape=(1, 4), data_shape=(1, 4)
    )
    alike = from_function(lambda x: torch.exp(1j * x), model_shape=(1, 4), data_shape=(1, 4))
    x = torch.randn(2, 1, 4, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(operator(x), alike(x))
    for made in (operator, alike):
        assert torch.autograd.gradcheck(made, x)
        assert dot_test(made.linearize(x[0].detach())) < 1e-14
        results = check(ForwardModel(made, GaussianNoise(0.1)))
        assert [r for r in results if not r.passed] == []
    assert operator(x.float()).dtype == torch.complex64


@pytest.mark.parametrize(
    ("jacobian_fault", "seen_by"),
    [
        (lambda x: 1.01 * jacobian(x), {"Taylor test", "derivatives"}),
        (lambda x: 0 * jacobian(x), {"Taylor test", "derivatives"}),
        (lambda x: jacobian(x).T, {"Taylor test", "derivatives", "gradient"}),
        (lambda x: jacobian(np.full((1, 2, 2), 2.0)), {"Taylor test", "derivatives"}),
    ],
)
def test_a_wrong_jacobian_is_seen(jacobian_fault, seen_by):
    found = failures(from_simulator(travel_time, jacobian_fault, **SHAPES))
    assert seen_by <= set(found)


def test_a_wrong_adjoint_of_the_linearisation_is_seen():
    class Wrong:
        def __init__(self, matrix):
            self.matrix, self.shape, self.dtype = matrix, matrix.shape, matrix.dtype

        def matvec(self, x):
            return self.matrix @ x

        def rmatvec(self, y):
            return 1.001 * self.matrix.T @ y

    found = failures(from_simulator(travel_time, lambda x: Wrong(jacobian(x)), **SHAPES))
    assert {"dot test", "derivatives"} <= set(found) or {"dot test", "dot test, float32"} <= set(found)


def test_bounds_are_kept_in_the_units_of_the_image(operator):
    forward = ForwardModel(operator, GaussianNoise(0.1), bounds=BOUNDS, quantity="velocity", unit="km/s")
    with pytest.raises(ValueError, match=r"images of velocity within 1 and 3 km/s, got values from 0 to 0"):
        forward.simulate(torch.zeros(1, 1, 2, 2), 0)
    y, sigma = forward.simulate(models(3), 0)
    assert torch.isfinite(forward.log_likelihood(models(3), y, sigma)).all()
    assert len(forward.fingerprint()) == 16
    assert forward.fingerprint() == forward.fingerprint()
    with pytest.raises(ValueError, match=r"bounds \(low, high\)"):
        ForwardModel(operator, GaussianNoise(0.1), bounds=(3.0, 1.0))


@pytest.mark.parametrize("bounds", [(0.0, math.inf), (-math.inf, 0.0), (1.0, 3.0), None])
def test_the_checks_stay_within_the_bounds(bounds):
    low, high = bounds or (-math.inf, math.inf)
    seen = []

    def watched(x):
        seen.append((float(x.detach().min()), float(x.detach().max())))
        return x**3

    operator = from_function(watched, model_shape=(1, 4), data_shape=(1, 4))
    results = check(ForwardModel(operator, GaussianNoise(0.1), bounds=bounds))
    assert [r for r in results if not r.passed] == []
    assert min(s[0] for s in seen) >= low
    assert max(s[1] for s in seen) <= high


def test_linear_methods_ask_for_a_linearisation(operator):
    for method in (lambda: as_pylops(operator), lambda: cgls(operator, torch.zeros(1, 5), iterations=1)):
        with pytest.raises(ValueError, match=r"use operator\.linearize\(x\)"):
            method()
    x = models()
    step = cgls(operator.linearize(x), operator(x) - operator(models(seed=1)), iterations=4)
    assert step.shape == x.shape


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda op, x: op(x[..., 1:]), r"expected model of shape \(1, 2, 2\)"),
        (lambda op, x: op.linearize(x[..., 1:]), r"expected model of shape \(1, 2, 2\)"),
        (lambda op, x: op.linearize(x).adjoint(x), r"expected data of shape \(1, 5\)"),
    ],
)
def test_bad_shapes_are_named(operator, call, message):
    with pytest.raises(ValueError, match=message):
        call(operator, models())


def test_bad_simulators_are_named():
    shape = from_simulator(lambda x: x, jacobian, **SHAPES)
    with pytest.raises(ValueError, match=r"simulator to return \(1, 5\), got \(1, 2, 2\)"):
        shape(models())
    with pytest.raises(ValueError, match=r"Jacobian of shape \(5, 4\), got \(4, 5\)"):
        from_simulator(travel_time, lambda x: jacobian(x).T, **SHAPES).linearize(models())
    with pytest.raises(ValueError, match=r"data of the function of shape \(1, 5\)"):
        from_function(lambda x: x, **SHAPES)(models())
