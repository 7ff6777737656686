"""The checks see planted faults: each wrong operator below fails the check that is meant for it; healed, it passes."""

from __future__ import annotations

import math

import pylops
import pytest
import torch

from bayesinv.physics import ForwardModel, GaussianNoise, check, dot_test, from_function, from_pylops, taylor_test
from bayesinv.physics.costs import call_time, kept_bytes

MATRIX = torch.randn(6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Function(torch.autograd.Function):
    """``y = M x`` with a hand-made backward and jvp that may be off by a factor."""

    @staticmethod
    def forward(x, backward_factor, jvp_factor):
        return x @ MATRIX.to(x.dtype).T

    @staticmethod
    def setup_context(ctx, inputs, output):
        _, ctx.backward_factor, ctx.jvp_factor = inputs

    @staticmethod
    def backward(ctx, grad):
        return ctx.backward_factor * grad @ MATRIX.to(grad.dtype), None, None

    @staticmethod
    def jvp(ctx, tangent, *_):
        return ctx.jvp_factor * tangent @ MATRIX.to(tangent.dtype).T


class Planted:
    model_shape, data_shape = (1, 5), (1, 6)

    def __init__(self, adjoint=1.0, backward=1.0, jvp=1.0, shift=0.0, cast=None, bad_batch=False, square=0.0):
        self.factors = adjoint, backward, jvp
        self.shift, self.cast, self.bad_batch, self.square = shift, cast, bad_batch, square

    def __call__(self, x):
        y = Function.apply(x, *self.factors[1:]) + self.shift
        y = y + self.square * y**2
        if self.bad_batch and x.ndim > 2:
            y = y.roll(1, 0)
        return y if self.cast is None else y.to(self.cast)

    def adjoint(self, y):
        return self.factors[0] * y @ MATRIX.to(y.dtype)


def failures(operator, **fields):
    return {result.name for result in check(ForwardModel(operator, GaussianNoise(0.1), **fields)) if not result.passed}


def test_a_right_one_passes_all():
    assert failures(Planted()) == set()


@pytest.mark.parametrize(
    ("fault", "seen_by"),
    [
        ({"adjoint": 1.001}, {"dot test", "dot test, float32", "gradient"}),
        ({"adjoint": 1 + 1e-10}, {"dot test", "gradient"}),
        ({"backward": 0.5}, {"gradient", "derivatives"}),
        ({"jvp": 1.001}, {"Taylor test", "derivatives"}),
        ({"jvp": 0.0}, {"Taylor test", "derivatives"}),
        ({"shift": 0.01}, {"linearity"}),
        ({"square": 0.01}, {"linearity"}),
        ({"cast": torch.float64}, {"dtype"}),
        ({"bad_batch": True}, {"batch"}),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value),
)
def test_a_planted_fault_is_seen(fault, seen_by):
    assert seen_by <= failures(Planted(**fault))


def test_a_float32_code_passes_at_its_own_tolerance():
    operator = from_pylops(pylops.FirstDerivative((8, 6), dtype="float32"))
    assert failures(operator, dot_tolerance=1e-5) == set()
    assert "linearity" in failures(operator)


def test_complex_data_pass():
    assert failures(from_pylops(pylops.signalprocessing.FFT2D((4, 3)))) == set()


def test_a_wrong_known_answer_is_seen():
    def answer(operator):
        x = torch.ones(1, 5, dtype=torch.float64)
        return operator(x), MATRIX.sum(1)[None]

    assert failures(Planted(), known_answer=answer) == set()
    assert "known answer" in failures(Planted(shift=1e-6), known_answer=answer)


def test_the_size_of_an_error_is_told_at_any_size():
    class Wide:
        model_shape = data_shape = (1, 100, 100)

        def __call__(self, x):
            return 2 * x

        def adjoint(self, y):
            return 2.002 * y

    for seed in range(5):
        assert 5e-4 < dot_test(Wide(), seed=seed) < 1e-3


def test_the_order_of_a_nonlinear_map():
    cubic = from_function(lambda x: x + x**3, model_shape=(1, 5), data_shape=(1, 5))
    assert taylor_test(cubic) == pytest.approx(2, abs=0.1)
    assert taylor_test(Planted()) == math.inf
    assert taylor_test(Planted(jvp=1.01)) == pytest.approx(1, abs=0.01)


def test_an_operator_that_raises_is_a_failure_not_a_crash():
    class Raising(Planted):
        def adjoint(self, y):
            raise RuntimeError("no license")

    results = {r.name: r for r in check(ForwardModel(Raising(), GaussianNoise(0.1)))}
    assert "no license" in results["dot test"].detail
    assert not results["dot test"].passed


def test_views_and_changes_in_place_are_seen():
    class View(Planted):
        data_shape = (1, 5)

        def __call__(self, x):
            return x.view_as(x)

        def adjoint(self, y):
            return y.clone()

    class InPlace(View):
        def __call__(self, x):
            y = x.clone()
            x.data.mul_(2)
            return y

    results = [{r.name: r for r in check(ForwardModel(op(), GaussianNoise(0.1)))} for op in (View, InPlace)]
    assert "a view of the input" in results[0]["aliasing"].detail
    assert "changed in place" in results[1]["aliasing"].detail


def test_a_likelihood_that_is_not_finite_is_seen():
    class Silent(GaussianNoise):
        def log_likelihood(self, clean, data, sigma):
            return super().log_likelihood(clean, data, sigma) * float("nan")

    results = {r.name: r for r in check(ForwardModel(Planted(), Silent(0.1)))}
    assert not results["likelihood"].passed
    assert results["simulate"].passed


def test_costs_are_told_and_never_fail():
    results = {r.name: r for r in check(ForwardModel(Planted(), GaussianNoise(0.1)))}
    for name in ("time, forward", "time, adjoint", "memory"):
        assert results[name].tolerance == math.inf
        assert results[name].value >= 0
    assert 0 < results["time, forward"].value < 1000


def test_kept_bytes_are_those_of_the_graph_and_not_of_the_operator():
    weights = torch.ones(5, 5)
    x = torch.zeros(7, 5)
    assert kept_bytes(lambda x: x @ weights, x) == 0
    assert kept_bytes(lambda x: (x @ weights).exp().exp(), x) == 2 * 7 * 5 * 4
    assert call_time(lambda x: x, x) < 0.01
