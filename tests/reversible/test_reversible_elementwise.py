"""`Affine`, `Additive` and the log-scales: the formulas of other packages, and one evaluation of the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import reversible_laws as laws
import torch
from reversible_maps import MAPS
from torch import Tensor, nn

from bayesinv.reversible import (
    Additive,
    Affine,
    Coupling,
    Elementwise,
    Spline,
    arctan_scale,
    sigmoid_scale,
    tanh_scale,
)
from bayesinv.reversible.scales import exp_and_slope

Scale = Callable[[Tensor], Tensor]
FORMULAS: dict[str, tuple[Scale, Scale]] = {
    "InvertibleNetworks.jl": (sigmoid_scale(0.5, 1.0), lambda r: 0.5 + 0.5 / (1 + torch.exp(-r))),
    "InvertibleNetworks.jl from zero": (sigmoid_scale(0.0, 3.0), lambda r: 3 / (1 + torch.exp(-r))),
    "normflows": (sigmoid_scale(offset=2), lambda r: torch.sigmoid(r + 2)),
    "FrEIA": (arctan_scale(2.0), lambda r: torch.exp(2.0 * 0.636 * torch.atan(r))),
    "ours": (tanh_scale(1.5), lambda r: torch.exp(1.5 * torch.tanh(r / 1.5))),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_scale(name: str) -> None:
    scale, expected = FORMULAS[name]
    raw = torch.linspace(-6, 6, 41, dtype=torch.float64)
    assert torch.allclose(scale(raw).exp(), expected(raw), rtol=1e-12)
    assert bool((scale(raw).diff() > 0).all())
    assert bool(torch.isfinite(scale(torch.tensor([-1e4, 1e4]))).all())
    both = exp_and_slope(scale, raw.requires_grad_())
    assert both is not None
    assert torch.allclose(both[0], expected(raw), rtol=1e-12)
    assert torch.allclose(both[1], torch.autograd.grad(scale(raw).sum(), raw)[0], rtol=1e-10)


def test_other_scales_have_no_closed_form() -> None:
    assert exp_and_slope(torch.sin, torch.ones(1)) is None


@pytest.mark.parametrize("name", FORMULAS)
def test_a_coupling_takes_the_scale(name: str) -> None:
    scale, expected = FORMULAS[name]
    layer = Coupling(nn.Linear(1, 4), passive=1, scale=scale).double()
    x = torch.randn(7, 3, dtype=torch.float64)
    raw, shift = layer.network(x[:, :1]).chunk(2, 1)
    y, logdet = layer(x)
    assert torch.allclose(y[:, 1:], expected(raw) * x[:, 1:] + shift, rtol=1e-12)
    assert torch.allclose(logdet, expected(raw).log().sum(1), rtol=1e-12)


def test_the_tanh_is_the_default() -> None:
    raw, b = torch.randn(3, 4, 5, dtype=torch.float64), torch.randn(3, 2, 5, dtype=torch.float64)
    grad, for_logdet = torch.randn_like(b), torch.randn(3, dtype=torch.float64)
    for method in ("backward", "inverse_backward"):
        default, same = (getattr(how, method)(b, raw, grad, for_logdet) for how in (Affine(), Affine(tanh_scale(2.0))))
        for found, expected in zip(default, same, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


class Tripled(Elementwise):
    """A map of a user's own: ``b' = 3 b + r``."""

    @property
    def width(self) -> int:
        return 1

    def forward(self, b: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        return 3 * b + raw, b.new_full((len(b),), 1.0986122886681098 * b[0].numel())

    def inverse(self, b: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        return (b - raw) / 3, b.new_full((len(b),), -1.0986122886681098 * b[0].numel())


def test_a_map_of_ones_own() -> None:
    layer = Coupling(nn.Conv1d(1, 2, 3, padding=1), passive=1, how=Tripled()).double()
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    laws.inverse_undoes(layer, x, None)
    laws.logdet_is_the_jacobians(layer, x, None)
    laws.gradients_are_autograds(layer, x, None)
    laws.backward_rebuilds_the_input(layer, x, None)


HOWS = [Affine(), Affine(arctan_scale(1.0)), Additive(), Spline(bins=3), Tripled()]


@pytest.mark.parametrize("direction", ["forward", "inverse"])
@pytest.mark.parametrize("how", HOWS, ids=lambda how: type(how).__name__)
def test_the_network_is_evaluated_once_on_the_way_and_once_in_the_backward_pass(
    how: Elementwise, direction: str
) -> None:
    layer, x = Coupling(nn.Linear(1, 2 * how.width), passive=1, how=how), torch.randn(3, 3)
    calls: list[bool] = []
    layer.network.register_forward_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    y, logdet = getattr(layer, direction)(x)
    assert calls == [False]
    ((y**2).sum() - logdet.sum()).backward()
    assert calls == [False, True]


PLANTED = [
    ("coupling-arctan-dense-cond", Affine),
    ("additive-2d-cond", Additive),
    ("spline-dense-cond", Spline),
]


@pytest.mark.parametrize("piece", [0, 1, 2])
@pytest.mark.parametrize("method", ["backward", "inverse_backward"])
@pytest.mark.parametrize(("name", "kind"), PLANTED)
def test_laws_see_a_spoilt_piece(
    name: str, kind: Any, method: str, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rebuilt number, its gradient, and that of the raw numbers, each one halved."""
    case, sound = MAPS[name], getattr(kind, method)
    layer, x, cond = case.layer(), case.input(), case.condition()

    def faulty(*given: Any) -> Any:
        found = list(sound(*given))
        found[piece] = found[piece] / 2
        return tuple(found)

    laws.gradients_are_autograds(layer, x, cond)
    laws.backward_rebuilds_the_input(layer, x, cond)
    monkeypatch.setattr(kind, method, faulty)
    with pytest.raises(AssertionError):
        (laws.gradients_are_autograds if piece else laws.backward_rebuilds_the_input)(layer, x, cond)


def test_laws_see_the_slope_of_a_scale_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    case = MAPS["coupling-sigmoid-1d"]
    sound = Affine._with_slope
    monkeypatch.setattr(Affine, "_with_slope", lambda self, raw: (*sound(self, raw)[:2], lambda grad: grad))
    with pytest.raises(AssertionError, match="gradient of"):
        laws.gradients_are_autograds(case.layer(), case.input(), case.condition())


MISTAKES: dict[str, tuple[Callable[[], object], str]] = {
    "scale and map": (
        lambda: Coupling(nn.Identity(), passive=1, scale=tanh_scale(), how=Additive()),
        "expected a scale or another map, got both",
    ),
    "scale with parameters": (lambda: Affine(nn.PReLU()), "put them into the network"),
    "scale of another shape": (
        lambda: Coupling(nn.Linear(1, 2), passive=1, scale=lambda r: r.sum())(torch.ones(1, 2)),
        r"expected a scale of shape \(1, 1\), got \(\)",
    ),
    "affine bound": (lambda: Affine(bound=-1.0), "expected a positive bound, got -1.0"),
    "tanh bound": (lambda: tanh_scale(0.0), "expected a positive bound, got 0.0"),
    "arctan bound": (lambda: arctan_scale(-2.0), "expected a positive bound, got -2.0"),
    "sigmoid range": (lambda: sigmoid_scale(1.0, 0.5), "expected 0 <= low < high, got low=1.0 and high=0.5"),
    "spline network": (
        lambda: Coupling(nn.Linear(1, 2), passive=1, how=Spline(bins=2))(torch.ones(1, 2)),
        r"channels 5\*1 and space \(\), got shape \(1, 2\)",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake(name: str) -> None:
    use, words = MISTAKES[name]
    with pytest.raises(ValueError, match=words):
        use()
