"""Every map of the registry obeys every law."""

from __future__ import annotations

import copy

import pytest
import reversible_laws as laws
import torch
from reversible_maps import MAPS
from reversible_parts import Case
from torch import Tensor

from bayesinv.reversible import Reversible


def test_no_layer_is_forgotten() -> None:
    def below(kind: type) -> set[type]:
        return {kind}.union(*map(below, kind.__subclasses__()))

    layers = {kind for kind in below(Reversible) - {Reversible} if kind.__module__.startswith("bayesinv.reversible.")}
    assert layers == layers & {type(case.make()) for case in MAPS.values()}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_inverse_undoes(case: Case, dtype: torch.dtype) -> None:
    laws.inverse_undoes(case.layer(dtype), case.input(dtype), case.condition(dtype))


def test_logdet_is_the_jacobians(case: Case) -> None:
    laws.logdet_is_the_jacobians(case.layer(), case.input(batch=2), case.condition(batch=2))


def test_gradients_are_autograds(case: Case) -> None:
    laws.gradients_are_autograds(case.layer(), case.input(), case.condition())


def test_energy_is_the_outputs(case: Case) -> None:
    laws.energy_is_the_outputs(case.layer(), case.input(), case.condition())


def test_backward_rebuilds_the_input(case: Case) -> None:
    laws.backward_rebuilds_the_input(case.layer(), case.input(), case.condition())


def test_taylor(case: Case) -> None:
    laws.taylor(case.layer(), case.input(), case.condition())


def test_batch_size_does_not_matter(case: Case) -> None:
    # Blocked matrix products may sum in another order for another batch: a few eps of float64, no more.
    layer, x, cond = case.layer(), case.input(batch=5), case.condition(batch=5)
    for direction in laws.DIRECTIONS:
        y, logdet = getattr(layer, direction)(x, cond)
        for i in range(5):
            own = cond[i : i + 1] if isinstance(cond, Tensor) else cond and tuple(c[i : i + 1] for c in cond)
            alone, logdet_alone = getattr(layer, direction)(x[i : i + 1], own)
            torch.testing.assert_close(alone[0], y[i], rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(logdet_alone[0], logdet[i], rtol=1e-12, atol=1e-12)


def test_frozen_parameters_get_nothing_and_change_nothing(case: Case) -> None:
    """Each second parameter frozen: the others' gradients stay what they were."""
    layer, x, cond = case.layer(), case.input(), case.condition()
    expected = laws.gradients(layer, x, cond, direction="forward", plain=True)
    frozen = dict(list(layer.named_parameters())[::2])
    for parameter in frozen.values():
        parameter.requires_grad_(False)
    found = laws.gradients(layer, x, cond, direction="forward", plain=False)
    laws.assert_same_gradients(found, {name: grad for name, grad in expected.items() if name not in frozen})
    assert not frozen.keys() & found.keys()
    for parameter in layer.parameters():
        parameter.requires_grad_(False)
    laws.gradients_are_autograds(layer, x, cond, parts=("both",))


def test_memory_layout_does_not_matter(case: Case) -> None:
    """Input, condition and output gradient with strides of any order: the same values and gradients."""

    def strided(t: Tensor) -> Tensor:
        return t.movedim(0, -1).contiguous().movedim(-1, 0)

    layer, x, cond = case.layer(), case.input(), case.condition()
    odd_cond = strided(cond) if isinstance(cond, Tensor) else cond and tuple(map(strided, cond))
    odd = strided(x)
    assert x.shape[0] == 3
    assert not odd.is_contiguous()
    for direction in laws.DIRECTIONS:
        torch.testing.assert_close(getattr(layer, direction)(odd, odd_cond), getattr(layer, direction)(x, cond))
        expected = laws.gradients(layer, x, cond, direction=direction, plain=True)
        odd_x, odd_c, named = laws.leaves(layer, x, cond)
        y, logdet = getattr(layer, direction)(
            strided(odd_x), strided(odd_c) if isinstance(odd_c, Tensor) else odd_c and tuple(map(strided, odd_c))
        )
        draws = torch.Generator().manual_seed(5)
        for_y = strided(torch.randn(y.shape, generator=draws, dtype=y.dtype))
        for_logdet = torch.randn(logdet.shape, generator=draws, dtype=y.dtype)
        found = torch.autograd.grad([y, logdet], list(named.values()), [for_y, for_logdet], allow_unused=True)
        given = {n: torch.zeros_like(t) if g is None else g for (n, t), g in zip(named.items(), found, strict=True)}
        laws.assert_same_gradients(given, expected)


def test_backward_calls_accumulate(case: Case) -> None:
    layer, x, cond = case.layer(), case.input(), case.condition()
    x, cond, named = laws.leaves(layer, x, cond)

    def once() -> dict[str, Tensor | None]:
        y, logdet = layer(x, cond)
        ((y**2).sum() + logdet.sum()).backward()
        return {name: None if t.grad is None else t.grad.clone() for name, t in named.items()}

    first = once()
    for name, gradient in once().items():
        if gradient is not None:
            torch.testing.assert_close(gradient, 2 * first[name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["chain-shared", "multiscale-2d-pyramid", "chain-head"])
def test_the_same_graph_can_be_walked_twice(name: str) -> None:
    case = MAPS[name]
    x, cond, named = laws.leaves(layer := case.layer(), case.input(), case.condition())
    y, logdet = layer(x, cond)
    loss = (y**2).sum() - logdet.sum()
    first = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
    second = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    assert all((a is None and b is None) or torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("name", ["chain-2d-cond", "multiscale-2d-pyramid", "multiscale-2d-cond"])
@pytest.mark.parametrize("which", ["parameters", "input", "cond"])
def test_gradient_of_one_kind_only(name: str, which: str) -> None:
    """Only the parameters, the input, or the condition ask for a gradient; it is the same as when all do."""
    case = MAPS[name]
    layer, x, cond = case.layer(), case.input(), case.condition()
    expected = laws.gradients(layer, x, cond, direction="forward", plain=True)
    x, cond, named = laws.leaves(layer, x, cond)
    kinds = {n: "input" if n == "input" else "cond" if n.startswith("cond") else "parameters" for n in named}
    wanted = {n: t for n, t in named.items() if kinds[n] == which}
    for tensor in named.values():
        tensor.requires_grad_(any(tensor is t for t in wanted.values()))
    y, logdet = layer(x, cond)
    draws = torch.Generator().manual_seed(5)
    out = [torch.randn(t.shape, generator=draws, dtype=t.dtype) for t in (y, logdet)]
    found = torch.autograd.grad([y, logdet], list(wanted.values()), out, allow_unused=True)
    given = {n: torch.zeros_like(t) if g is None else g for (n, t), g in zip(wanted.items(), found, strict=True)}
    laws.assert_same_gradients(given, {n: expected[n] for n in wanted})


def test_a_copy_is_a_copy(case: Case) -> None:
    layer, x, cond = case.layer(), case.input(), case.condition()
    twin = copy.deepcopy(layer)
    loaded = case.make().double()
    loaded.load_state_dict(layer.state_dict())
    for other in (twin, loaded.train()):
        for found, expected in zip(other(x, cond), layer(x, cond), strict=True):
            assert torch.equal(found, expected)
