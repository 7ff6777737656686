"""Every map on a device that is not the processor: the same numbers, and no tensor strays from it."""

from __future__ import annotations

import pytest
import reversible_laws as laws
import torch
from pretended_device import elsewhere
from reversible_parts import Case
from torch import Tensor

from bayesinv.reversible import Condition, Reversible


@pytest.mark.parametrize("workspace", ["auto", 1])
def test_gradients_elsewhere_are_those_here(case: Case, workspace: int | str) -> None:
    def found(layer: Reversible, x: Tensor, cond: Condition, direction: str) -> dict[str, Tensor]:
        layer.workspace = workspace
        return laws.gradients(layer, x, cond, direction=direction, plain=False)

    with elsewhere() as (there, back):
        for direction in laws.DIRECTIONS:
            expected = found(case.layer(), case.input(), case.condition(), direction)
            moved = [there(one) for one in (case.layer(), case.input(), case.condition())]
            laws.assert_same_gradients(back(found(*moved, direction)), expected)


class Stray(Reversible):
    """Multiplies by a tensor that it makes on the processor."""

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        return x * torch.ones(x.shape[1:], dtype=x.dtype), x.new_zeros(len(x))

    _inverse = _forward


def test_a_stray_tensor_is_found() -> None:
    with elsewhere() as (there, _):
        assert not there(torch.ones(2, 3)).is_cpu
        assert there(torch.ones(2, 3)).new_zeros(2).device == torch.zeros(2, device="elsewhere:0").device
        with pytest.raises(RuntimeError, match=r"one device, got one of shape \(3,\) on the processor"):
            Stray()(there(torch.ones(2, 3)))
