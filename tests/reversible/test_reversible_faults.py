"""Planted faults: a wrong piece in any hand-written backward pass makes the laws fail. So the laws can see."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import reversible_laws as laws
import torch
from reversible_parts import Case, coupling, leapfrog, small, step
from torch import Tensor

import bayesinv.reversible.chain as chain_module
import bayesinv.reversible.elementwise as elementwise_module
import bayesinv.reversible.squeezed as squeezed_module
from bayesinv.reversible import (
    LU,
    ActNorm,
    AffineMap,
    Chain,
    Coupling,
    Householder,
    Hyperbolic,
    Inverted,
    Lane,
    LearnedSqueezed,
    OnPart,
    Reversible,
    ShiftScale,
    Squeezed,
    Unsqueezed,
    hint_lanes,
)

# One case a class, with every piece that its backward pass computes.
CASES: dict[type[Reversible], Case] = {
    ActNorm: Case(lambda: ActNorm(3), (3, 5)),
    Householder: Case(lambda: Householder(4, reflections=3), (4, 5)),
    Coupling: Case(lambda: coupling(4, 1, cond=2), (4, 6), (2, 6)),
    ShiftScale: Case(lambda: ShiftScale(centre=0.3), (2, 5), (4, 5)),
    Chain: Case(lambda: Chain(coupling(4, 1, cond=2), ActNorm(4)), (4, 6), (2, 6)),
    OnPart: Case(lambda: OnPart(step(2, 1, cond=2), start=1, stop=3), (4, 6), (2, 6)),
    Squeezed: Case(lambda: Squeezed(step(4, 1, cond=2)), (2, 6), (2, 6)),
    Inverted: Case(lambda: Inverted(step(4, 1, cond=2)), (4, 6), (2, 6)),
    Lane: Case(lambda: hint_lanes(2, 3, small(1), steps=2).x, (2, 5), (3, 5)),
    Unsqueezed: Case(lambda: Unsqueezed(step(2, 1, cond=2)), (4, 3), (2, 3)),
    LearnedSqueezed: Case(lambda: LearnedSqueezed(step(4, 1, cond=2), channels=2, rank=1), (2, 6), (2, 6)),
    Hyperbolic: Case(lambda: leapfrog(2, 1, cond=2), (4, 5), (2, 5)),
    LU: Case(lambda: LU(4), (4, 5)),
    AffineMap: Case(lambda: AffineMap((3, 5)), (3, 5)),
}
SPOILT: dict[str, Callable[[Tensor], Tensor]] = {
    "zeroed": torch.zeros_like,
    "halved": lambda t: t / 2,
    "flipped": torch.neg,
}
METHOD = {"forward": "_backward", "inverse": "_inverse_backward"}
KINDS = [pytest.param(kind, id=kind.__name__) for kind in CASES]


def test_every_backward_pass_written_by_hand_has_a_case() -> None:
    def below(kind: type) -> set[type]:
        return {kind}.union(*map(below, kind.__subclasses__()))

    layers = {kind for kind in below(Reversible) - {Reversible} if kind.__module__.startswith("bayesinv.reversible.")}
    assert {kind for kind in layers if {"_backward", "_inverse_backward"} & vars(kind).keys()} <= CASES.keys()


def planted(kind: type[Reversible], direction: str, piece: str, spoil: Callable[[Tensor], Tensor]) -> Any:
    """The backward pass of ``kind`` with one piece of what it hands back spoilt."""
    sound = getattr(kind, METHOD[direction])

    def faulty(self: Reversible, out: Tensor, cond: Any, grad: Tensor, grad_logdet: Tensor) -> Any:
        rebuilt, grad_in, grad_cond, grads = sound(self, out, cond, grad, grad_logdet)
        if piece == "rebuilt":
            rebuilt = spoil(rebuilt)
        elif piece == "input":
            grad_in = spoil(grad_in)
        elif piece == "cond":
            grad_cond = spoil(grad_cond)
        else:
            names = {p: name for name, p in self.named_parameters()}
            grads = {p: spoil(g) if names.get(p) == piece else g for p, g in grads.items()}
        return rebuilt, grad_in, grad_cond, grads

    return faulty


def pieces(case: Case) -> list[str]:
    return ["input", *(["cond"] if case.cond else []), *[name for name, _ in case.layer().named_parameters()]]


def material(case: Case) -> tuple[Reversible, Tensor, Any]:
    return case.layer(), case.input(), case.condition()


@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize("direction", METHOD)
@pytest.mark.parametrize("kind", KINDS)
def test_gradient_law_sees_a_spoilt_piece(
    kind: type[Reversible], direction: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, x, cond = material(CASES[kind])
    for piece in pieces(CASES[kind]):
        with monkeypatch.context() as patch:
            patch.setattr(kind, METHOD[direction], planted(kind, direction, piece, SPOILT[how]))
            with pytest.raises(AssertionError, match="gradient of"):
                laws.gradients_are_autograds(layer, x, cond, directions=(direction,), parts=("both",))
    laws.gradients_are_autograds(layer, x, cond, directions=(direction,), parts=("both",))


@pytest.mark.parametrize("direction", METHOD)
@pytest.mark.parametrize("kind", KINDS)
def test_taylor_law_sees_a_zeroed_piece(
    kind: type[Reversible], direction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, x, cond = material(CASES[kind])
    for piece in pieces(CASES[kind]):
        with monkeypatch.context() as patch:
            patch.setattr(kind, METHOD[direction], planted(kind, direction, piece, torch.zeros_like))
            with pytest.raises(AssertionError, match="-order slope"):
                laws.taylor(layer, x, cond, directions=(direction,))


@pytest.mark.parametrize("direction", METHOD)
@pytest.mark.parametrize("kind", KINDS)
def test_rebuilding_law_sees_a_wrong_input(
    kind: type[Reversible], direction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, x, cond = material(CASES[kind])
    monkeypatch.setattr(kind, METHOD[direction], planted(kind, direction, "rebuilt", SPOILT["halved"]))
    with pytest.raises(AssertionError):
        laws.backward_rebuilds_the_input(layer, x, cond)


def varies(case: Case) -> bool:
    """Whether the logdet has a gradient at all; that of a rotation is 0."""
    layer, x, cond = material(case)
    return layer._forward(x, cond)[1].requires_grad


@pytest.mark.parametrize("direction", METHOD)
@pytest.mark.parametrize("kind", [p for p in KINDS if varies(CASES[p.values[0]])])
def test_gradient_law_sees_a_forgotten_logdet(
    kind: type[Reversible], direction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, x, cond = material(CASES[kind])
    sound = getattr(kind, METHOD[direction])
    monkeypatch.setattr(kind, METHOD[direction], lambda s, y, c, g, logdet: sound(s, y, c, g, 0 * logdet))
    with pytest.raises(AssertionError, match="gradient of"):
        laws.gradients_are_autograds(layer, x, cond)


def overwritten(total: dict[Any, Tensor], more: dict[Any, Tensor]) -> None:
    total.update(more)


@pytest.mark.parametrize(
    ("module", "name", "faulty"),
    [
        pytest.param(
            elementwise_module,
            "exp_and_slope",
            lambda s, r: (s(r).exp(), torch.ones_like(r)),
            id="bound's derivative forgotten",
        ),
        pytest.param(
            elementwise_module, "_per_sample", lambda v, x: v.mean().expand(1, *[1] * (x.ndim - 1)), id="averaged"
        ),
        pytest.param(chain_module, "add_gradients", overwritten, id="second use of a parameter overwrites the first"),
        pytest.param(chain_module, "add_condition_gradients", lambda a, b: b, id="last layer's condition only"),
        pytest.param(
            squeezed_module, "coarser_adjoint", lambda g, c: g.repeat_interleave(2, 2), id="wrong adjoint of means"
        ),
        pytest.param(squeezed_module, "coarser_leaf", squeezed_module.coarser, id="means that ask for no gradient"),
    ],
)
def test_gradient_law_sees_a_likely_mistake(
    module: Any, name: str, faulty: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = coupling(4, 1, cond=2)
    layer, x, cond = material(Case(lambda: Squeezed(Chain(pair, Householder(4), pair)), (2, 6), (2, 6)))
    laws.gradients_are_autograds(layer, x, cond)
    monkeypatch.setattr(module, name, faulty)
    with pytest.raises(AssertionError, match="gradient of"):
        laws.gradients_are_autograds(layer, x, cond)


def test_jacobian_law_sees_a_wrong_logdet(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x, cond = material(CASES[Coupling])
    monkeypatch.setattr(elementwise_module, "_summed", lambda s: s.flatten(1).mean(1))
    laws.inverse_undoes(layer, x, cond)  # a logdet that is wrong both ways still cancels
    with pytest.raises(AssertionError):
        laws.logdet_is_the_jacobians(layer, x, cond)


Law = Callable[[], None]


def swapped(t: Tensor) -> Tensor:
    """The halves of the channels, changed about."""
    return torch.roll(t, t.shape[1] // 2, 1)


def faulty_map(kind: type[Reversible], method: str, spoil: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> Any:
    """`_forward` or `_inverse` of ``kind``, with what it returns spoilt."""
    sound = getattr(kind, method)
    return lambda self, x, cond: spoil(*sound(self, x, cond))


def plant(kind: type[Reversible], fault: str, patch: pytest.MonkeyPatch) -> Law | None:
    """Plants the fault; hands back the law that is to catch it, or None where there is nothing to spoil."""
    case = CASES[kind]
    layer, x, cond = material(case)
    held: list[Tensor] = []

    def gradient_law() -> None:
        laws.gradients_are_autograds(layer, x, cond, parts=("both",))

    if fault == "zero gradient":
        patch.setattr(kind, "_backward", planted(kind, "forward", "input", torch.zeros_like))
        return gradient_law
    if fault == "halved logdet":
        if not layer._forward(x, cond)[1].any():
            return None
        for method in ("_forward", "_inverse"):
            patch.setattr(kind, method, faulty_map(kind, method, lambda y, logdet: (y, logdet / 2)))
        return lambda: laws.logdet_is_the_jacobians(layer, x, cond)
    if fault == "swapped halves":
        patch.setattr(kind, "_forward", faulty_map(kind, "_forward", lambda y, logdet: (swapped(y), logdet)))
        return lambda: laws.inverse_undoes(layer, x, cond)
    if fault == "swapped halves of the gradient":
        patch.setattr(kind, "_inverse_backward", planted(kind, "inverse", "input", swapped))
        return gradient_law
    if fault == "dropped condition gradient":
        if case.cond is None:
            return None
        patch.setattr(kind, "_backward", planted(kind, "forward", "cond", lambda _: None))  # type: ignore[arg-type]
        return gradient_law
    if fault == "overwritten shared gradient":
        if not list(layer.parameters()):
            return None
        for name, module in sys.modules.items():
            if name.startswith("bayesinv.reversible.") and hasattr(module, "add_gradients"):
                patch.setattr(module, "add_gradients", overwritten)
        twice = Chain(layer, layer)
        return lambda: laws.gradients_are_autograds(twice, x, cond, parts=("both",))
    sound = kind._forward
    patch.setattr(kind, "_forward", lambda self, x, cond: (held.append(x), sound(self, x, cond))[1])
    return lambda: laws.input_is_forgotten(layer, x, cond)


FAULTS = (
    "zero gradient",
    "halved logdet",
    "swapped halves",
    "swapped halves of the gradient",
    "dropped condition gradient",
    "overwritten shared gradient",
    "input kept alive",
)


@pytest.mark.parametrize("kind", KINDS)
def test_every_planted_fault_is_caught(
    kind: type[Reversible], monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    """In each family the law passes without the fault and fails with it; the run ends with how many were caught."""
    caught: dict[str, bool] = {}
    for fault in FAULTS:
        with monkeypatch.context() as patch:
            law = plant(kind, fault, patch)
            if law is None:
                continue
            try:
                law()
            except AssertionError:
                caught[fault] = True
            else:
                caught[fault] = False
        law()
    record_property("planted", len(caught))
    record_property("caught", sum(caught.values()))
    assert len(caught) >= 4
    assert all(caught.values()), [fault for fault, seen in caught.items() if not seen]
