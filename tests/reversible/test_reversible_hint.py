"""`hint_coupling` against the recursion written out, for even and uneven halves, with shared networks and own ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import reversible_laws as laws
import torch
from reversible_maps import MAPS
from reversible_parts import Case, small
from torch import Tensor, nn

import bayesinv.reversible.chain as chain_module
from bayesinv.reversible import (
    Affine,
    Chain,
    Conditioner,
    Coupling,
    Householder,
    Inverted,
    OnPart,
    Reversible,
    hint_coupling,
    irim_coupling,
)


def smooth() -> Callable[[int, int], Conditioner]:
    """Networks without a dead ReLU."""
    return partial(Conditioner, hidden=4, rank=0, activation=torch.tanh)


def awake(layer: Reversible) -> Reversible:
    torch.manual_seed(1)
    layer = layer.double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return layer


def recursion(tree: Chain, x: Tensor) -> tuple[Tensor, Tensor]:
    """``ya = HINT(xa)``, ``yb = S(xa) HINT(xb) + T(xa)`` with the networks of ``tree``."""
    (coupling,) = [one for one in tree if isinstance(one, Coupling)]
    parts = {one.start: one.inner for one in tree if isinstance(one, OnPart)}
    half = x.shape[1] // 2
    xa, xb = x[:, :half], x[:, half:]
    none = torch.zeros(len(x), dtype=x.dtype)
    ya, of_a = recursion(parts[0], xa) if 0 in parts else (xa, none)
    yt, of_b = recursion(parts[half], xb) if half in parts else (xb, none)
    raw, shift = coupling.network(xa).chunk(2, 1)
    log_scale = 2 * torch.tanh(raw / 2)
    return torch.cat([ya, log_scale.exp() * yt + shift], 1), of_a + of_b + log_scale.flatten(1).sum(1)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [2, 3, 5, 6, 7, 8])
def test_the_recursion(channels: int, depth: int, shared: bool) -> None:
    layer = awake(hint_coupling(channels, small(1), depth=depth, shared=shared))
    x = torch.randn(2, channels, 3, dtype=torch.float64)
    for found, expected in zip(layer(x), recursion(layer, x), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    laws.inverse_undoes(layer, x, None)


@pytest.mark.parametrize("channels", [2, 5, 6, 7, 8])
def test_the_jacobian_is_a_full_triangle(channels: int) -> None:
    """Every number reacts to itself and to all numbers before it, and to no other."""
    layer = awake(hint_coupling(channels, smooth(), depth=4))
    jacobian = torch.autograd.functional.jacobian(
        lambda x: layer._forward(x[None], None)[0][0], torch.randn(channels, dtype=torch.float64)
    )
    assert bool((jacobian.triu(1) == 0).all())
    assert bool((jacobian.tril() != 0).sum() == channels * (channels + 1) // 2)


def couplings(layer: Reversible) -> int:
    return sum(isinstance(part, Coupling) for part in layer.modules())


@pytest.mark.parametrize(
    ("channels", "depth", "shared", "own"), [(8, 3, 3, 7), (7, 3, 4, 6), (5, 2, 3, 3), (6, 3, 3, 5), (4, 1, 1, 1)]
)
def test_equals_of_one_level_share_their_networks(channels: int, depth: int, shared: int, own: int) -> None:
    """7 = 3 + 4 = (1 + 2) + (2 + 2): one network of the first level, two of the second, one of the third."""
    assert couplings(hint_coupling(channels, small(0), depth=depth)) == shared
    assert couplings(hint_coupling(channels, small(0), depth=depth, shared=False)) == own


@pytest.mark.parametrize(("channels", "depth"), [(2, 1), (4, 1), (5, 2), (8, 2), (9, 3), (16, 3), (17, 4)])
def test_default_depth(channels: int, depth: int) -> None:
    """One more than the halvings down to 4 channels at most."""
    layer = hint_coupling(channels, small(0), shared=False)
    assert couplings(layer) == couplings(hint_coupling(channels, small(0), shared=False, depth=depth))
    assert (
        couplings(layer) < couplings(hint_coupling(channels, small(0), shared=False, depth=depth + 1)) or channels < 3
    )


@pytest.mark.parametrize("channels", [4, 5, 7])
def test_permutations(channels: int) -> None:
    """Fresh networks change nothing, so only the rotations are seen; with "both" they cancel."""
    x, half = torch.randn(3, channels, 2, dtype=torch.float64), channels // 2
    made = {
        kind: hint_coupling(channels, small(1), permutation=kind).double() for kind in ("none", "lower", "full", "both")
    }
    changed = {kind: (layer(x)[0] - x).abs() > 1e-9 for kind, layer in made.items()}
    assert not changed["none"].any()
    assert not changed["both"].any()
    assert not changed["lower"][:, :half].any()
    assert changed["lower"][:, half:].all()
    assert changed["full"].all()
    rotated = Chain(*list(awake(made["both"]))[1:-1])
    rotation = made["both"].maps[0]
    y = rotation.inverse(rotated(rotation(x)[0])[0])[0]
    torch.testing.assert_close(made["both"](x)[0], y, rtol=1e-12, atol=1e-12)


def overwritten(total: dict[Any, Tensor], more: dict[Any, Tensor]) -> None:
    total.update(more)


@pytest.mark.parametrize("direction", laws.DIRECTIONS)
@pytest.mark.parametrize("name", ["hint-dense-8-shared", "hint-dense-7-cond"])
def test_laws_see_a_shared_gradient_overwritten(name: str, direction: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second use of a network must add to the gradient of the first one."""
    case = MAPS[name]
    laws.gradients_are_autograds(case.layer(), case.input(), case.condition())
    monkeypatch.setattr(chain_module, "add_gradients", overwritten)
    with pytest.raises(AssertionError, match="gradient of"):
        laws.gradients_are_autograds(case.layer(), case.input(), case.condition(), directions=[direction])


def test_laws_see_a_coupling_that_looks_at_the_transformed_half() -> None:
    """The order of a wrong recursion: ``ya`` first, then the coupling conditioned on it."""
    layer = awake(hint_coupling(4, smooth(), depth=2))
    lower, coupling, upper = layer
    x = torch.randn(2, 4, dtype=torch.float64)
    wrong = Chain(lower, upper, coupling)
    assert float((wrong(x)[0] - recursion(layer, x)[0]).detach().abs().max()) > 1e-3


def test_a_network_of_ones_own_and_another_map() -> None:
    layer = hint_coupling(5, lambda channels, out: nn.Linear(channels, out), how=Affine(lambda r: r / 3), depth=3)
    x = torch.randn(2, 5, dtype=torch.float64)
    laws.inverse_undoes(layer.double(), x, None)
    laws.gradients_are_autograds(layer, x, None)


MISTAKES: dict[str, tuple[Callable[[], object], str]] = {
    "one channel": (lambda: hint_coupling(1, small(0)), "two channels or more and a positive depth, got 1 and None"),
    "no level": (lambda: hint_coupling(4, small(0), depth=0), "two channels or more and a positive depth, got 4 and 0"),
    "permutation": (lambda: hint_coupling(4, small(0), permutation="upper"), "got 'upper'"),  # type: ignore[arg-type]
    "i-RIM": (lambda: irim_coupling(1, small(0)), "expected two channels or more, got 1"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake(name: str) -> None:
    use, words = MISTAKES[name]
    with pytest.raises(ValueError, match=words):
        use()


@pytest.mark.parametrize("channels", [2, 5])
def test_irim_is_a_step_in_a_learned_direction(channels: int) -> None:
    """``y = Q^T g(Q x)``, ``g`` adds ``net(a)`` to ``b``."""
    layer = awake(irim_coupling(channels, partial(Conditioner, hidden=4, rank=2)))
    rotation, coupling, back = layer
    assert isinstance(rotation, Householder)
    assert isinstance(back, Inverted)
    assert back.inner is rotation
    x = torch.randn(2, channels, 3, 4, dtype=torch.float64)
    turned, _ = rotation(x)
    half = channels // 2
    moved = torch.cat([turned[:, :half], turned[:, half:] + coupling.network(turned[:, :half])], 1)
    y, logdet = layer(x)
    torch.testing.assert_close(y, rotation.inverse(moved)[0], rtol=1e-12, atol=1e-12)
    assert not logdet.any()


def test_the_gradient_of_a_rotation_and_its_inverse_is_the_sum_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(lambda: irim_coupling(4, small(1)), (4, 5))
    laws.gradients_are_autograds(case.layer(), case.input(), None)
    monkeypatch.setattr(chain_module, "add_gradients", overwritten)
    with pytest.raises(AssertionError, match="gradient of"):
        laws.gradients_are_autograds(case.layer(), case.input(), None)
