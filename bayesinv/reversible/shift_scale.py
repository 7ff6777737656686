r"""`ShiftScale`: ``y = (x - t) exp(-s)``, ``(r, t) = cond``, ``s = c + m tanh(r/m)``: the condition's shift and scale.

It is the inverse of `Affine`, with the condition as the raw numbers; ``logdet = -sum s``.
"""

from __future__ import annotations

from torch import Tensor

from bayesinv.reversible.base import Backward, Condition, ConditionGradient, Reversible, finest
from bayesinv.reversible.elementwise import Affine

__all__ = ["ShiftScale"]


class ShiftScale(Reversible):
    r"""The condition's own shift and scale: ``y = (x - t) exp(-s)``, ``(r, t) = cond``, ``s = c + m tanh(r/m)``.

    The head of a summary network: it brings ``x`` near to white noise at full resolution before any coupling.
    The condition has twice as many channels as ``x``: raw log-scales, then shifts. ``logdet = -sum s``.

    Args:
        centre: ``c``, the log-scale where ``r = 0``.
        bound: ``m``.

    Raises:
        ValueError: if ``bound`` is not positive, or the condition has not the shape for ``x``.

    Example:
        >>> import torch
        >>> x = torch.randn(2, 1, 4)
        >>> y, _ = ShiftScale()(x, torch.cat([torch.zeros_like(x), x], 1))
        >>> bool((y == 0).all())
        True
    """

    def __init__(self, *, centre: float = 0.0, bound: float = 2.5) -> None:
        super().__init__()
        self.affine = Affine(bound=bound, centre=centre)

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        return self.affine.inverse(x, _raw(x, cond))

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        return self.affine.forward(y, _raw(y, cond))

    def _backward(self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor) -> Backward:
        x, grad_x, grad = self.affine.inverse_backward(y, _raw(y, cond), grad_y, grad_logdet)
        return x, grad_x, _as_condition(grad, cond), {}

    def _inverse_backward(self, x: Tensor, cond: Condition, grad_x: Tensor, grad_logdet: Tensor) -> Backward:
        y, grad_y, grad = self.affine.backward(x, _raw(x, cond), grad_x, grad_logdet)
        return y, grad_y, _as_condition(grad, cond), {}


def _raw(x: Tensor, cond: Condition) -> Tensor:
    own = finest(cond)
    if own is None or own.shape[1:] != (2 * x.shape[1], *x.shape[2:]):
        got = None if own is None else tuple(own.shape)
        raise ValueError(f"expected a condition with channels 2*{x.shape[1]} and space {tuple(x.shape[2:])}, got {got}")
    return own.to(x.dtype)


def _as_condition(grad: Tensor, cond: Condition) -> ConditionGradient:
    return (grad, *[None] * (len(cond) - 1)) if isinstance(cond, tuple) else grad
