r"""Invertible activations, elementwise maps without parameters; ``logdet = sum log f'(x)`` of each sample.

| map | ``y = f(x)`` | ``x`` | values of ``y`` |
|---|---|---|---|
| `LeakyReLU` | ``x`` for ``x >= 0``, else ``a x`` | ``y`` or ``y/a`` | all |
| `BoundedSigmoid` | ``low + (high - low) sigmoid(x)`` | ``log(y - low) - log(high - y)`` | between low and high |
| `ExpClamp` | ``exp(2 k atan x)``, ``k = 0.636`` | ``tan(log(y) / (2 k))`` | ``exp(-k pi)`` to ``exp(k pi)`` |

A value outside of the range has no inverse, and none is made up: it is refused. As the backward pass inverts the map,
that holds for an output that was rounded to the end of the range, too.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from bayesinv.reversible.base import Condition, Reversible

__all__ = ["BoundedSigmoid", "ExpClamp", "LeakyReLU"]

_RATE = 2 * 0.636


class LeakyReLU(Reversible):
    """``y = x`` where ``x >= 0``, else ``slope x``; ``logdet = log(slope)`` times the number of negative values.

    Args:
        slope: ``a``, the positive slope of the negative side.

    Raises:
        ValueError: if ``slope`` is not positive.

    Source: Maas et al., Rectifier nonlinearities improve neural network acoustic models, 2013, ICML workshop.

    Example:
        >>> import torch
        >>> y, logdet = LeakyReLU(slope=0.5)(torch.tensor([[2.0, -2.0]]))
        >>> y.tolist(), round(float(logdet), 4)
        ([[2.0, -1.0]], -0.6931)
    """

    def __init__(self, *, slope: float = 0.01) -> None:
        super().__init__()
        if slope <= 0:
            raise ValueError(f"expected a positive slope, got {slope}")
        self.slope = slope

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        return torch.where(x < 0, self.slope * x, x), math.log(self.slope) * _negative(x)

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        return torch.where(y < 0, y / self.slope, y), -math.log(self.slope) * _negative(y)


class BoundedSigmoid(Reversible):
    """``y = low + (high - low) sigmoid(x)``, an image with known bounds from an unbounded one.

    In float32 the upper end is reached by rounding at ``x`` of about 16 and, unless ``low`` is 0, the lower end at -16.

    Args:
        low: lower end of the values of ``y``.
        high: upper end.

    Raises:
        ValueError: if ``low`` is not below ``high``, or a value to be inverted is not between them.

    Source: Dinh et al., RealNVP, 2017, arXiv 1605.08803 (section 4.1, the logit of bounded pixels).

    Example:
        >>> import torch
        >>> y, logdet = BoundedSigmoid(low=1.5, high=4.5)(torch.zeros(1, 1))
        >>> y.tolist(), round(float(logdet.exp()), 4)
        ([[3.0]], 0.75)
    """

    def __init__(self, *, low: float = 0.0, high: float = 1.0) -> None:
        super().__init__()
        if not low < high:
            raise ValueError(f"expected low < high, got {low} and {high}")
        self.low, self.high = low, high

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        return self.low + (self.high - self.low) * torch.sigmoid(x), self._logdet(x)

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        _check_between(y, self.low, self.high)
        x = (y - self.low).log() - (self.high - y).log()
        return x, -self._logdet(x)

    def _logdet(self, x: Tensor) -> Tensor:
        return (math.log(self.high - self.low) + F.logsigmoid(x) + F.logsigmoid(-x)).flatten(1).sum(1)


class ExpClamp(Reversible):
    """``y = exp(2 k atan x)`` with ``k = 0.636``: positive values between ``exp(-2)`` and ``exp(2)``, 1 at 0.

    Raises:
        ValueError: if a value to be inverted is not between ``exp(-k pi)`` and ``exp(k pi)``.

    Source: the soft clamp of Ardizzone et al., 2019, arXiv 1907.02392; their code writes 0.636 for 2/pi.

    Example:
        >>> import torch
        >>> y, logdet = ExpClamp()(torch.zeros(1, 1))
        >>> y.tolist(), round(float(logdet.exp()), 3)
        ([[1.0]], 1.272)
    """

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        return (_RATE * x.atan()).exp(), self._logdet(x)

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        _check_between(y, math.exp(-_RATE * math.pi / 2), math.exp(_RATE * math.pi / 2))
        x = (y.log() / _RATE).tan()
        return x, -self._logdet(x)

    def _logdet(self, x: Tensor) -> Tensor:
        return (math.log(_RATE) + _RATE * x.atan() - (x * x).log1p()).flatten(1).sum(1)


def _negative(x: Tensor) -> Tensor:
    """Number of negative values of each sample."""
    return (x < 0).flatten(1).sum(1).to(x.dtype)


def _check_between(y: Tensor, low: float, high: float) -> None:
    if not bool(((y > low) & (y < high)).all()):
        least, most = y.detach().min(), y.detach().max()
        raise ValueError(f"expected values between {low:.6g} and {high:.6g}, got some from {least:.9g} to {most:.9g}")
