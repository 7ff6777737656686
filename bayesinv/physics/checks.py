"""The laws of an operator as measurements, run by ``bayesinv check NAME`` and asserted for every plug-in.

The two that matter most, for random ``x, y, d`` and a small step ``h``:

    dot test      | <A x, y> - <x, A^H y> | <= tolerance |A x| |y|
    Taylor test   | A(x + h d) - A(x) - h A'(x) d | = O(h^2)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from bayesinv.physics.forward_model import ForwardModel
from bayesinv.physics.operator import Operator
from bayesinv.seeding import normal, stream

__all__ = ["CheckResult", "check", "dot_test", "taylor_test"]

_STREAM = stream("bayesinv.physics.checks")


@dataclass(frozen=True)
class CheckResult:
    """What one check found: ``value`` against ``tolerance``, and what it means in words."""

    name: str
    passed: bool
    value: float
    tolerance: float
    detail: str


def dot_test(operator: Operator, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> float:
    """Relative error ``|<A x, y> - <x, A^H y>| / (|A x| |y|)`` for random ``x``, with real inner products.

    ``y`` is half along ``A x`` and half random, so that ``<A x, y>`` is not small by chance and an adjoint that is off
    by a factor ``1 + e`` shows as about ``0.7 e`` at any size.

    Example:
        >>> import pylops
        >>> from bayesinv.physics import from_pylops
        >>> dot_test(from_pylops(pylops.FirstDerivative((8, 6)))) < 1e-14
        True
    """
    with torch.no_grad():
        x = _random(operator.model_shape, dtype, seed, 0)
        if operator.adjoint(operator(x)).is_complex():
            x = torch.complex(x, _random(operator.model_shape, dtype, seed, 1))
        data = operator(x)
        y = _random(operator.data_shape, dtype, seed, 2).to(data.dtype)
        if data.is_complex():
            y = torch.complex(y.real, _random(operator.data_shape, dtype, seed, 3))
        if float(data.norm()) == 0:
            return float(operator.adjoint(y).norm() / y.norm())
        y = y / y.norm() + data / data.norm()
        error = abs(_inner(data, y) - _inner(x, operator.adjoint(y)))
        return error / float(data.norm() * y.norm())


def taylor_test(operator: Operator, *, seed: int = 0, rounding: float = 2e-14) -> float:
    """Order in ``h`` of the remainder ``A(x + h d) - A(x) - h A'(x) d`` in float64, with ``A'(x) d`` by forward mode.

    Args:
        operator: ``A``, linear or not.
        seed: key of ``x`` and ``d``.
        rounding: relative size of the remainder below which it counts as rounding error.

    Returns:
        The slope in log-log: at least 1.9 if the derivative is right, about 1 if it is wrong; infinity if the
        remainder is rounding error only, as it is for a linear operator.

    Example:
        >>> import pylops
        >>> from bayesinv.physics import from_pylops
        >>> taylor_test(from_pylops(pylops.FirstDerivative((8, 6))))
        inf
    """
    x = _random(operator.model_shape, torch.float64, seed, 4)
    direction = _random(operator.model_shape, torch.float64, seed, 5)
    value, tangent = torch.func.jvp(operator, (x,), (direction,))[:2]
    steps = [2.0**-k for k in range(3, 8)]
    remainders = [float((operator(x + h * direction) - value - h * tangent).norm()) for h in steps]
    if max(remainders) <= rounding * float(value.norm() + tangent.norm()):
        return math.inf
    if min(remainders) == 0:
        return 0.0
    return math.log(remainders[0] / remainders[-1]) / math.log(steps[0] / steps[-1])


def check(forward_model: ForwardModel) -> list[CheckResult]:
    """Every check of a forward model, in float64 unless said; nothing is raised, failures are results.

    Example:
        >>> from bayesinv.physics import plugins
        >>> all(result.passed for result in check(plugins.load("deblur")(8)))
        True
    """
    operator, tolerance = forward_model.operator, forward_model.dot_tolerance
    loose = max(tolerance, 1e-5)
    results = [
        _at_most("dot test", lambda: dot_test(operator), tolerance, "adjoint is the transpose"),
        _at_most("dot test, float32", lambda: dot_test(operator, dtype=torch.float32), loose, "adjoint in use"),
        _at_most("linearity", lambda: _linearity(operator), tolerance, "A(a x + z) = a A x + A z"),
        _at_most("batch", lambda: _batch(operator), tolerance, "a batch equals a loop, for any leading axes"),
        _at_most("dtype", lambda: _dtype(operator), loose, "float32 stays float32 and agrees with float64"),
        _at_most("gradient", lambda: _gradient(operator), tolerance, "reverse mode is the adjoint"),
        _taylor(operator, max(2e-14, tolerance)),
        _derivatives(operator, tolerance),
        _at_most("simulate", lambda: _simulate(forward_model), 0.0, "record i of the noise depends on (seed, i) only"),
    ]
    answer = forward_model.known_answer
    if answer is not None:
        detail = (answer.__doc__ or "an independent formula").strip().partition("\n")[0]
        bound = forward_model.known_answer_tolerance
        results.append(_at_most("known answer", lambda: _relative(*answer(operator)), bound, detail))
    return results


def _at_most(name: str, measure: Callable[[], float], tolerance: float, detail: str) -> CheckResult:
    try:
        value = measure()
    except Exception as error:  # a plug-in may fail in any way; the failure is the result
        return CheckResult(name, False, math.nan, tolerance, f"{type(error).__name__}: {error}")
    return CheckResult(name, value <= tolerance, value, tolerance, detail)


def _taylor(operator: Operator, rounding: float) -> CheckResult:
    detail = "order of the remainder of the forward-mode derivative (inf: exactly linear)"
    try:
        slope = taylor_test(operator, rounding=rounding)
    except Exception as error:
        return CheckResult("Taylor test", False, math.nan, 1.9, f"{type(error).__name__}: {error}")
    return CheckResult("Taylor test", slope >= 1.9, slope, 1.9, detail)


def _derivatives(operator: Operator, tolerance: float) -> CheckResult:
    """First and second derivatives against finite differences along random directions; wide ones for coarse codes."""
    x = _random(operator.model_shape, torch.float64, 0, 6).requires_grad_()
    eps = 1e-6 if tolerance < 1e-9 else 0.1
    error = max(1e-5, 10 * tolerance)
    compare: dict[str, Any] = {"eps": eps, "rtol": error, "atol": error, "nondet_tol": error, "fast_mode": True}
    detail = "gradcheck, gradgradcheck, reverse and forward mode"
    try:
        torch.autograd.gradcheck(operator, x, check_forward_ad=True, **compare)
        torch.autograd.gradgradcheck(operator, x, **compare)
    except Exception as failure:
        return CheckResult("derivatives", False, 1.0, 0.0, f"{type(failure).__name__}: {failure}")
    return CheckResult("derivatives", True, 0.0, 0.0, detail)


def _linearity(operator: Operator) -> float:
    x, z = (_random(operator.model_shape, torch.float64, 0, k) for k in (7, 8))
    with torch.no_grad():
        return _relative(operator(3 * x + z), 3 * operator(x) + operator(z))


def _batch(operator: Operator) -> float:
    x = _random((2, 3, *operator.model_shape), torch.float64, 0, 9)
    with torch.no_grad():
        y = operator(x)
        back = operator.adjoint(y)
        loop = torch.stack([operator(image) for image in x.flatten(0, 1)])
        loop_back = torch.stack([operator.adjoint(record) for record in y.flatten(0, 1)])
    shapes = tuple(y.shape), tuple(back.shape)
    expected = (2, 3, *operator.data_shape), (2, 3, *operator.model_shape)
    if shapes != expected:
        raise ValueError(f"expected shapes {expected}, got {shapes}")
    return max(_relative(y.flatten(0, 1), loop), _relative(back.flatten(0, 1), loop_back))


def _dtype(operator: Operator) -> float:
    x = _random(operator.model_shape, torch.float32, 0, 10)
    with torch.no_grad():
        y, wide = operator(x), operator(x.double())
        back = operator.adjoint(y)
    for got, like in ((y, x), (back, x), (wide, x.double())):
        if got.dtype.to_real() != like.dtype or got.device != like.device:
            raise ValueError(f"expected {like.dtype} on {like.device} to be kept, got {got.dtype} on {got.device}")
    return _relative(y.to(wide.dtype), wide)


def _gradient(operator: Operator) -> float:
    x = _random(operator.model_shape, torch.float64, 0, 11).requires_grad_()
    y = operator(x)
    cotangent = y.detach() / y.detach().norm().clamp_min(1e-300) + _random(operator.data_shape, torch.float64, 0, 12)
    (gradient,) = torch.autograd.grad(y, x, cotangent)
    adjoint = operator.adjoint(cotangent)
    return _relative(gradient, adjoint.real if adjoint.is_complex() else adjoint)


def _simulate(forward_model: ForwardModel) -> float:
    x = _random((3, *forward_model.model_shape), torch.float32, 0, 13)
    whole, sigma = forward_model.simulate(x, 0)
    part, part_sigma = forward_model.simulate(x[2:], 0, start=2)
    again, _ = forward_model.simulate(x, 0)
    if tuple(whole.shape) != (3, *forward_model.data_shape) or tuple(sigma.shape) != (3,):
        raise ValueError(f"expected data {(3, *forward_model.data_shape)} and 3 sigmas, got {tuple(whole.shape)}")
    if not torch.equal(whole, again):
        raise ValueError("expected the same data from the same seed, got others")
    loose = _relative(part, whole[2:]) + _relative(part_sigma, sigma[2:])
    return 0.0 if loose <= 1e-5 else loose  # a matrix product may round differently in another batch size


def _random(shape: tuple[int, ...], dtype: torch.dtype, seed: int, part: int) -> torch.Tensor:
    return normal(shape, seed, _STREAM, part).to(dtype)


def _inner(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.conj() * b).sum().real) if a.is_complex() else float((a * b).sum())


def _relative(got: torch.Tensor, expected: torch.Tensor) -> float:
    if got.shape != expected.shape:
        raise ValueError(f"expected shape {tuple(expected.shape)}, got {tuple(got.shape)}")
    return float((got - expected).norm() / expected.norm().clamp_min(1e-300))
