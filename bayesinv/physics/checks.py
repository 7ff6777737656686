"""The laws of an operator as measurements, run by ``bayesinv check NAME`` and asserted for every plug-in.

Linear: dot test, linearity, derivatives of any order. Nonlinear: Taylor test, and the dot test of its linearisation.
Both: a batch is a loop, dtypes are kept, nothing is aliased, the simulation is keyed, a known answer is met; and what
a call costs in time and in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from bayesinv.physics.costs import call_time, kept_bytes
from bayesinv.physics.forward_model import ForwardModel
from bayesinv.physics.laws import direction_within, dot_test, linear_part, point_within, random_tensor, taylor_test
from bayesinv.physics.operator import Operator

__all__ = ["CheckResult", "check"]


@dataclass(frozen=True)
class CheckResult:
    """What one check found: ``value`` against ``tolerance`` (infinite for a mere cost), and what it means in words."""

    name: str
    passed: bool
    value: float
    tolerance: float
    detail: str


def check(forward_model: ForwardModel) -> list[CheckResult]:
    """Every check of a forward model, in float64 unless said; nothing is raised, failures are results.

    Example:
        >>> from bayesinv.physics import plugins
        >>> all(result.passed for result in check(plugins.load("deblur")(8)))
        True
    """
    it = _Subject(forward_model)
    tolerance = forward_model.dot_tolerance
    loose = max(tolerance, 1e-5)
    of = "" if it.is_linear else " of the linearisation"
    results = [
        _at_most("dot test", lambda: dot_test(it.jacobian(torch.float64)), tolerance, "adjoint is the transpose" + of),
        _at_most(
            "dot test, float32",
            lambda: dot_test(it.jacobian(torch.float32), dtype=torch.float32),
            loose,
            "adjoint in use" + of,
        ),
        _at_most("linearity", lambda: _linearity(it), tolerance, "A(a x + z) = a A x + A z" + of),
        _at_most("batch", lambda: _batch(it), tolerance, "a batch equals a loop, for any leading axes"),
        _at_most("dtype", lambda: _dtype(it), max(10 * tolerance, 1e-5), "float32 is kept and agrees with float64"),
        _at_most("aliasing", lambda: _aliasing(it), 0.0, "the input is left alone and the result is fresh memory"),
        _at_most("gradient", lambda: _gradient(it), tolerance, "reverse mode is the adjoint" + of),
        _taylor(it, max(2e-14, tolerance)),
        _derivatives(it, tolerance),
        _at_most("simulate", lambda: _simulate(it), 0.0, "record i of the noise depends on (seed, i) only"),
        _at_most("likelihood", lambda: _likelihood(it), 0.0, "log p(y | x) is finite, one number a record"),
    ]
    answer = forward_model.known_answer
    if answer is not None:
        detail = (answer.__doc__ or "an independent formula").strip().partition("\n")[0]
        bound = forward_model.known_answer_tolerance
        results.append(_at_most("known answer", lambda: _relative(*answer(it.operator)), bound, detail))
    costs = [
        _at_most("time, forward", lambda: _forward_time(it), math.inf, "ms a record"),
        _at_most("time, adjoint", lambda: _adjoint_time(it), math.inf, "ms a record" + of),
        _at_most("memory", lambda: _memory(it), math.inf, "bytes kept for the backward pass, per byte of the image"),
    ]
    return results + costs


class _Subject:
    """The operator under test, with models that it accepts."""

    def __init__(self, forward: ForwardModel) -> None:
        self.forward, self.operator = forward, forward.operator
        self.is_linear = isinstance(forward.operator, Operator)
        self.bounds = None if self.is_linear else forward.bounds

    def model(self, dtype: torch.dtype, *, key: int = 4, batch: tuple[int, ...] = ()) -> torch.Tensor:
        """A random model, or a batch, that the operator accepts."""
        return point_within(random_tensor((*batch, *self.operator.model_shape), dtype, 0, key), self.bounds)

    def jacobian(self, dtype: torch.dtype) -> Operator:
        """The operator, or its linearisation at a model."""
        return linear_part(self.operator, self.model(dtype))


def _at_most(name: str, measure: Callable[[], float], tolerance: float, detail: str) -> CheckResult:
    try:
        value = measure()
    except Exception as error:  # a plug-in may fail in any way; the failure is the result
        return CheckResult(name, False, math.nan, tolerance, f"{type(error).__name__}: {error}")
    return CheckResult(name, value <= tolerance, value, tolerance, detail)


def _taylor(it: _Subject, rounding: float) -> CheckResult:
    detail = "order of the remainder of the linearisation"
    if it.is_linear:
        detail = "order of the remainder of the forward-mode derivative (inf: exactly linear)"
    try:
        slope = taylor_test(it.operator, rounding=rounding, bounds=it.bounds)
    except Exception as error:
        return CheckResult("Taylor test", False, math.nan, 1.9, f"{type(error).__name__}: {error}")
    return CheckResult("Taylor test", slope >= 1.9, slope, 1.9, detail)


def _derivatives(it: _Subject, tolerance: float) -> CheckResult:
    """First and second derivatives against finite differences along random directions; wide ones for coarse codes.

    A nonlinear operator is tested in reverse mode (forward mode is the Taylor test), in the units of a direction within
    its bounds; one that refuses a second derivative passes with its first.
    """
    at = it.model(torch.float64, key=6)
    scale = direction_within(torch.ones_like(at), at, it.bounds).abs() if it.bounds else torch.ones_like(at)
    eps = 1e-6 if tolerance < 1e-9 else 0.1
    error = max(1e-5, 10 * tolerance)
    compare: dict[str, Any] = {"eps": eps, "rtol": error, "atol": error, "nondet_tol": error, "fast_mode": True}

    def function(z: torch.Tensor) -> torch.Tensor:
        return it.operator(at + scale * z)

    detail = "gradcheck, gradgradcheck, reverse and forward mode" if it.is_linear else "gradcheck, gradgradcheck"
    tested = it.operator if it.is_linear else function
    start = (at if it.is_linear else torch.zeros_like(at)).requires_grad_()
    try:
        torch.autograd.gradcheck(tested, start, check_forward_ad=it.is_linear, **compare)
        try:
            torch.autograd.gradgradcheck(tested, start, **compare)
        except RuntimeError as failure:
            if it.is_linear or "at most one differentiation" not in str(failure):
                raise
            detail = "gradcheck; a second derivative is refused"
    except Exception as failure:
        return CheckResult("derivatives", False, 1.0, 0.0, f"{type(failure).__name__}: {failure}")
    return CheckResult("derivatives", True, 0.0, 0.0, detail)


def _linearity(it: _Subject) -> float:
    operator = it.jacobian(torch.float64)
    x, z = (random_tensor(operator.model_shape, torch.float64, 0, k) for k in (7, 8))
    with torch.no_grad():
        return _relative(operator(3 * x + z), 3 * operator(x) + operator(z))


def _batch(it: _Subject) -> float:
    x = it.model(torch.float64, key=9, batch=(2, 3))
    operator = it.operator
    with torch.no_grad():
        y = operator(x)
        back = linear_part(operator, x).adjoint(y)
        loop = torch.stack([operator(image) for image in x.flatten(0, 1)])
        pairs = zip(x.flatten(0, 1), y.flatten(0, 1), strict=True)
        loop_back = torch.stack([linear_part(operator, image).adjoint(record) for image, record in pairs])
    shapes = tuple(y.shape), tuple(back.shape)
    expected = (2, 3, *operator.data_shape), (2, 3, *operator.model_shape)
    if shapes != expected:
        raise ValueError(f"expected shapes {expected}, got {shapes}")
    return max(_relative(y.flatten(0, 1), loop), _relative(back.flatten(0, 1), loop_back))


def _dtype(it: _Subject) -> float:
    x = it.model(torch.float32, key=10)
    with torch.no_grad():
        y, wide = it.operator(x), it.operator(x.double())
        back = linear_part(it.operator, x).adjoint(y)
    for got, like in ((y, x), (back, x), (wide, x.double())):
        if got.dtype.to_real() != like.dtype or got.device != like.device:
            raise ValueError(f"expected {like.dtype} on {like.device} to be kept, got {got.dtype} on {got.device}")
    return _relative(y.to(wide.dtype), wide)


def _aliasing(it: _Subject) -> float:
    with torch.no_grad():
        x = it.model(torch.float64)
        before = x.clone()
        y = it.operator(x)
        first = y.clone()
        back = linear_part(it.operator, x).adjoint(y)
    if not torch.equal(x, before) or not torch.equal(y, first):
        raise ValueError("expected the input to be left alone, got it changed in place")
    for result, given in ((y, x), (back, y)):
        if result.untyped_storage().data_ptr() == given.untyped_storage().data_ptr():
            raise ValueError("expected a result with memory of its own, got a view of the input; clone() it")
    return 0.0


def _gradient(it: _Subject) -> float:
    x = it.model(torch.float64, key=11).requires_grad_()
    y = it.operator(x)
    cotangent = y.detach() / y.detach().norm().clamp_min(1e-300)
    cotangent = cotangent + random_tensor(it.operator.data_shape, torch.float64, 0, 12)
    (gradient,) = torch.autograd.grad(y, x, cotangent)
    adjoint = linear_part(it.operator, x.detach()).adjoint(cotangent)
    return _relative(gradient, adjoint.real if adjoint.is_complex() else adjoint)


def _images(it: _Subject, batch: int) -> torch.Tensor:
    draw = random_tensor((batch, *it.operator.model_shape), torch.float32, 0, 13)
    return point_within(draw, it.forward.bounds)


def _simulate(it: _Subject) -> float:
    forward, x = it.forward, _images(it, 3)
    whole, sigma = forward.simulate(x, 0)
    part, part_sigma = forward.simulate(x[2:], 0, start=2)
    again, _ = forward.simulate(x, 0)
    if tuple(whole.shape) != (3, *forward.data_shape) or tuple(sigma.shape) != (3,):
        raise ValueError(f"expected data {(3, *forward.data_shape)} and 3 sigmas, got {tuple(whole.shape)}")
    if not torch.equal(whole, again):
        raise ValueError("expected the same data from the same seed, got others")
    loose = _relative(part, whole[2:]) + _relative(part_sigma, sigma[2:])
    return 0.0 if loose <= 1e-5 else loose  # a matrix product may round differently in another batch size


def _likelihood(it: _Subject) -> float:
    x = _images(it, 3)
    with torch.no_grad():
        values = it.forward.log_likelihood(x, *it.forward.simulate(x, 0))
    if tuple(values.shape) != (3,):
        raise ValueError(f"expected 3 log-likelihoods, got a tensor of {tuple(values.shape)}")
    return float((~torch.isfinite(values)).sum())


def _forward_time(it: _Subject) -> float:
    return 1e3 * call_time(it.operator, it.model(torch.float32))


def _adjoint_time(it: _Subject) -> float:
    x = it.model(torch.float32)
    with torch.no_grad():
        y = it.operator(x)
    return 1e3 * call_time(it.jacobian(torch.float32).adjoint, y)


def _memory(it: _Subject) -> float:
    x = it.model(torch.float32, batch=(4,))
    return kept_bytes(it.operator, x) / (x.numel() * x.element_size())


def _relative(got: torch.Tensor, expected: torch.Tensor) -> float:
    if got.shape != expected.shape:
        raise ValueError(f"expected shape {tuple(expected.shape)}, got {tuple(got.shape)}")
    return float((got - expected).norm() / expected.norm().clamp_min(1e-300))
