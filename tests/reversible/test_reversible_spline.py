"""`Spline` against the formula of the paper written out number by number, bisection, and what a spline must be."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bayesinv.reversible import Conditioner, Coupling, Spline

SPLINES = [Spline(bins=2, tail=1.0), Spline(bins=8, tail=3.0), Spline(bins=5, tail=2.0, learned_ends=True, bound=1.5)]
IDS = ["two", "eight", "ends"]
SPLINE = pytest.mark.parametrize("spline", SPLINES, ids=IDS)


def raw_numbers(spline: Spline, *, size: float = 1.0, channels: int = 1, batch: int = 1) -> Tensor:
    draws = torch.Generator().manual_seed(8)
    return size * torch.randn(batch, spline.width * channels, generator=draws, dtype=torch.float64)


def line(spline: Spline, count: int = 401) -> Tensor:
    """Points from beyond the left tail to beyond the right one, as channels of one sample."""
    return torch.linspace(-1.7 * spline.tail, 1.7 * spline.tail, count, dtype=torch.float64)


def applied(spline: Spline, x: Tensor, raw: Tensor, *, inverted: bool = False) -> tuple[Tensor, Tensor]:
    """One spline for a row of numbers: each is a sample. Values, and logarithms of the slopes."""
    b, rows = x.view(-1, 1), raw.expand(len(x), -1)
    y, logdet = spline.inverse(b, rows) if inverted else spline.forward(b, rows)
    return y.view(-1), logdet


def knots(spline: Spline, raw: Tensor) -> tuple[list[float], list[float], list[float]]:
    """Places, values and slopes at the knots, in plain Python."""
    numbers, count, least = raw.flatten().tolist(), spline.bins, math.exp(-spline.bound)

    def places(logits: list[float]) -> list[float]:
        total, found = sum(map(math.exp, logits)), [-spline.tail]
        for logit in logits:
            share = least / count + (1 - least) * math.exp(logit) / total
            found.append(found[-1] + 2 * spline.tail * share)
        return found

    slopes = [math.exp(spline.bound * math.tanh(r / spline.bound)) for r in numbers[2 * count :]]
    return (
        places(numbers[:count]),
        places(numbers[count : 2 * count]),
        slopes if spline.learned_ends else [1, *slopes, 1],
    )


def by_hand(spline: Spline, x: float, raw: Tensor) -> float:
    """Equation 4 of Durkan et al., and straight lines beyond."""
    xs, ys, slopes = knots(spline, raw)
    if x <= xs[0]:
        return ys[0] + slopes[0] * (x - xs[0])
    if x >= xs[-1]:
        return ys[-1] + slopes[-1] * (x - xs[-1])
    k = max(i for i in range(spline.bins) if xs[i] <= x)
    s = (ys[k + 1] - ys[k]) / (xs[k + 1] - xs[k])
    xi = (x - xs[k]) / (xs[k + 1] - xs[k])
    top = (ys[k + 1] - ys[k]) * (s * xi**2 + slopes[k] * xi * (1 - xi))
    return ys[k] + top / (s + (slopes[k + 1] + slopes[k] - 2 * s) * xi * (1 - xi))


@SPLINE
def test_values_are_those_of_the_paper(spline: Spline) -> None:
    raw, x = raw_numbers(spline), line(spline)
    y, _ = applied(spline, x, raw)
    expected = torch.tensor([by_hand(spline, v, raw) for v in x.tolist()], dtype=torch.float64)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)


@SPLINE
def test_the_logdet_is_the_slope(spline: Spline) -> None:
    """Central differences of step 1e-5: their own error is about 1e-10 times the third derivative."""
    raw, x = raw_numbers(spline), line(spline)
    _, logdet = applied(spline, x, raw)
    h = 1e-5
    slope = torch.tensor([(by_hand(spline, v + h, raw) - by_hand(spline, v - h, raw)) / (2 * h) for v in x.tolist()])
    xs, _, _ = knots(spline, raw)
    away = torch.stack([(x - knot).abs() > 2 * h for knot in xs]).all(0)  # the second derivative jumps there
    torch.testing.assert_close(logdet.exp()[away], slope.double()[away], rtol=1e-4, atol=0)


@SPLINE
def test_the_inverse_is_that_of_bisection(spline: Spline) -> None:
    raw, y = raw_numbers(spline), line(spline, 41)
    found, logdet = applied(spline, y, raw, inverted=True)
    low, high = torch.full_like(y, -1e3), torch.full_like(y, 1e3)
    for _ in range(60):
        middle = (low + high) / 2
        below = applied(spline, middle, raw)[0] < y
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    torch.testing.assert_close(found, low, rtol=0, atol=1e-9)
    torch.testing.assert_close(logdet, -applied(spline, found, raw)[1], rtol=0, atol=1e-9)


@SPLINE
def test_knots_and_their_slopes(spline: Spline) -> None:
    raw = raw_numbers(spline)
    xs, ys, slopes = (torch.tensor(part, dtype=torch.float64) for part in knots(spline, raw))
    y, logdet = applied(spline, xs, raw)
    torch.testing.assert_close(y, ys, rtol=0, atol=1e-12)
    torch.testing.assert_close(logdet.exp(), slopes, rtol=1e-9, atol=0)


@SPLINE
@pytest.mark.parametrize("size", [0.0, 1.0, 1e3])
def test_monotone_with_straight_tails(spline: Spline, size: float) -> None:
    """Also where all raw numbers are at their bounds."""
    raw, x = raw_numbers(spline, size=size), line(spline, 4001)
    y, logdet = applied(spline, x, raw)
    assert bool((y.diff() > 0).all())
    assert bool(torch.isfinite(logdet).all())
    ends = logdet.exp()[[0, -1]]
    for beyond in (x < -spline.tail, x > spline.tail):
        end = math.copysign(spline.tail, float(x[beyond][0]))
        expected = end + ends[int(end > 0)] * (x[beyond] - end)
        torch.testing.assert_close(y[beyond], expected, rtol=1e-12, atol=1e-12)
        if not spline.learned_ends:
            torch.testing.assert_close(y[beyond], x[beyond], rtol=1e-12, atol=0)
    if size == 1.0 and spline.learned_ends:
        assert bool((ends.log().abs() > 1e-3).all())


@SPLINE
def test_the_identity_where_raw_numbers_are_zero(spline: Spline) -> None:
    x = line(spline)
    y, logdet = applied(spline, x, torch.zeros(1, spline.width, dtype=torch.float64))
    torch.testing.assert_close(y, x, rtol=1e-14, atol=1e-14)
    assert float(logdet.abs().max()) < 1e-13
    layer = Coupling(Conditioner(1, 2 * spline.width, hidden=4, rank=1), passive=1, how=spline)
    numbers = torch.randn(3, 3, 5)
    torch.testing.assert_close(layer(numbers)[0], numbers, rtol=1e-6, atol=1e-6)


@SPLINE
@pytest.mark.parametrize("inverted", [False, True])
def test_gradients(spline: Spline, inverted: bool) -> None:
    raw = raw_numbers(spline, channels=2, batch=3).requires_grad_()
    b = (torch.linspace(-1.4, 1.3, 6, dtype=torch.float64).view(3, 2) * spline.tail).requires_grad_()
    function = spline.inverse if inverted else spline.forward
    assert torch.autograd.gradcheck(function, (b, raw), atol=1e-6, rtol=1e-5)


def test_the_channels_do_not_mix() -> None:
    """The raw numbers of channel ``c`` are every ``channels``-th, from ``c`` on."""
    spline = SPLINES[1]
    raw, b = raw_numbers(spline, channels=3, batch=4), torch.randn(4, 3, dtype=torch.float64)
    together, logdet = spline.forward(b, raw)
    alone = [spline.forward(b[:, c : c + 1], raw[:, c::3]) for c in range(3)]
    torch.testing.assert_close(together, torch.cat([y for y, _ in alone], 1))
    torch.testing.assert_close(logdet, torch.stack([part for _, part in alone]).sum(0))


def test_the_inverse_in_float32_at_the_bounds() -> None:
    """All raw numbers far beyond their bounds, slopes from 3e-6 to 300: some eps divided by the slope is lost."""
    spline = Spline(bins=8, tail=3.0)
    raw, x = raw_numbers(spline, size=1e3, batch=20000).float(), torch.linspace(-3.2, 3.2, 20000).view(-1, 1)
    y, logdet = spline.forward(x, raw)
    again, other = spline.inverse(y, raw)
    slope = logdet.exp()
    assert float(slope.min()) < 1e-4
    assert float(slope.max()) > 100
    assert float(((again - x).abs().view(-1) * slope.clamp_max(1)).max()) < 2e-6
    residual = (spline.forward(again.double(), raw.double())[0] - y).abs().view(-1)
    assert float((residual / (1 + slope)).max()) < 5e-6
    assert bool(torch.isfinite(other).all())


@pytest.mark.parametrize("options", [{"bins": 1}, {"tail": 0.0}, {"bound": -1.0}])
def test_mistake(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected two bins or more, a positive tail and bound"):
        Spline(**options)  # type: ignore[arg-type]
