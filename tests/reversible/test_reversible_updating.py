"""Updates within the backward pass: the numbers of ordinary training, and no gradient left behind."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from reversible_maps import MAPS
from reversible_parts import Case
from torch import Tensor, nn

from bayesinv.reversible import (
    ActNorm,
    Chain,
    Condition,
    Conditioner,
    Coupling,
    Householder,
    Reversible,
    guard,
    memory_report,
    updating,
)


def loss(layer: Reversible, x: Tensor, cond: Condition) -> Tensor:
    y, logdet = layer(x, cond)
    return y.square().sum() / 2 - logdet.sum()


def loss_by_energy(layer: Reversible, x: Tensor, cond: Condition) -> Tensor:
    energy, logdet = layer.energy(x, cond)
    return energy.sum() - logdet.sum()


@pytest.mark.parametrize("loss_within", [loss, loss_by_energy])
def test_every_map_gets_every_gradient_once(case: Case, loss_within: Callable[..., Tensor]) -> None:
    """Handed out or left in ``grad``: together they are autograd's, for every map of the registry."""
    layer, x, cond = case.layer(), case.input(), case.condition()
    parameters = list(layer.parameters())
    if not parameters:
        return
    expected = torch.autograd.grad(loss(layer, x, cond), parameters, allow_unused=True, materialize_grads=True)
    found: dict[nn.Parameter, Tensor] = {}

    def note(parameter: nn.Parameter, gradient: Tensor) -> None:
        assert parameter not in found
        found[parameter] = gradient.clone()

    with updating(layer, note):
        loss_within(layer, x, cond).backward()
    for parameter, want in zip(parameters, expected, strict=True):
        assert parameter not in found or parameter.grad is None
        got = found.get(parameter, parameter.grad)
        torch.testing.assert_close(torch.zeros_like(want) if got is None else got, want, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("kind", ["sgd", "adam"])
@pytest.mark.parametrize("name", ["chain-2d-cond", "multiscale-1d-cond", "chain-shared"])
def test_training_is_the_same(name: str, kind: str) -> None:
    """Five steps of an optimizer for each parameter, within the backward pass, against one for all afterwards."""
    case = MAPS[name]
    layer, x, cond = case.layer(), case.input(), case.condition()
    twin = copy.deepcopy(layer)

    def optimizer(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, 1e-3) if kind == "sgd" else torch.optim.Adam(parameters, 1e-2)

    together, apart = optimizer(list(twin.parameters())), {p: optimizer([p]) for p in layer.parameters()}

    def update(parameter: nn.Parameter, gradient: Tensor) -> None:
        parameter.grad = gradient
        apart[parameter].step()
        parameter.grad = None

    for _ in range(5):
        together.zero_grad()
        loss(twin, x, cond).backward()
        together.step()
        with updating(layer, update):
            loss(layer, x, cond).backward()
        assert all(p.grad is None for p in layer.parameters())
    for one, other in zip(layer.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_no_gradient_is_kept() -> None:
    """The step's memory beyond the data does not grow with the depth, as the parameters' gradients do."""

    def peak(depth: int, *, within: bool) -> int:
        torch.manual_seed(0)
        maps: list[Reversible] = []
        for _ in range(depth):
            maps += [ActNorm(4), Householder(4), Coupling(Conditioner(2, 4, hidden=64, rank=1), passive=2)]
        chain = Chain(*maps)
        if not within:
            return memory_report(chain, (4, 16), batch=2).peak
        with updating(chain, lambda parameter, gradient: None):
            return memory_report(chain, (4, 16), batch=2).peak

    assert peak(16, within=False) - peak(4, within=False) > 12 * 4 * 64 * 64
    assert peak(16, within=True) - peak(4, within=True) < 4 * 64 * 64


def test_a_guarded_map_is_refused() -> None:
    chain = Chain(ActNorm(2), Householder(2))
    with guard(chain), pytest.raises(ValueError, match="expected a map without a guard"), updating(chain, print):
        pass
