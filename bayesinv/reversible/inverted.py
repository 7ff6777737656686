"""`Inverted`: a map the other way round, ``y = f^{-1}(x)``; shares its parameters with the map it is made of."""

from __future__ import annotations

from torch import Tensor

from bayesinv.reversible.base import Backward, Condition, Reversible

__all__ = ["Inverted"]


class Inverted(Reversible):
    """The inverse of ``inner`` as a map: its `forward` is the `inverse` of ``inner``, and the other way round.

    Example:
        >>> import torch
        >>> from bayesinv.reversible import Chain, Householder, Inverted
        >>> rotation, x = Householder(4), torch.randn(2, 4)
        >>> torch.allclose(Chain(rotation, Inverted(rotation))(x)[0], x, atol=1e-5)
        True
    """

    def __init__(self, inner: Reversible) -> None:
        super().__init__()
        self.inner = inner

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        return self.inner._inverse(x, cond)

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        return self.inner._forward(y, cond)

    def _backward(self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor) -> Backward:
        return self.inner._inverse_backward(y, cond, grad_y, grad_logdet)

    def _inverse_backward(self, x: Tensor, cond: Condition, grad_x: Tensor, grad_logdet: Tensor) -> Backward:
        return self.inner._backward(x, cond, grad_x, grad_logdet)
