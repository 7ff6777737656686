"""Side by side with peers' code: the same weights give the same outputs and log-determinants, both ways."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bayesinv.reversible import (
    LU,
    ActNorm,
    Chain,
    Concatenated,
    Coupling,
    Inverted,
    Reversible,
    arctan_scale,
    sigmoid_scale,
    squeeze,
)

# The peers' own use of what torch and numpy will drop.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:torch.lu is deprecated:UserWarning")

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


def assert_same(ours: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor]) -> None:
    """Outputs of order one, log-determinants relative to their size."""
    bound = TOLERANCE[ours[0].dtype]
    assert float((ours[0] - theirs[0]).detach().abs().max()) <= bound
    assert float((ours[1] - theirs[1]).detach().abs().max()) <= bound * max(1.0, float(theirs[1].detach().abs().max()))


def awake(peer: nn.Module) -> nn.Module:
    """Random parameters: a fresh coupling is the identity and would agree with anything."""
    with torch.no_grad():
        for parameter in peer.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return peer


class Apart(nn.Module):
    """A network of normflows, whose shifts and scales alternate, as one with raw scales first."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, a: Tensor) -> Tensor:
        out = self.network(a)
        return torch.cat([out[:, 1::2], out[:, 0::2]], 1)


def glow_block(block: nn.Module, channels: int) -> Reversible:
    """The map of data to latent of normflows' GlowBlock: ActNorm, LU, and ``(x - t) sigmoid(s + 2)``."""
    coupling, mixing, norm = block.flows
    scale = sigmoid_scale(offset=2)
    ours_norm, ours_lu = ActNorm(channels).to(norm.s.dtype), LU(channels).to(norm.s.dtype)
    ours_coupling = Coupling(
        Apart(coupling.flows[1].param_map), passive=(channels + 1) // 2, scale=lambda raw: -scale(raw)
    )
    with torch.no_grad():
        ours_norm.log_scale.copy_(-norm.s.flatten())
        ours_norm.bias.copy_((-norm.t * torch.exp(-norm.s)).flatten())
        ours_norm.initialised.fill_(True)
        ours_lu.factors.copy_(mixing.L.tril(-1) + mixing.U.triu(1) + torch.diag(mixing.log_S))
        ours_lu.sign.copy_(mixing.sign_S)
        ours_lu.order.copy_(mixing.P.argmax(1))
    return Chain(ours_norm, ours_lu, Inverted(ours_coupling))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("channels", [4, 5])
def test_normflows_glow_block(channels: int, dtype: torch.dtype) -> None:
    normflows = pytest.importorskip("normflows")
    block = awake(normflows.flows.GlowBlock(channels, 8)).to(dtype)
    block.flows[2].data_dep_init_done = torch.tensor(1.0)
    ours, x = glow_block(block, channels), torch.randn(3, channels, 6, 4, dtype=dtype)
    assert_same(ours(x), block.inverse(x))
    assert_same(ours.inverse(x), block(x))
    z, logdet = ours(x)
    z_theirs, logdet_theirs = block.inverse(x)
    parameters = list(block.flows[0].parameters())  # the network is the same module in both
    found = torch.autograd.grad(z.square().sum() + logdet.sum(), parameters)
    expected = torch.autograd.grad(z_theirs.square().sum() + logdet_theirs.sum(), parameters)
    for a, b in zip(found, expected, strict=True):
        assert float((a - b).norm()) <= 10 * TOLERANCE[dtype] * max(1.0, float(b.norm()))


def subnet(channels: int, out: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, out, 3, padding=1))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("channels", "clamp"), [(4, 2.0), (5, 1.3)])
@pytest.mark.parametrize("cond", [0, 3])
def test_freia_glow_coupling_block(channels: int, clamp: float, cond: int, dtype: torch.dtype) -> None:
    modules = pytest.importorskip("FrEIA.modules")
    dims_c = [(cond, 6, 4)] if cond else []
    block = modules.GLOWCouplingBlock([(channels, 6, 4)], dims_c, subnet_constructor=subnet, clamp=clamp).to(dtype)
    first, second = block.split_len1, block.split_len2
    ours = Chain(
        Coupling(Concatenated(block.subnet2), passive=second, passive_last=True, scale=arctan_scale(clamp)),
        Coupling(Concatenated(block.subnet1), passive=first, scale=arctan_scale(clamp)),
    )
    x = torch.randn(3, channels, 6, 4, dtype=dtype)
    c = torch.randn(3, cond, 6, 4, dtype=dtype) if cond else None
    listed = [] if c is None else [c]
    (y,), logdet = block((x,), c=listed)
    assert_same(ours(x, c), (y, logdet))
    (back,), logdet = block((x,), c=listed, rev=True)
    assert_same(ours.inverse(x, c), (back, logdet))


@pytest.mark.parametrize("channels", [1, 3])
def test_freia_haar_downsampling(channels: int) -> None:
    """FrEIA has the differences along the last axis before those along the one before."""
    modules = pytest.importorskip("FrEIA.modules")
    haar = modules.HaarDownsampling([(channels, 8, 6)], order_by_wavelet=True)
    x = torch.randn(2, channels, 8, 6)
    (theirs,), logdet = haar((x,))
    low, columns, rows, both = theirs.chunk(4, 1)
    ours = squeeze(x, kind="haar")
    assert float((ours - torch.cat([low, rows, columns, both], 1)).abs().max()) <= 1e-6
    assert abs(logdet) <= 1e-6
    assert not torch.allclose(ours, theirs)


def test_the_scales_of_peers() -> None:
    raw = torch.linspace(-4, 4, 9)
    assert torch.allclose(sigmoid_scale(offset=2)(raw).exp(), torch.sigmoid(raw + 2))
    assert torch.allclose(arctan_scale(1.7)(raw), 1.7 * 0.636 * torch.atan(raw))
    assert torch.allclose(-F.logsigmoid(raw + 2), -sigmoid_scale(offset=2)(raw))
