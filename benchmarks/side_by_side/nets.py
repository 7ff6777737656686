"""`LINES`: everything that is compared, by name; each makes a `Trainable` from a `Case`, or says why it cannot.

There are two nets, each with a line for every way to train it. ``glow`` is what `bayesinv.flows.glow` builds: Haar
squeezes, Householder 1x1 convolutions, residual networks, and a coupling of what stays with what leaves. ``relu`` does
the work of the peers: reordered pixels, LU 1x1 convolutions, ReLU networks without residual, scales ``sigmoid(r + 2)``.
normflows and FrEIA bring their own nets of that kind.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bayesinv.flows import Flow, glow
from bayesinv.flows.levels import Site, nested
from bayesinv.reversible import LU, ActNorm, Coupling, Reversible, sigmoid_scale
from side_by_side.cases import Case
from side_by_side.peers import Missing, freia, memcnn_step, normflows
from side_by_side.plain_net import Net, PlainGlow, Wrap, relu_network

__all__ = ["IN_BACKWARD", "LINES", "Missing", "Trainable", "ours", "plain"]

TIGHT = 4.5
"""The workspace of the tight lines, in input tensors; no more than what the processor takes by default."""


class Trainable(NamedTuple):
    """A net: its parameters, the negative log-likelihood of a batch, and how it draws."""

    module: nn.Module
    loss: Callable[[Tensor], Tensor]
    sample: Callable[[int], Tensor]


def ours(case: Case, net: Net, *, workspace: int | None = None) -> Flow:
    """The flow of bayesinv."""
    if net == "glow":
        flow = glow(case.shape, levels=case.levels, steps=case.steps, hidden=case.hidden)
    else:
        flow = Flow(
            nested(case.channels, len(case.space), [0] * case.levels, partial(_peers_level, case),
                   squeeze="space-to-depth", split=True),
            case.shape,
        )  # fmt: skip
    if workspace is not None:
        flow.workspace = workspace
    return flow


def _peers_level(case: Case, site: Site) -> list[Reversible]:
    maps: list[Reversible] = []
    for _ in range(case.steps):
        passive = site.channels // 2
        network = relu_network(passive, 2 * (site.channels - passive), hidden=case.hidden, rank=site.rank)
        coupling = Coupling(network, passive=passive, scale=sigmoid_scale(offset=2))
        maps += [ActNorm(site.channels), LU(site.channels), coupling]
    return maps


def plain(
    case: Case, net: Net, *, wrap: Wrap = lambda step: step, channels_last: bool = False, narrow: bool = False
) -> PlainGlow:
    """The same as ordinary modules."""
    return PlainGlow(
        case.shape, net=net, levels=case.levels, steps=case.steps, hidden=case.hidden,
        wrap=wrap, channels_last=channels_last, narrow=narrow,
    )  # fmt: skip


def _density(flow: Flow | PlainGlow) -> Trainable:
    """A flow under maximum likelihood."""
    return Trainable(flow, lambda x: -flow.log_prob(x).mean(), flow.sample)


def _ours(case: Case, *, net: Net) -> Trainable:
    return _density(ours(case, net))


def _tight(case: Case, *, net: Net) -> Trainable:
    flow = ours(case, net, workspace=min(int(TIGHT * case.input_bytes), 32 * 2**20))
    return Trainable(flow, lambda x: -flow.log_prob(x).mean(), partial(flow.sample, batch_size=8))


def _in_backward(case: Case, *, net: Net) -> Trainable:
    """Adam steps within every backward pass of this process, after which there are no gradients."""
    from bayesinv.inference.step_in_backward import StepInBackward

    flow = ours(case, net)
    stepping = StepInBackward(flow, flow.map, torch.optim.Adam(flow.parameters(), lr=1e-5, fused=True))
    entered = ExitStack()
    entered.enter_context(stepping.within())

    def loss(x: Tensor, _: ExitStack = entered) -> Tensor:  # which would be left when nobody held it
        return -flow.log_prob(x).mean()

    return Trainable(flow, loss, flow.sample)


def _narrow(case: Case, *, net: Net) -> Trainable:
    """Networks in bfloat16 by autocast, from which the other layers shield themselves."""
    flow = ours(case, net)
    device = next(flow.parameters()).device.type

    def loss(x: Tensor) -> Tensor:
        with torch.autocast(device, dtype=torch.bfloat16):
            return -flow.log_prob(x).mean()

    def sample(n: int) -> Tensor:
        with torch.autocast(device, dtype=torch.bfloat16):
            return flow.sample(n)

    return Trainable(flow, loss, sample)


def _contiguous(case: Case, *, net: Net) -> Trainable:
    return _density(plain(case, net))


def _channels_last(case: Case, *, net: Net) -> Trainable:
    return _density(plain(case, net, channels_last=True))


def _plain_narrow(case: Case, *, net: Net) -> Trainable:
    return _density(plain(case, net, channels_last=True, narrow=True))


def _checkpoint(case: Case, *, net: Net) -> Trainable:
    return _density(plain(case, net, wrap=lambda step: partial(checkpoint, step, use_reentrant=False)))


def _memcnn(case: Case, *, net: Net) -> Trainable:
    return _density(plain(case, net, wrap=memcnn_step))


WAYS: dict[str, Callable[..., Trainable]] = {
    "bayesinv": _ours,
    "bayesinv tight": _tight,
    "bayesinv bf16": _narrow,
    "plain": _contiguous,
    "plain channels-last": _channels_last,
    "plain bf16": _plain_narrow,
    "checkpoint": _checkpoint,
    "MemCNN": _memcnn,
}
NETS: tuple[Net, ...] = ("glow", "relu")
LINES: dict[str, Callable[[Case], Trainable]] = {
    f"{way} ({net})": partial(make, net=net) for net in NETS for way, make in WAYS.items()
}
LINES |= {"normflows": lambda case: Trainable(*normflows(case)), "FrEIA": lambda case: Trainable(*freia(case))}

# Of which memory alone is compared, as their steps hold more than the loss and its gradients.
IN_BACKWARD: dict[str, Callable[[Case], Trainable]] = {
    f"bayesinv in backward ({net})": partial(_in_backward, net=net) for net in NETS
}
