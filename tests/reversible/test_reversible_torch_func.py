"""Derivatives beyond a backward pass: second ones in plain mode, and those of torch.func and of forward mode."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import reversible_laws as laws
import torch
from reversible_maps import MAPS
from torch import Tensor, nn
from torch.autograd import forward_ad

from bayesinv.reversible import Condition, Reversible, plain


def test_second_derivatives_in_plain_mode() -> None:
    """Refused by name of the remedy where the map stores nothing; given under `plain`, as by the map's own formulas."""
    case = MAPS["chain-dense-cond"]
    layer, x, cond = case.layer(), case.input(batch=2), case.condition(batch=2)

    def penalty(function: Callable[..., tuple[Tensor, Tensor]]) -> tuple[Tensor, ...]:
        leaf = x.clone().requires_grad_()
        y, logdet = function(leaf, cond)
        (slope,) = torch.autograd.grad(((y - 1) ** 3).sum() + logdet.sum(), leaf, create_graph=True)
        return torch.autograd.grad((slope**2).sum(), [leaf, *layer.parameters()], allow_unused=True)

    with pytest.raises(RuntimeError, match=r"a second one: run the map within `with bayesinv.reversible.plain\(\)"):
        penalty(layer)
    with plain():
        found = penalty(layer)
    for one, other in zip(found, penalty(layer._forward), strict=True):
        assert (one is None and other is None) or torch.equal(one, other)
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(layer(leaf, cond)[0].sum(), leaf, create_graph=True)
    with pytest.raises(RuntimeError, match="a second one"):  # also where the gradient that came in is a constant
        (slope * leaf).sum().backward()


@pytest.mark.parametrize("name", ["chain-2d-cond", "multiscale-1d-cond", "chain-shared", "recomputed"])
@pytest.mark.parametrize("direction", laws.DIRECTIONS)
def test_torch_func(name: str, direction: str) -> None:
    """jvp, vjp, vmap and a Hessian of the map, with respect to input and parameters; no graph remains."""
    case = MAPS[name]
    layer, x, cond = case.layer(), case.input(), case.condition()
    own = dict(layer.named_parameters())

    def both(x: Tensor, parameters: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        return torch.func.functional_call(Directed(layer, direction), prefixed(parameters), (x, cond))

    dx, dp = torch.randn_like(x), {n: torch.randn_like(p) for n, p in own.items()}
    (y, logdet), (dy, dlogdet) = torch.func.jvp(both, (x, own), (dx, dp))
    h = 1e-6
    plus = both(x + h * dx, {n: (p + h * dp[n]).detach() for n, p in own.items()})
    minus = both(x - h * dx, {n: (p - h * dp[n]).detach() for n, p in own.items()})
    for found, up, down in zip((dy, dlogdet), plus, minus, strict=True):
        torch.testing.assert_close(found.detach(), ((up - down) / (2 * h)).detach(), rtol=1e-6, atol=1e-7)
    out, pull = torch.func.vjp(both, x, own)
    v, w = torch.randn_like(y), torch.randn_like(logdet)
    gx, gp = pull((v, w))
    with torch.no_grad():
        there = float((dy * v).sum() + (dlogdet * w).sum())
        back = float((gx * dx).sum()) + sum(float((gp[n] * dp[n]).sum()) for n in own)
    assert there == pytest.approx(back, rel=1e-9)
    torch.testing.assert_close(out, getattr(layer, direction)(x, cond))


def test_torch_func_hessian_and_vmap() -> None:
    layer, x = MAPS["chain-dense-cond"].layer(), MAPS["chain-dense-cond"].input(batch=3)
    cond = MAPS["chain-dense-cond"].condition(batch=3)

    def energy(one: Tensor, c: Tensor) -> Tensor:
        z, logdet = layer(one[None], c[None])
        return (z**2).sum() / 2 - logdet.sum()

    hessians = torch.func.vmap(torch.func.hessian(energy))(x, cond)
    assert hessians.shape == (3, 4, 4)
    torch.testing.assert_close(hessians, hessians.mT)
    with plain():
        expected = torch.autograd.functional.hessian(lambda one: energy(one, cond[1]), x[1])
    torch.testing.assert_close(hessians[1].detach(), expected)


def test_forward_mode_of_autograd() -> None:
    case = MAPS["chain-2d-cond"]
    layer, x, cond = case.layer(), case.input(), case.condition()
    dx = torch.randn_like(x)
    with forward_ad.dual_level():
        y, logdet = layer(forward_ad.make_dual(x, dx), cond)
        found = [forward_ad.unpack_dual(t).tangent.detach() for t in (y, logdet)]
    _, expected = torch.func.jvp(lambda x: layer(x, cond), (x,), (dx,))
    torch.testing.assert_close(found, [t.detach() for t in expected])


class Directed(nn.Module):
    """A map's `forward` or `inverse` as a module's forward."""

    def __init__(self, map: Reversible, direction: str) -> None:
        super().__init__()
        self.map, self.direction = map, direction

    def forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        out: tuple[Tensor, Tensor] = getattr(self.map, self.direction)(x, cond)
        return out


def prefixed(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"map.{name}": p for name, p in parameters.items()}
