"""Maps of single pixels in a row: one matrix for them, computed with those of alike neighbours."""

from __future__ import annotations

import copy
import gc
import weakref
from typing import Any

import pytest
import torch
from reversible_parts import coupling
from torch import nn

from bayesinv.reversible import LU, ActNorm, Chain, Householder, matrices, pixelwise, plain, updating
from bayesinv.reversible.updating import Update


def steps(n: int, channels: int = 4, *, turned: type[LU] | type[Householder] = LU) -> Chain:
    """Three of a kind for each of ``n``, with other parameters each, past the first batch."""
    maps: list[Any] = []
    for _ in range(n):
        maps += [ActNorm(channels), turned(channels), coupling(channels, 1)]
    chain = Chain(*maps)
    chain(torch.randn(16, channels, 8))
    return chain


def gradients(chain: Chain, x: torch.Tensor) -> list[torch.Tensor]:
    """Output, logdet, and all gradients."""
    x = x.clone().requires_grad_()
    y, logdet = chain(x)
    return [y.detach(), logdet.detach(), *torch.autograd.grad((y**2).sum() - logdet.sum(), [x, *chain.parameters()])]


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many runs were computed at once, in order."""
    seen: list[int] = []

    class Counted(matrices.Composition):
        def __init__(self, rows: Any) -> None:
            seen.append(len(rows))
            super().__init__(rows)

    monkeypatch.setattr(pixelwise, "Composition", Counted)
    return seen


@pytest.mark.parametrize("turned", [LU, Householder])
@pytest.mark.parametrize("most", [0.5, 1, 2, 3, 100])
def test_together_they_are_what_they_are_one_by_one(
    monkeypatch: pytest.MonkeyPatch, groups: list[int], turned: Any, most: float
) -> None:
    torch.manual_seed(0)
    chain, x = steps(5, turned=turned).double(), torch.randn(3, 4, 6, dtype=torch.float64)
    groups.clear()
    with plain():
        alone = gradients(chain, x)
    assert groups == []
    monkeypatch.setattr(pixelwise, "_TOGETHER", int(most * 16))
    found = gradients(chain, x)
    step = max(1, int(most))
    forward = [min(step, 5 - start) for start in range(0, 5, step)]
    assert groups == forward + forward[::-1]
    for one, other in zip(found, alone, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_only_alike_ones_are_computed_together(groups: list[int]) -> None:
    """Not other maps, nor ones of another number of reflections; and all their gradients come out."""
    maps = [LU(4), coupling(4, 1), LU(4), coupling(4, 1), Householder(4), coupling(4, 1), Householder(4, reflections=3)]
    chain = Chain(*maps)  # type: ignore[arg-type]
    assert len(gradients(chain, torch.randn(2, 4, 6))) == 3 + len(list(chain.parameters()))
    assert groups == [2, 1, 1, 1, 1, 2]


def test_frozen_ones_get_no_gradient() -> None:
    """Of a map that is frozen in part, or as a whole."""
    chain = steps(3)
    frozen: list[Any] = [chain.maps[3].bias, chain.maps[4].factors]
    for parameter in frozen:
        parameter.requires_grad_(False)
    updated: list[nn.Parameter] = []
    with updating(chain, lambda parameter, _: updated.append(parameter)):
        chain(torch.randn(2, 4, 6))[0].sum().backward()
    assert {id(p) for p in updated} == {id(p) for p in chain.parameters()} - {id(p) for p in frozen}


def test_a_parameter_may_change_before_the_rest_of_its_group_is_gone_through() -> None:
    """Steps within the backward pass, against steps after it, for three passes."""
    chain, x = steps(4).double(), torch.randn(3, 4, 6, dtype=torch.float64)
    twin = copy.deepcopy(chain)

    def descend(parameter: nn.Parameter, gradient: torch.Tensor) -> None:
        with torch.no_grad():
            parameter -= 0.01 * gradient

    def passed(one: Chain, update: Update) -> None:
        with updating(one, update):
            y, logdet = one(x)
            ((y**2).mean() - logdet.mean()).backward()

    for _ in range(3):
        found: list[tuple[nn.Parameter, torch.Tensor]] = []
        passed(chain, descend)
        passed(twin, lambda *one, found=found: found.append(one))  # type: ignore[misc]
        for parameter, gradient in found:
            descend(parameter, gradient)
    for parameter, expected in zip(chain.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(parameter, expected, rtol=1e-12, atol=1e-12)


def test_nothing_is_left_of_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor of a group when the next one's turn has come; no cycle of references waits for a collection."""
    left: list[weakref.ref[Any]] = []
    made = pixelwise.Composition

    def noted(rows: Any) -> Any:
        assert all(one() is None for one in left)
        found = made(rows)
        left.append(weakref.ref(found))
        return found

    monkeypatch.setattr(pixelwise, "Composition", noted)
    monkeypatch.setattr(pixelwise, "_TOGETHER", 2 * 16)
    chain = steps(4)
    gc.collect()
    gc.disable()
    try:
        left.clear()
        gradients(chain, torch.randn(2, 4, 6))
        assert len(left) == 4
        assert all(one() is None for one in left)
    finally:
        gc.enable()
