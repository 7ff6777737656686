"""The backward pass writes over what nobody else holds: views and gradients that autograd hands on are kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import reversible_laws as laws
import torch
from torch import Tensor, nn

from bayesinv.reversible import (
    LU,
    Additive,
    Chain,
    Condition,
    Coupling,
    Elementwise,
    Householder,
    OnPart,
    Reversible,
    finest,
)
from bayesinv.reversible.base import Backward


class Doubled(Elementwise):
    """``b' = 2 b + t``: the gradient of ``t`` is that of ``b'`` itself."""

    width = 1

    def forward(self, b: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * b + raw, b.new_full(b.shape[:1], b[0].numel() * 0.6931471805599453)

    def inverse(self, b: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        return (b - raw) / 2, b.new_full(b.shape[:1], -b[0].numel() * 0.6931471805599453)


class Turned(Reversible):
    """Views of its input."""

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        return x.transpose(2, 3), x.new_zeros(len(x))

    _inverse = _forward


class Spoiling(Turned):
    """Spoils whatever it may."""

    def _backward_in_place(
        self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor, *, inverted: bool
    ) -> Backward:
        found = self._backward(y.clone(), cond, grad_y.clone(), grad_logdet)
        y.fill_(torch.nan), grad_y.fill_(torch.nan)
        return found


class Shifted(Reversible):
    """``y = x + cond``."""

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        return x + (finest(cond) if cond is not None else 0), x.new_zeros(len(x))

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        return y - (finest(cond) if cond is not None else 0), y.new_zeros(len(y))


class Doubling(Reversible):
    """``y = 2 x + b``: for one sample the gradient of ``b`` is that of ``y`` itself."""

    def __init__(self) -> None:
        super().__init__()
        self.b = nn.Parameter(torch.zeros(1, 2, 4, 4))

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        return 2 * x + self.b, x.new_full(x.shape[:1], x[0].numel() * 0.6931471805599453)

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        return (y - self.b) / 2, y.new_full(y.shape[:1], -y[0].numel() * 0.6931471805599453)


class Placed(nn.Module):
    """Adds a number for each pixel and the first channels of the condition."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.place = nn.Conv2d(2, 2, 3, padding=1), nn.Parameter(torch.zeros(1, 2, 4, 4))

    def forward(self, a: Tensor, cond: Tensor | None = None) -> Tensor:
        out: Tensor = self.first(a) + self.place
        return out if cond is None else out + cond[:, :2]


def couplings(how: Elementwise) -> list[Reversible]:
    return [Coupling(Placed(), passive=2, passive_last=i % 2 == 1, how=how) for i in range(3)]


CHAINS: dict[str, Callable[[], Chain]] = {
    "an elementwise map": lambda: Chain(*couplings(Doubled())),
    "a term of the network": lambda: Chain(Householder(4), *couplings(Additive()), LU(4)),
    "one term of the network": lambda: Chain(Householder(4), couplings(Additive())[0], LU(4)),
    "a term of the layer": lambda: Chain(Householder(4), Shifted(), LU(4), Shifted(), Householder(4)),
    "a term of a part": lambda: Chain(LU(4), OnPart(Doubling(), start=1, stop=3), LU(4)),
    "a view of a part": lambda: Chain(LU(4), OnPart(Turned(), start=1, stop=3), LU(4)),
    "a view": lambda: Chain(Turned(), LU(4), Turned(), Householder(4), Turned()),
}


@pytest.mark.parametrize("conditioned", [False, True])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", CHAINS)
def test_gradients_of_chains_with_views(name: str, batch: int, conditioned: bool) -> None:
    chain, x = CHAINS[name]().double(), torch.randn(batch, 4, 4, 4, dtype=torch.float64)
    cond = torch.randn(batch, 4, 4, 4, dtype=torch.float64) if conditioned else None
    for direction in laws.DIRECTIONS:
        expected = laws.gradients(chain, x, cond, direction=direction, plain=True)
        laws.assert_same_gradients(laws.gradients(chain, x, cond, direction=direction, plain=False), expected)
    laws.energy_is_the_outputs(chain, x, cond)


@pytest.mark.parametrize("one", [Chain(), Spoiling(), Chain(Spoiling(), Spoiling()), Chain(LU(4), Spoiling())])
def test_the_input_of_an_energy_is_kept_where_it_is_the_output(one: Reversible) -> None:
    laws.energy_is_the_outputs(one.double(), torch.randn(2, 4, 4, 4, dtype=torch.float64), None)


def test_the_gradient_handed_in_is_no_part_of_the_gradients_handed_out() -> None:
    layer = Coupling(Placed(), passive=2, how=Additive())
    x, cond, given = (torch.randn(1, n, 4, 4) for n in (4, 2, 4))
    before = given.clone()
    layer(x, cond.requires_grad_())[0].backward(given)
    cond.grad.add_(1.0)  # type: ignore[union-attr]
    layer.network.place.grad.add_(1.0)
    assert torch.equal(given, before)
