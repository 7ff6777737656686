"""Small dense flows with smooth conditioners, whose expansion can be set: the patients of the drift tests."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bayesinv.reversible import ActNorm, Chain, Coupling, Householder


def smooth_flow(depth: int, *, last: float = 0.0, hidden: int = 8) -> Chain:
    """``depth`` steps of Glow on four numbers; ``last`` is the standard deviation of the conditioners' last weights."""
    torch.manual_seed(0)
    maps = []
    for _ in range(depth):
        end = nn.Linear(hidden, 4)
        nn.init.zeros_(end.bias)
        nn.init.normal_(end.weight, 0.0, last)
        maps += [ActNorm(4), Householder(4), Coupling(nn.Sequential(nn.Linear(2, hidden), nn.Tanh(), end), passive=2)]
    return Chain(*maps)


def data(n: int, *, seed: int) -> Tensor:
    """Two normal numbers and a noisy parabola of each."""
    draws = torch.Generator().manual_seed(seed)
    first = torch.randn(n, 2, generator=draws)
    return torch.cat([first, (first**2 - 1) / 1.4 + 0.3 * torch.randn(n, 2, generator=draws)], 1)


def loss(net: Chain, x: Tensor, *, plain: bool = False) -> Tensor:
    """The negative log-likelihood, without constants."""
    z, logdet = net._forward(x, None) if plain else net(x)
    return ((z**2).sum(1) / 2 - logdet).mean()


def gradients(net: Chain, x: Tensor, *, plain: bool = False) -> list[Tensor]:
    return list(torch.autograd.grad(loss(net, x, plain=plain), list(net.parameters())))
