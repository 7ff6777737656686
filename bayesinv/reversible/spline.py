r"""`Spline`: the monotone rational-quadratic spline, what a coupling does to each number.

On ``[-B, B]`` it joins the knots ``(x_k, y_k)`` with slopes ``d_k``. In bin ``k`` of width ``w`` and height ``h``, with
``s = h/w``, ``q = (x - x_k)/w`` and ``c = d_k + d_{k+1} - 2 s``:

    y = y_k + h (s q^2 + d_k q (1-q)) / (s + c q (1-q)),
    dy/dx = s^2 (d_{k+1} q^2 + 2 s q (1-q) + d_k (1-q)^2) / (s + c q (1-q))^2.

Inverse: ``q = 2 g / (-e - sqrt(e^2 - 4 a g))``, ``D = y - y_k``, ``a = h (s - d_k) + D c``, ``e = h d_k - D c``,
``g = -s D``: of the two ways to write the root, the one without cancellation. Beyond ``[-B, B]`` it goes on straight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from bayesinv.reversible.elementwise import Elementwise

__all__ = ["Spline"]


@dataclass(frozen=True)
class Spline(Elementwise):
    """Rational-quadratic spline with the identity beyond ``[-tail, tail]``; the identity where ``r = 0``.

    The raw numbers of each ``b`` are those of the bins' widths, then heights, then of the slopes at the knots. They
    are bounded softly, ``u = m tanh(r/m)``; widths and heights are ``2 tail softmax(u)``, slopes ``exp(u)``.

    Args:
        bins: number ``K`` of bins.
        tail: ``B``, in the units of ``b``.
        learned_ends: whether the slopes at ``-B`` and ``B`` are learned, too, and the straight lines beyond have them;
            else they are 1.
        bound: ``m``. Slopes at the knots are in ``(e^-m, e^m)``, widths and heights at least
            ``2 B / (1 + (K-1) e^{2m})``.

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
        knots = self._knots(raw, b)
        inside = b.clamp(-self.tail, self.tail)
        x0, w, y0, h, left, right = _bin(inside, knots.x, knots)
        y, slope = _curve((inside - x0) / w, w, y0, h, left, right)
        return y + slope * (b - inside), slope.log().flatten(1).sum(1)

    def inverse(self, b: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """``(x, -sum log dy/dx)``."""
        knots = self._knots(raw, b)
        inside = b.clamp(-self.tail, self.tail)
        x0, w, y0, h, left, right = _bin(inside, knots.y, knots)
        s = h / w
        over, bend = inside - y0, left + right - 2 * s
        second, first = h * (s - left) + over * bend, h * left - over * bend
        root = (first**2 + 4 * second * s * over).clamp_min(torch.finfo(b.dtype).tiny).sqrt()
        q = 2 * s * over / (first + root)
        _, slope = _curve(q, w, y0, h, left, right)
        return x0 + q * w + (b - inside) / slope, -slope.log().flatten(1).sum(1)

    def _knots(self, raw: Tensor, like: Tensor) -> _Knots:
        """Places and slopes of the knots, each ``(batch, bins + 1, channels, *space)``."""
        soft = self.bound * torch.tanh(raw.view(len(raw), self.width, *like.shape[1:]) / self.bound)
        wide, high, steep = soft.tensor_split((self.bins, 2 * self.bins), 1)
        slopes = steep.exp()
        if not self.learned_ends:
            one = torch.ones_like(slopes[:, :1])
            slopes = torch.cat([one, slopes, one], 1)
        return _Knots(self._places(wide), self._places(high), slopes)

    def _places(self, raw: Tensor) -> Tensor:
        """Knots from ``-tail`` to ``tail``, both exact."""
        inner = self.tail * (2 * raw.softmax(1).cumsum(1)[:, :-1] - 1)
        end = torch.full_like(inner[:, :1], self.tail)
        return torch.cat([-end, inner, end], 1)


class _Knots(NamedTuple):
    x: Tensor
    y: Tensor
    slopes: Tensor


def _bin(value: Tensor, places: Tensor, knots: _Knots) -> tuple[Tensor, ...]:
    """``(x_k, w, y_k, h, d_k, d_{k+1})`` of the bin whose interval of ``places`` holds each value."""
    k = (value.unsqueeze(1) >= places[:, 1:-1]).sum(1, keepdim=True)
    (x0, x1), (y0, y1), (left, right) = ((t.gather(1, k).squeeze(1), t.gather(1, k + 1).squeeze(1)) for t in knots)
    return x0, x1 - x0, y0, y1 - y0, left, right


def _curve(q: Tensor, w: Tensor, y0: Tensor, h: Tensor, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Value and slope at ``q`` of the bin."""
    s, mixed = h / w, q * (1 - q)
    below = s + (left + right - 2 * s) * mixed
    y = y0 + h * (s * q**2 + left * mixed) / below
    slope = s**2 * (right * q**2 + 2 * s * mixed + left * (1 - q) ** 2) / below**2
    return y, slope
