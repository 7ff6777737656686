"""The two laws of an operator as numbers, for random ``x, y, d`` and a small step ``h``.

dot test      | <A x, y> - <x, A^H y> | / (|A x| |y|)
Taylor test   the order in h of | A(x + h d) - A(x) - h A'(x) d |
"""

from __future__ import annotations

import math

import torch

from bayesinv.physics.operator import AnyOperator, Operator
from bayesinv.seeding import normal, stream

__all__ = ["direction_within", "dot_test", "linear_part", "point_within", "random_tensor", "taylor_test"]

_STREAM = stream("bayesinv.physics.checks")
Bounds = tuple[float, float] | None


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
        x = random_tensor(operator.model_shape, dtype, seed, 0)
        if operator.adjoint(operator(x)).is_complex():
            x = torch.complex(x, random_tensor(operator.model_shape, dtype, seed, 1))
        data = operator(x)
        y = random_tensor(operator.data_shape, dtype, seed, 2).to(data.dtype)
        if data.is_complex():
            y = torch.complex(y.real, random_tensor(operator.data_shape, dtype, seed, 3))
        if float(data.norm()) == 0:
            return float(operator.adjoint(y).norm() / y.norm())
        y = y / y.norm() + data / data.norm()
        error = abs(_inner(data, y) - _inner(x, operator.adjoint(y)))
        return error / float(data.norm() * y.norm())


def taylor_test(operator: AnyOperator, *, seed: int = 0, rounding: float = 2e-14, bounds: Bounds = None) -> float:
    """Order in ``h`` of the remainder ``A(x + h d) - A(x) - h A'(x) d`` in float64.

    ``A'(x) d`` is ``linearize(x)(d)`` of a nonlinear operator, and forward mode of a linear one.

    Args:
        operator: ``A``, linear or not.
        seed: key of ``x`` and ``d``.
        rounding: relative size of the remainder below which it counts as rounding error.
        bounds: ``(low, high)`` within which ``x`` and ``x + h d`` stay.

    Returns:
        The slope in log-log: at least 1.9 if the derivative is right, about 1 if it is wrong; infinity if the
        remainder is rounding error only, as it is for a linear operator.

    Example:
        >>> import pylops
        >>> from bayesinv.physics import from_pylops
        >>> taylor_test(from_pylops(pylops.FirstDerivative((8, 6))))
        inf
    """
    x = point_within(random_tensor(operator.model_shape, torch.float64, seed, 4), bounds)
    direction = direction_within(random_tensor(operator.model_shape, torch.float64, seed, 5), x, bounds)
    if isinstance(operator, Operator):
        value, tangent = torch.func.jvp(operator, (x,), (direction,))[:2]
    else:
        with torch.no_grad():
            value, tangent = operator(x), operator.linearize(x)(direction)
    steps = [2.0**-k for k in range(3, 8)]
    with torch.no_grad():
        remainders = [float((operator(x + h * direction) - value - h * tangent).norm()) for h in steps]
    if max(remainders) <= rounding * float(value.norm() + tangent.norm()):
        return math.inf
    if min(remainders) == 0:
        return 0.0
    return math.log(remainders[0] / remainders[-1]) / math.log(steps[0] / steps[-1])


def point_within(draw: torch.Tensor, bounds: Bounds) -> torch.Tensor:
    """A model well within bounds, from a normal draw: itself without bounds, positive for ``(0, inf)``."""
    low, high = bounds or (-math.inf, math.inf)
    if math.isfinite(low) and math.isfinite(high):
        return (low + high) / 2 + 0.15 * (high - low) * draw.tanh()
    if math.isfinite(low):
        return low + draw.exp()
    return high - draw.exp() if math.isfinite(high) else draw


def direction_within(draw: torch.Tensor, at: torch.Tensor, bounds: Bounds) -> torch.Tensor:
    """A direction such that ``at + h d`` stays within bounds for ``h`` up to 1/8."""
    low, high = bounds or (-math.inf, math.inf)
    if math.isfinite(low) and math.isfinite(high):
        return 0.05 * (high - low) * draw
    if math.isfinite(low) or math.isfinite(high):
        return (at - (low if math.isfinite(low) else high)) * draw.tanh()
    return draw


def random_tensor(shape: tuple[int, ...], dtype: torch.dtype, seed: int, part: int) -> torch.Tensor:
    """Normal numbers of a key."""
    return normal(shape, seed, _STREAM, part).to(dtype)


def linear_part(operator: AnyOperator, at: torch.Tensor) -> Operator:
    """A linear operator itself, or the linearisation of a nonlinear one."""
    return operator if isinstance(operator, Operator) else operator.linearize(at)


def _inner(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.conj() * b).sum().real) if a.is_complex() else float((a * b).sum())
