"""`jvp` is the derivative of every map, `vjp` its adjoint, for input and parameters together."""

from __future__ import annotations

import pytest
import reversible_laws as laws
import torch
from reversible_maps import MAPS
from reversible_parts import Case
from torch import Tensor, nn

from bayesinv.reversible import ActNorm, Coupling, Inverted, jvp, vjp


def test_jvp_and_vjp_are_adjoints_and_derivatives(case: Case) -> None:
    layer, x, cond = case.layer(), case.input(), case.condition()
    draws = torch.Generator().manual_seed(7)
    own = dict(layer.named_parameters())
    dx, dy = (torch.randn(x.shape, generator=draws, dtype=x.dtype) for _ in range(2))
    dlogdet = torch.randn(len(x), generator=draws, dtype=x.dtype)
    dp = {name: torch.randn(p.shape, generator=draws, dtype=x.dtype) for name, p in own.items()}
    along_y, along_logdet = jvp(layer, x, cond, dx=dx, dparameters=dp)
    assert not along_y.requires_grad
    back_x, back_p = vjp(layer, x, cond, dy=dy, dlogdet=dlogdet)
    terms = [(along_y * dy).sum(), (along_logdet * dlogdet).sum()]
    others = [(back_x * dx).sum(), *[(back_p[name] * d).sum() for name, d in dp.items()]]
    scale = sum(float(t.abs()) for t in [*terms, *others])
    assert abs(float(sum(terms) - sum(others))) <= 1e-11 * max(1.0, scale)
    h = 1e-8  # so that no ReLU changes sides
    sides = []
    with torch.no_grad():
        for sign in (1, -1):
            for name, p in own.items():
                p.add_(sign * h * dp[name])
            sides.append(layer(x + sign * h * dx, cond))
            for name, p in own.items():
                p.sub_(sign * h * dp[name])
    for found, up, down in zip((along_y, along_logdet), *sides, strict=True):
        expected = (up - down) / (2 * h)
        assert float((found - expected).norm()) <= 1e-5 * float(expected.norm()) + 1e-5


def test_one_direction_alone_and_the_inverse() -> None:
    case = MAPS["chain-2d-cond"]
    layer, x, cond = case.layer(), case.input(), case.condition()
    dx = torch.randn_like(x)
    dy, _ = jvp(layer, x, cond, dx=dx)
    back, _ = jvp(Inverted(layer), layer(x, cond)[0].detach(), cond, dx=dy)
    assert laws.relative(back, dx) < 1e-9
    name = "maps.0.maps.1.vectors"
    alone, _ = jvp(layer, x, cond, dparameters={name: torch.ones(4, 4, dtype=x.dtype)})
    _, grads = vjp(layer, x, cond, dy=alone)
    assert float(grads[name].sum()) == pytest.approx(float((alone**2).sum()))
    for parameter in layer.parameters():
        parameter.requires_grad_(False)
    assert vjp(layer, x, cond, dlogdet=torch.ones(3, dtype=x.dtype))[1] == {}


def test_a_recurrent_network_moves_along_its_weights() -> None:
    """Its weights are held in two places."""

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.GRU(1, 4, batch_first=True)

        def forward(self, a: Tensor) -> Tensor:
            out: Tensor = self.cell(a.movedim(1, -1))[0]
            return out.movedim(-1, 1)

    layer, x = Coupling(Recurrent(), passive=1).double(), torch.randn(2, 3, 5, dtype=torch.float64)
    name = "network.cell.weight_hh_l0"
    direction = torch.randn_like(layer.network.cell.weight_hh_l0)
    dy, _ = jvp(layer, x, dparameters={name: direction})
    w = torch.randn_like(dy)
    _, grads = vjp(layer, x, dy=w)
    assert float((dy * w).sum()) == pytest.approx(float((grads[name] * direction).sum()))
    assert float(dy.norm()) > 1e-3


def test_mistakes() -> None:
    layer, x = ActNorm(2).eval(), torch.zeros(3, 2)
    with pytest.raises(ValueError, match="expected a direction of the input or of a parameter, got none"):
        jvp(layer, x)
    with pytest.raises(ValueError, match=r"expected shape \(3, 2\), got a direction 'x' of shape \(3, 1\)"):
        jvp(layer, x, dx=torch.zeros(3, 1))
    with pytest.raises(ValueError, match="expected one of log_scale, bias, got a direction 'scale'"):
        jvp(layer, x, dparameters={"scale": torch.zeros(2)})
    with pytest.raises(ValueError, match="expected a direction of the output or of the logdet"):
        vjp(layer, x)
    with pytest.raises(ValueError, match=r"expected directions of shapes \(3, 2\) and \(3,\), got"):
        vjp(layer, x, dy=torch.zeros(2, 2))
