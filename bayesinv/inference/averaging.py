"""The exponential moving average of the weights, and how to look through it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["copied", "update_average", "with_weights"]


def copied(module: nn.Module) -> dict[str, Tensor]:
    """Copies of all weights and buffers."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


@torch.no_grad()
def update_average(average: dict[str, Tensor], module: nn.Module, decay: float, joint_steps: int) -> None:
    """One step of the average, which begins short and reaches ``decay`` after some joint steps."""
    decay = min(decay, (1 + joint_steps) / (10 + joint_steps))
    now = module.state_dict()
    smooth = [name for name, tensor in now.items() if tensor.is_floating_point()]
    torch._foreach_lerp_([average[name] for name in smooth], [now[name] for name in smooth], 1 - decay)
    for name in now.keys() - set(smooth):
        average[name].copy_(now[name])


@contextmanager
def with_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """The module with other weights, for a while."""
    own = copied(module)
    module.load_state_dict(weights)
    try:
        yield
    finally:
        module.load_state_dict(own)
