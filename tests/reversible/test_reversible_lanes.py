"""`hint_lanes`: the y lane never sees x, and ``log p(y, x) = log p(y) + log p(x|y)`` lane by lane."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import reversible_laws as laws
import torch
from reversible_maps import MAPS
from reversible_parts import small
from torch import Tensor

import bayesinv.reversible.lane as lane_module
from bayesinv.reversible import Coupling, Householder, Lane, Lanes, hint_lanes

SIZES = [(2, 3, 0), (1, 4, 1), (5, 1, 2), (1, 1, 1), (3, 2, 3)]  # channels of x and of y, spatial axes


def made(x_channels: int, y_channels: int, rank: int, *, steps: int = 3) -> tuple[Lanes, Tensor, Tensor]:
    """Lanes with random parameters, and an x and a y."""
    torch.manual_seed(1)
    lanes = hint_lanes(x_channels, y_channels, small(rank), steps=steps)
    with torch.no_grad():
        for parameter in lanes.joint.double().eval().parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    space = (4, 3, 2)[:rank]
    x, y = (torch.randn(3, channels, *space, dtype=torch.float64) for channels in (x_channels, y_channels))
    return lanes, x, y


@pytest.mark.parametrize("sizes", SIZES)
def test_the_joint_map_is_that_of_both_lanes(sizes: tuple[int, int, int]) -> None:
    lanes, x, y = made(*sizes)
    both, logdet = lanes.joint(torch.cat([y, x], 1))
    (zx, of_x), (zy, of_y) = lanes.x(x, y), lanes.y(y)
    torch.testing.assert_close(both, torch.cat([zy, zx], 1), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(logdet, of_x + of_y, rtol=1e-12, atol=1e-12)
    again, logdet = lanes.joint.inverse(torch.cat([zy, zx], 1))
    (x_again, of_x), (y_again, of_y) = lanes.x.inverse(zx, y), lanes.y.inverse(zy)
    torch.testing.assert_close(again, torch.cat([y_again, x_again], 1), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(logdet, of_x + of_y, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(x_again, x, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("sizes", SIZES)
def test_y_never_sees_x(sizes: tuple[int, int, int]) -> None:
    lanes, x, y = made(*sizes)
    one, other = (lanes.joint(torch.cat([y, given], 1))[0][:, : y.shape[1]] for given in (x, x + 1))
    assert torch.equal(one, other)
    assert float((lanes.x(x, y)[0] - lanes.x(x, y + 1)[0]).detach().abs().max()) > 1e-3


def test_all_parameters_are_shared() -> None:
    lanes, _, _ = made(2, 4, 1)
    joint, of_x, of_y = ({id(p) for p in part.parameters()} for part in lanes)
    assert joint == of_x | of_y
    assert of_x & of_y
    assert of_y - of_x  # the last HINT of the y lane: no crossing comes after it
    assert of_x - of_y


def test_without_permutation_there_is_none() -> None:
    parts = list(hint_lanes(4, 4, small(0), steps=2, permuted=False).joint.modules())
    assert not any(isinstance(part, Householder) for part in parts)


@pytest.mark.parametrize("direction", laws.DIRECTIONS)
def test_the_gradients_of_the_joint_map_are_those_of_the_lanes(direction: str) -> None:
    """Also through the conditional one, ``dy`` included."""
    lanes, x, y = made(2, 3, 1)
    for part in lanes:
        part.requires_grad_(True)
    y.requires_grad_()
    if direction == "forward":
        first = lanes.joint(torch.cat([y, x], 1))[1] - lanes.y(y)[1]
        second = lanes.x(x, y)[1]
    else:
        first = lanes.joint.inverse(torch.cat([lanes.y(y)[0], x], 1))[1] + lanes.y(y)[1]
        second = lanes.x.inverse(x, y)[1]
    named = {"y": y} | dict(lanes.x.named_parameters())
    found, expected = (
        dict(zip(named, torch.autograd.grad(out.sum(), list(named.values()), materialize_grads=True), strict=True))
        for out in (second, first)
    )
    laws.assert_same_gradients(found, expected)


def saved(steps: int, direction: str) -> int:
    lanes, x, y = made(2, 3, 1, steps=steps)
    parameters = {p.untyped_storage()._cdata for p in lanes.x.parameters()}
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in parameters:
            sizes[storage._cdata] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        kept = getattr(lanes.x, direction)(x, y)
    del kept
    return sum(sizes.values())


@pytest.mark.parametrize("direction", laws.DIRECTIONS)
def test_saved_activations_do_not_grow_with_the_steps(direction: str) -> None:
    assert saved(8, direction) == saved(2, direction) > 0


def overwritten(total: dict[Any, Tensor], more: dict[Any, Tensor]) -> None:
    total.update(more)


def test_laws_see_a_shared_gradient_overwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    """One crossing in two steps."""
    crossing = Coupling(small(0)(2, 4), passive=2).double()
    with torch.no_grad():
        for parameter in crossing.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    turns = [Householder(2).double() for _ in range(2)]
    lane = Lane(turns, turns, [crossing, crossing])
    x, y = torch.randn(3, 2, dtype=torch.float64), torch.randn(3, 2, dtype=torch.float64)
    laws.gradients_are_autograds(lane, x, y)
    monkeypatch.setattr(lane_module, "add_gradients", overwritten)
    for direction in laws.DIRECTIONS:
        with pytest.raises(AssertionError, match="gradient of"):
            laws.gradients_are_autograds(lane, x, y, directions=[direction])


def test_laws_see_a_logdet_that_counts_the_y_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mistake of taking the joint logdet for that of ``log p(x|y)``."""
    case = MAPS["lanes-dense-x"]
    lane, x, y = case.layer(), case.input(), case.condition()
    sound = Lane._forward

    def faulty(self: Lane, x: Tensor, cond: Any) -> tuple[Tensor, Tensor]:
        z, logdet = sound(self, x, cond)
        return z, logdet + self.y_maps[0]._forward(cond, None)[1]

    monkeypatch.setattr(Lane, "_forward", faulty)
    with pytest.raises(AssertionError):
        laws.logdet_is_the_jacobians(lane, x, y)


def crossing(channels: int, *, last: bool = False) -> Coupling:
    return Coupling(small(0)(channels, 4), passive=channels, passive_last=last)


MISTAKES: dict[str, tuple[Callable[[], object], str]] = {
    "another number": (lambda: Lane([Householder(3)], [], [crossing(3)]), "as many maps .* got 1, 0 and 1"),
    "nothing": (lambda: Lane([], [], []), "got 0, 0 and 0"),
    "y last": (lambda: Lane([Householder(3)], [Householder(2)], [crossing(3, last=True)]), "leave all channels of y"),
    "two splits": (
        lambda: Lane([Householder(3)] * 2, [Householder(2)] * 2, [crossing(3), crossing(2)]),
        "leave all channels of y",
    ),
    "no y": (lambda: made(2, 3, 0)[0].x(torch.randn(4, 2).double()), "expected y as the condition, with 3 channels"),
    "another y": (
        lambda: made(2, 3, 0)[0].x(torch.randn(4, 2).double(), torch.randn(4, 2).double()),
        r"with 3 channels, got one of shape \(4, 2\)",
    ),
    "no channels": (lambda: hint_lanes(0, 3, small(0)), "expected channels of x and of y and a step, got 0, 3 and 1"),
    "no step": (lambda: hint_lanes(1, 3, small(0), steps=0), "got 1, 3 and 0"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake(name: str) -> None:
    use, words = MISTAKES[name]
    with pytest.raises(ValueError, match=words):
        use()
