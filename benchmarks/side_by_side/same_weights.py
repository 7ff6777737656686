"""The weights of a flow of bayesinv, put into the plain net."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bayesinv.flows import Flow
from bayesinv.reversible import LU, ActNorm, Coupling, Householder
from side_by_side.plain_net import PlainGlow, PlainStep

__all__ = ["awaken", "copied", "ordered"]


def awaken(flow: Flow, x: Tensor, *, size: float = 0.1) -> None:
    """Lets ActNorm see a batch, and draws last layers so that raw scales and shifts are of about ``size``."""
    with torch.no_grad():
        flow.map(x)
        for layer in flow.modules():
            if isinstance(layer, Coupling):
                last = _convolutions(layer.network)[-1]
                for parameter in last.parameters():
                    parameter.normal_(0, size / last.weight[0].numel() ** 0.5)


def copied(flow: Flow, net: PlainGlow) -> PlainGlow:
    """The plain net with the weights of the flow."""
    steps = [part for part in net.modules() if isinstance(part, PlainStep)]
    layers = [part for part in flow.modules() if isinstance(part, (ActNorm, LU, Householder, Coupling))]
    with torch.no_grad():
        for target, source in zip(ordered(net), ordered(flow), strict=True):
            target.copy_(source)
        mixed = [step for step in steps if step.mixed and step.net == "relu"]
        for step, layer in zip(mixed, [layer for layer in layers if isinstance(layer, LU)], strict=True):
            step.order.copy_(layer.order)
            step.sign.copy_(layer.sign)
    return net


def ordered(model: Flow | PlainGlow) -> list[nn.Parameter]:
    """All parameters, layer by layer: scale and bias of ActNorm, the rotation, the network."""
    found: list[nn.Parameter] = []
    for part in model.modules():
        if isinstance(part, (ActNorm, PlainStep)):
            found += [part.log_scale, part.bias]
        if isinstance(part, Householder) or (isinstance(part, PlainStep) and part.mixed and part.net == "glow"):
            found.append(part.vectors)
        if isinstance(part, LU) or (isinstance(part, PlainStep) and part.mixed and part.net == "relu"):
            found.append(part.factors)
        if isinstance(part, Coupling) or (isinstance(part, PlainStep) and part.coupled):
            found += [p for layer in _convolutions(part.network) for p in (layer.weight, layer.bias)]
    return found


def _convolutions(network: nn.Module) -> list[nn.Module]:
    return [part for part in network.modules() if hasattr(part, "kernel_size")]
