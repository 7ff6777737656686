r"""`Spline`: the monotone rational-quadratic spline, what a coupling does to each number.

On ``[-B, B]`` it joins the knots ``(x_k, y_k)`` with slopes ``d_k``. In bin ``k`` of width ``w`` and height ``h``, with
``s = h/w``, ``l = d_k``, ``r = d_{k+1}``, ``q = (x - x_k)/w`` and ``D = s (q^2 + (1-q)^2) + (l + r) q (1-q)``:

    y = y_k + h (s q^2 + l q (1-q)) / D,   dy/dx = s^2 (r q^2 + 2 s q (1-q) + l (1-q)^2) / D^2.

Inverse, with ``t = (y - y_k)/h``, ``m = l (1-t) - r t``: the quadratic equation for ``q`` has the discriminant
``R^2 = m^2 + 4 s^2 t (1-t)``, a sum of squares, and

    q : 1-q  =  2 s t : R + m  =  R - m : 2 s (1-t),   of which the one without a difference is taken.

Beyond ``[-B, B]`` it goes on straight.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from bayesinv.reversible.elementwise import Elementwise, Pulled

__all__ = ["Spline"]


@dataclass(frozen=True)
class Spline(Elementwise):
    """Rational-quadratic spline with the identity beyond ``[-tail, tail]``; the identity where ``r = 0``.

    The raw numbers of each ``b`` are those of the bins' widths, then heights, then of the slopes at the knots. Widths
    and heights are ``2 B (e^-m / K + (1 - e^-m) softmax(r))``, slopes ``exp(m tanh(r/m))``.

    Args:
        bins: number ``K`` of bins.
        tail: ``B``, in the units of ``b``.
        learned_ends: whether the slopes at ``-B`` and ``B`` are learned, too, and the straight lines beyond have them;
            else they are 1.
        bound: ``m``. Slopes at the knots are in ``(e^-m, e^m)``, widths and heights at least ``e^-m`` of an even share.
            Inside a bin the slope may be lower than at both of its knots: 3e-6 was the lowest of 200,000 random
            splines with all raw numbers far beyond their bounds. In float32 an input comes back to 1e-6 divided by the
            slope.

    Source: Durkan et al., Neural spline flows, 2019, arXiv 1906.04032.

    Raises:
        ValueError: if there are less than two bins, or ``tail`` or ``bound`` is not positive.

    Example:
        >>> spline, b = Spline(bins=4, tail=3.0), torch.tensor([[-9.0, 0.5]])
        >>> spline.width, spline.forward(b, torch.randn(1, 11 * 2))[0][0, 0].item()
        (11, -9.0)
    """

    bins: int = 8
    tail: float = 5.0
    learned_ends: bool = False
    bound: float = 3.0

    def __post_init__(self) -> None:
        if self.bins < 2 or self.tail <= 0 or self.bound <= 0:
            raise ValueError(
                f"expected two bins or more, a positive tail and bound, got {self.bins}, {self.tail} and {self.bound}"
            )

    @property
    def width(self) -> int:
        """``3 K - 1``, or ``3 K + 1`` with learned ends."""
        return 3 * self.bins + (1 if self.learned_ends else -1)

    def forward(self, b: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """``(y, sum log dy/dx)``."""
        return self._bent(b, self._knots(raw, b))

    def inverse(self, b: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """``(x, -sum log dy/dx)``."""
        return self._straightened(b, self._knots(raw, b))

    def backward(self, b: Tensor, raw: Tensor, grad: Tensor, grad_logdet: Tensor) -> Pulled:
        """The knots, then the inverse, then the gradient of the forward map from the same knots."""
        return self._pulled(self._bent, self._straightened, b, raw, grad, grad_logdet)

    def inverse_backward(self, b: Tensor, raw: Tensor, grad: Tensor, grad_logdet: Tensor) -> Pulled:
        """The same the other way round."""
        return self._pulled(self._straightened, self._bent, b, raw, grad, grad_logdet)

    def _pulled(self, there: _Map, back: _Map, b: Tensor, raw: Tensor, grad: Tensor, grad_logdet: Tensor) -> Pulled:
        with torch.enable_grad():
            leaf = raw.detach().requires_grad_()
            knots = self._knots(leaf, b)
            with torch.no_grad():
                start, _ = back(b, knots)
            out = there(start.requires_grad_(), knots)
        grad_start, grad_raw = torch.autograd.grad(out, (start, leaf), (grad, grad_logdet))
        return start.detach(), grad_start, grad_raw

    def _bent(self, b: Tensor, knots: _Knots) -> tuple[Tensor, Tensor]:
        inside = b.clamp(-self.tail, self.tail)
        at = _bin(inside, knots.x, knots)
        q = (inside - at.x0) / at.w
        y, slope = _curve(q, 1 - q, at)
        return y + slope * (b - inside), slope.log().flatten(1).sum(1)

    def _straightened(self, b: Tensor, knots: _Knots) -> tuple[Tensor, Tensor]:
        inside = b.clamp(-self.tail, self.tail)
        at = _bin(inside, knots.y, knots)
        t = (inside - at.y0) / at.h
        q, rest = _root(t, 1 - t, at)
        _, slope = _curve(q, rest, at)
        return at.x0 + q * at.w + (b - inside) / slope, -slope.log().flatten(1).sum(1)

    def _knots(self, raw: Tensor, like: Tensor) -> _Knots:
        """Places and slopes of the knots, each ``(batch, bins + 1, channels, *space)``."""
        wide, high, steep = raw.view(len(raw), self.width, *like.shape[1:]).tensor_split((self.bins, 2 * self.bins), 1)
        slopes = (self.bound * torch.tanh(steep / self.bound)).exp()
        if not self.learned_ends:
            one = torch.ones_like(slopes[:, :1])
            slopes = torch.cat([one, slopes, one], 1)
        return _Knots(self._places(wide), self._places(high), slopes)

    def _places(self, raw: Tensor) -> Tensor:
        """Knots from ``-tail`` to ``tail``, both exact."""
        least = math.exp(-self.bound)
        share = least / self.bins + (1 - least) * raw.softmax(1)
        inner = self.tail * (2 * share.cumsum(1)[:, :-1] - 1)
        end = torch.full_like(inner[:, :1], self.tail)
        return torch.cat([-end, inner, end], 1)


class _Knots(NamedTuple):
    x: Tensor
    y: Tensor
    slopes: Tensor


class _Bin(NamedTuple):
    x0: Tensor
    w: Tensor
    y0: Tensor
    h: Tensor
    left: Tensor
    right: Tensor


_Map = Callable[[Tensor, _Knots], tuple[Tensor, Tensor]]


def _bin(value: Tensor, places: Tensor, knots: _Knots) -> _Bin:
    """The bin whose interval of ``places`` holds each value."""
    k = (value.unsqueeze(1) >= places[:, 1:-1]).sum(1, keepdim=True)
    (x0, x1), (y0, y1), (left, right) = ((t.gather(1, k).squeeze(1), t.gather(1, k + 1).squeeze(1)) for t in knots)
    return _Bin(x0, x1 - x0, y0, y1 - y0, left, right)


def _curve(q: Tensor, rest: Tensor, at: _Bin) -> tuple[Tensor, Tensor]:
    """Value and slope at ``q`` of the bin, ``rest = 1 - q``."""
    s, mixed = at.h / at.w, q * rest
    below = s * (q**2 + rest**2) + (at.left + at.right) * mixed
    y = at.y0 + at.h * (s * q**2 + at.left * mixed) / below
    slope = s**2 * (at.right * q**2 + 2 * s * mixed + at.left * rest**2) / below**2
    return y, slope


def _root(t: Tensor, rest: Tensor, at: _Bin) -> tuple[Tensor, Tensor]:
    """``q`` and ``1 - q`` at ``t`` of the height, ``rest = 1 - t``."""
    s, m = at.h / at.w, at.left * rest - at.right * t
    up, down = 2 * s * t, 2 * s * rest
    root = (m**2 + up * down).sqrt()
    first, second = torch.where(m >= 0, up, root - m), torch.where(m >= 0, root + m, down)
    whole = first + second
    return first / whole, second / whole
