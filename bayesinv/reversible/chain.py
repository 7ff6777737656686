"""`Chain`: maps in a row, ``y = f_n(... f_2(f_1(x)))``, ``logdet = sum_i logdet_i``; keeps one tensor at any depth."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from bayesinv.reversible.base import (
    Backward,
    Condition,
    ConditionGradient,
    Gradients,
    Reversible,
    add_condition_gradients,
    add_gradients,
)
from bayesinv.reversible.tape import back_through, through

__all__ = ["Chain"]


class Chain(Reversible):
    """The composition of reversible maps, first to last; every map gets the same condition.

    Example:
        >>> import torch
        >>> from bayesinv.reversible import ActNorm, Chain, Householder
        >>> y, logdet = Chain(ActNorm(4), Householder(4))(torch.randn(8, 4))
        >>> y.shape, logdet.shape
        (torch.Size([8, 4]), torch.Size([8]))
    """

    def __init__(self, *maps: Reversible) -> None:
        super().__init__()
        for one in maps:
            if not isinstance(one, Reversible):
                raise ValueError(f"expected Reversible maps, got {type(one).__name__}")
        self.maps = nn.ModuleList(maps)

    def __len__(self) -> int:
        return len(self.maps)

    def __iter__(self) -> Iterator[Reversible]:
        return iter(self.maps)  # type: ignore[arg-type]

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        total = x.new_zeros(x.shape[0])
        for i, one in enumerate(self):
            x, logdet = through(self, i, one, x, cond, inverted=False)
            total = total + logdet
        return x, total

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        total = y.new_zeros(y.shape[0])
        for i, one in reversed(list(enumerate(self))):
            y, logdet = through(self, i, one, y, cond, inverted=True)
            total = total + logdet
        return y, total

    def _backward(self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor) -> Backward:
        grad_cond: ConditionGradient = None
        grads: Gradients = {}
        for i, one in reversed(list(enumerate(self))):
            y, grad_y, more_cond, more = back_through(self, i, one, y, cond, grad_y, grad_logdet, inverted=False)
            grad_cond = add_condition_gradients(grad_cond, more_cond)
            add_gradients(grads, more)
        return y, grad_y, grad_cond, grads

    def _inverse_backward(self, x: Tensor, cond: Condition, grad_x: Tensor, grad_logdet: Tensor) -> Backward:
        grad_cond: ConditionGradient = None
        grads: Gradients = {}
        for i, one in enumerate(self):
            x, grad_x, more_cond, more = back_through(self, i, one, x, cond, grad_x, grad_logdet, inverted=True)
            grad_cond = add_condition_gradients(grad_cond, more_cond)
            add_gradients(grads, more)
        return x, grad_x, grad_cond, grads
