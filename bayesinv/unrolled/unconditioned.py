"""`Unconditioned`: a map that is kept from the condition, ``y = f(x)`` whatever ``cond`` is."""

from __future__ import annotations

from torch import Tensor

from bayesinv.reversible import Condition, Reversible
from bayesinv.reversible.gradients import Backward

__all__ = ["Unconditioned"]


class Unconditioned(Reversible):
    """Makes ``inner`` a link of a chain whose condition is meant for others, such as data on a grid of their own.

    Example:
        >>> import torch
        >>> from bayesinv.reversible import Conditioner, Coupling
        >>> layer = Unconditioned(Coupling(Conditioner(1, 2, hidden=4, rank=1), passive=1))
        >>> layer(torch.randn(3, 2, 8), torch.randn(3, 1, 50))[0].shape
        torch.Size([3, 2, 8])
    """

    def __init__(self, inner: Reversible) -> None:
        super().__init__()
        self.inner = inner

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        return self.inner._forward(x, None)

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        return self.inner._inverse(y, None)

    def _backward(self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor) -> Backward:
        return self.inner._backward(y, None, grad_y, grad_logdet)

    def _inverse_backward(self, x: Tensor, cond: Condition, grad_x: Tensor, grad_logdet: Tensor) -> Backward:
        return self.inner._inverse_backward(x, None, grad_x, grad_logdet)
