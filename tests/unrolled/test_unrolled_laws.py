"""Every map with an operator inside obeys every law of a reversible map."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import reversible_laws as laws
import torch
from reversible_parts import Case
from torch import Tensor
from unrolled_maps import MAPS

from bayesinv.reversible import Reversible
from bayesinv.unrolled import MisfitStep, Unconditioned

METHOD = {"forward": "_backward", "inverse": "_inverse_backward"}


def test_no_map_is_forgotten() -> None:
    def below(kind: type) -> set[type]:
        return {kind}.union(*map(below, kind.__subclasses__()))

    own = {kind for kind in below(Reversible) - {Reversible} if kind.__module__.startswith("bayesinv.unrolled.")}
    assert own == own & {type(case.make()) for case in MAPS.values()}
    assert own == {MisfitStep, Unconditioned}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_inverse_undoes(unrolled_case: Case, dtype: torch.dtype) -> None:
    laws.inverse_undoes(unrolled_case.layer(dtype), unrolled_case.input(dtype), unrolled_case.condition(dtype))


def test_logdet_is_the_jacobians(unrolled_case: Case) -> None:
    """Row by row, as a PyLops operator has no place in torch's batched gradients."""
    layer, x, cond = unrolled_case.layer(), unrolled_case.input(batch=1), unrolled_case.condition(batch=1)
    for direction in laws.DIRECTIONS:
        _, logdet = getattr(layer, direction)(x, cond)
        rows = torch.autograd.functional.jacobian(lambda x, run=f"_{direction}": getattr(layer, run)(x, cond)[0], x)
        expected = torch.linalg.slogdet(rows.view(x.numel(), -1)).logabsdet
        assert abs(float(logdet.detach() - expected)) <= laws.LOGDET * max(1.0, abs(float(expected)))


def test_gradients_are_autograds(unrolled_case: Case) -> None:
    laws.gradients_are_autograds(unrolled_case.layer(), unrolled_case.input(), unrolled_case.condition())


def test_backward_rebuilds_the_input(unrolled_case: Case) -> None:
    laws.backward_rebuilds_the_input(unrolled_case.layer(), unrolled_case.input(), unrolled_case.condition())


def test_taylor(unrolled_case: Case) -> None:
    laws.taylor(unrolled_case.layer(), unrolled_case.input(), unrolled_case.condition())


def test_the_input_is_forgotten(unrolled_case: Case) -> None:
    laws.input_is_forgotten(unrolled_case.layer(), unrolled_case.input(), unrolled_case.condition())


def test_batch_size_does_not_matter(unrolled_case: Case) -> None:
    layer, x, cond = unrolled_case.layer(), unrolled_case.input(batch=4), unrolled_case.condition(batch=4)
    for direction in laws.DIRECTIONS:
        y, _ = getattr(layer, direction)(x, cond)
        for i in range(4):
            own = cond[i : i + 1] if isinstance(cond, Tensor) else tuple(c[i : i + 1] for c in cond)
            alone, _ = getattr(layer, direction)(x[i : i + 1], own)
            torch.testing.assert_close(alone[0], y[i], rtol=1e-11, atol=1e-11)


def test_frozen_parameters_get_nothing_and_change_nothing(unrolled_case: Case) -> None:
    layer, x, cond = unrolled_case.layer(), unrolled_case.input(), unrolled_case.condition()
    expected = laws.gradients(layer, x, cond, direction="forward", plain=True)
    frozen = dict(list(layer.named_parameters())[::2])
    for parameter in frozen.values():
        parameter.requires_grad_(False)
    found = laws.gradients(layer, x, cond, direction="forward", plain=False)
    laws.assert_same_gradients(found, {name: grad for name, grad in expected.items() if name not in frozen})
    assert not frozen.keys() & found.keys()


def test_a_copy_is_a_copy(unrolled_case: Case) -> None:
    layer, x, cond = unrolled_case.layer(), unrolled_case.input(), unrolled_case.condition()
    twin = copy.deepcopy(layer)
    loaded = unrolled_case.make().double()
    loaded.load_state_dict(layer.state_dict())
    for other in (twin, loaded.train()):
        for found, expected in zip(other(x, cond), layer(x, cond), strict=True):
            assert torch.equal(found, expected)


@pytest.mark.parametrize("spoil", [torch.zeros_like, lambda t: t / 2, torch.neg], ids=["zeroed", "halved", "flipped"])
@pytest.mark.parametrize("direction", METHOD)
@pytest.mark.parametrize("name", ["step-1d", "step-psi", "step-own-operators", "unconditioned"])
def test_the_laws_see_a_spoilt_piece(
    name: str, direction: str, spoil: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault planted in any piece of a backward pass makes the gradient law, or that of the rebuilt input, fail."""
    case = MAPS[name]
    layer, x, cond = case.layer(), case.input(), case.condition()
    kind = type(layer)
    sound = getattr(kind, METHOD[direction])

    def check() -> None:
        laws.gradients_are_autograds(layer, x, cond, directions=(direction,), parts=("both",))

    data = [] if name == "unconditioned" else ["cond[0]", "cond[1]"] if isinstance(cond, tuple) else ["cond"]
    for piece in ["rebuilt", "input", *data, *dict(layer.named_parameters())]:

        def faulty(self: Reversible, out: Tensor, given: Any, grad: Tensor, logdet: Tensor, piece: str = piece) -> Any:
            rebuilt, grad_in, grad_cond, grads = sound(self, out, given, grad, logdet)
            if piece == "rebuilt":
                rebuilt = spoil(rebuilt)
            elif piece == "input":
                grad_in = spoil(grad_in)
            elif piece == "cond":
                grad_cond = spoil(grad_cond)
            elif piece.startswith("cond["):
                grad_cond = tuple(spoil(g) if piece == f"cond[{i}]" else g for i, g in enumerate(grad_cond))
            else:
                names = {p: n for n, p in self.named_parameters()}
                grads = {p: spoil(g) if names[p] == piece else g for p, g in grads.items()}
            return rebuilt, grad_in, grad_cond, grads

        with monkeypatch.context() as patch:
            patch.setattr(kind, METHOD[direction], faulty)
            with pytest.raises(AssertionError):
                laws.backward_rebuilds_the_input(layer, x, cond) if piece == "rebuilt" else check()
    check()
