r"""`Unsqueezed`: a map at double the resolution, ``y = Q f(Q^T x)`` with an orthogonal squeeze ``Q``.

It undoes a `Squeezed` around it, so that a chain can go up again: ``Squeezed(Chain(f, Unsqueezed(g), h))`` runs ``g``
at the resolution of the input.
"""

from __future__ import annotations

from torch import Tensor

from bayesinv.reversible.base import Backward, Condition, ConditionGradient, Reversible
from bayesinv.reversible.squeezed import as_channels_last, one_by_one
from bayesinv.reversible.squeezes import Squeeze, check_kind, squeeze, unsqueeze
from bayesinv.reversible.wavelets import strided

__all__ = ["Unsqueezed", "finer"]


def finer(cond: Condition) -> Condition:
    """The condition of the level above, its pixels repeated; a pyramid keeps its levels below that.

    Example:
        >>> import torch
        >>> finer(torch.tensor([[[1.0, 2.0]]])).tolist()
        [[[1.0, 1.0, 2.0, 2.0]]]
    """
    if cond is None:
        return None
    first = cond[0] if isinstance(cond, tuple) else cond
    for axis in range(2, first.ndim):
        first = first.repeat_interleave(2, axis)
    return (first, *cond) if isinstance(cond, tuple) else first


class Unsqueezed(Reversible):
    """Applies ``inner`` at double resolution, on a ``2^d``-th of the channels.

    Args:
        inner: the map at double resolution, which sees ``(batch, channels/2^d, *2 space)`` and the `finer` condition.
        kind: the squeeze, see `squeeze`.
        states: number of equal groups of channels that are unsqueezed one by one and stay side by side.

    Raises:
        ValueError: if the kind is unknown, or the channels are no multiple of ``2^d states``.

    Example:
        >>> import torch
        >>> from bayesinv.reversible import ActNorm, Chain, Squeezed, Unsqueezed
        >>> x = torch.randn(2, 1, 8, 8)
        >>> around, _ = Squeezed(Chain(ActNorm(4), Unsqueezed(ActNorm(1))))(x)
        >>> around.shape
        torch.Size([2, 1, 8, 8])
    """

    def __init__(self, inner: Reversible, *, kind: Squeeze = "haar", states: int = 1) -> None:
        super().__init__()
        check_kind(kind)
        self.inner, self.kind, self.states = inner, kind, states

    def _up(self, x: Tensor) -> Tensor:
        return as_channels_last(one_by_one(lambda t: unsqueeze(t, kind=self.kind), x, self.states))

    def _down(self, y: Tensor) -> Tensor:
        return as_channels_last(one_by_one(lambda t: squeeze(t, kind=self.kind), y, self.states))

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        y, logdet = self.inner._forward(self._up(x), finer(cond))
        return self._down(y), logdet

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        x, logdet = self.inner._inverse(self._up(y), finer(cond))
        return self._down(x), logdet

    def _backward(self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor) -> Backward:
        x, grad_x, grad_cond, grads = self.inner._backward(
            self._up(y), _finer_leaf(cond), self._up(grad_y), grad_logdet
        )
        return self._down(x), self._down(grad_x), _adjoint(grad_cond), grads

    def _inverse_backward(self, x: Tensor, cond: Condition, grad_x: Tensor, grad_logdet: Tensor) -> Backward:
        y, grad_y, grad_cond, grads = self.inner._inverse_backward(
            self._up(x), _finer_leaf(cond), self._up(grad_x), grad_logdet
        )
        return self._down(y), self._down(grad_y), _adjoint(grad_cond), grads


def _finer_leaf(cond: Condition) -> Condition:
    """`finer` for the backward pass, which runs without grad: the repeated pixels still ask for the gradient."""
    fine = finer(cond)
    if isinstance(fine, tuple) and isinstance(cond, tuple):
        return (fine[0].detach().requires_grad_(cond[0].requires_grad), *cond)
    if isinstance(fine, Tensor) and isinstance(cond, Tensor):
        return fine.detach().requires_grad_(cond.requires_grad)
    return None


def _adjoint(grad: ConditionGradient) -> ConditionGradient:
    """The adjoint of `finer`: sums over the blocks, and for a pyramid the gradient of its own first level on top."""
    if grad is None:
        return None
    first = grad[0] if isinstance(grad, tuple) else grad
    if first is not None:
        for axis in range(2, first.ndim):
            first = strided(first, axis, 0) + strided(first, axis, 1)
    if not isinstance(grad, tuple):
        return first
    own = grad[1]
    return (own if first is None else first if own is None else first + own, *grad[2:])
