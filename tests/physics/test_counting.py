"""The tally of calls, by hand and by autograd; the operator itself is unchanged."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bayesinv.physics import Calls, ForwardModel, GaussianNoise, cgls, check, counted, from_function, from_scipy

MATRIX = np.random.default_rng(0).standard_normal((5, 4))
LINEAR = from_scipy(MATRIX, model_shape=(1, 4), data_shape=(1, 5))
SQUARE = from_function(torch.square, model_shape=(1, 4), data_shape=(1, 4))


def test_each_call_counts_once_and_so_does_each_derivative():
    operator = counted(LINEAR)
    x = torch.randn(8, 1, 4, dtype=torch.float64, requires_grad=True)
    y = operator(x)
    assert operator.calls == Calls(1, 0)
    (gradient,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    assert operator.calls == Calls(1, 1)
    torch.testing.assert_close(gradient, 2 * LINEAR.adjoint(LINEAR(x)))
    (twice,) = torch.autograd.grad(gradient.square().sum(), x)  # through A^H, then through A
    assert operator.calls == Calls(2, 2)
    torch.testing.assert_close(twice, 4 * LINEAR.adjoint(LINEAR(gradient)))
    operator.calls.reset()
    torch.func.jvp(operator, (x.detach(),), (x.detach(),))
    assert operator.calls == Calls(2, 0)
    assert operator.calls.total == 2


def test_a_solver_costs_what_it_says():
    operator = counted(LINEAR)
    cgls(operator, torch.randn(3, 1, 5), iterations=4)
    assert operator.calls == Calls(4, 4)


def test_a_tally_can_be_shared():
    calls = Calls()
    first, second = counted(LINEAR, calls), counted(SQUARE, calls)
    x = torch.randn(1, 4, dtype=torch.float64)
    first(x), second(x)
    assert calls == Calls(2, 0)


def test_a_nonlinear_one_counts_its_linearisation():
    operator = counted(SQUARE)
    x = torch.randn(2, 1, 4, dtype=torch.float64, requires_grad=True)
    operator(x).sum().backward()
    assert operator.calls == Calls(1, 1)
    J = operator.linearize(x.detach())
    J.adjoint(J(x.detach()))
    assert operator.calls == Calls(2, 2)


@pytest.mark.parametrize("operator", [LINEAR, SQUARE])
def test_the_laws_still_hold(operator):
    results = check(ForwardModel(counted(operator), GaussianNoise(0.1)))
    assert [result for result in results if not result.passed] == []
    x = torch.randn(3, 1, 4)
    torch.testing.assert_close(torch.func.vmap(counted(operator))(x), operator(x))
