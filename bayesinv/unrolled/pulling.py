r"""`pulling`: the value of a function and its vector-Jacobian product, ``f(x)`` and ``w -> f'(x)^H w``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

__all__ = ["pulling"]


def pulling(function: Callable[[Tensor], Tensor], at: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """``f(x)`` and ``w -> f'(x)^H w``, both differentiable again where gradients are on.

    By plain autograd, which allows hooks on saved tensors, and by ``torch.func.vjp`` where only that will do: under a
    transform of ``torch.func``, and in forward mode.

    Example:
        >>> value, pull = pulling(torch.exp, torch.zeros(2))
        >>> value.tolist(), pull(torch.tensor([1.0, 3.0])).tolist()
        ([1.0, 1.0], [1.0, 3.0])
    """
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        value, pull = torch.func.vjp(function, at)[:2]
        return value, lambda cotangent: pull(cotangent)[0]
    twice = torch.is_grad_enabled()
    with torch.enable_grad(), nullcontext() if twice else _passing():
        start = at if at.requires_grad and twice else at.detach().requires_grad_()
        value = function(start)

    def pulled(cotangent: Tensor) -> Tensor:
        return torch.autograd.grad(value, start, cotangent, create_graph=twice)[0]

    return value if twice else value.detach(), pulled


def _passing() -> AbstractContextManager[Any]:
    """Keeps what a graph that is walked at once saves from hooks of the caller, who counts or moves what lasts."""
    return torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor.detach(), lambda tensor: tensor)
