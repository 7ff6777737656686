r"""`Squeezed`: a map at half the resolution, ``y = Q^T f(Q x)`` with an orthogonal squeeze ``Q``, ``log |det Q| = 0``.

`Unsqueezed` is its mirror image, a map at double the resolution: ``y = Q f(Q^T x)``. As ``Q`` is orthogonal, gradients
pass through it as values do.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from bayesinv.reversible.base import Backward, Condition, ConditionGradient, Reversible, storages
from bayesinv.reversible.gradients import given_up
from bayesinv.reversible.squeezes import Squeeze, check_even, check_kind, squeeze, unsqueeze
from bayesinv.reversible.wavelets import strided

__all__ = ["Squeezed", "as_channels_last", "coarser", "coarser_adjoint", "coarser_leaf", "one_by_one"]


Back = Callable[[Tensor, Condition, Tensor, Tensor], Backward]


def coarser(cond: Condition) -> Condition:
    """The condition of the next level: the rest of a pyramid, or the block means of one tensor.

    Raises:
        ValueError: if the pyramid ends here, or the tensor has an axis that cannot be halved.

    Example:
        >>> import torch
        >>> coarser(torch.tensor([[[1.0, 3.0, 5.0, 5.0]]])).tolist()
        [[[2.0, 5.0]]]
    """
    if cond is None:
        return None
    if isinstance(cond, tuple):
        if len(cond) < 2:
            raise ValueError("expected a condition pyramid with one tensor a level, got one that ends above this level")
        return cond[1:]
    if cond.ndim > 2:
        check_even(cond)
    for axis in range(2, cond.ndim):
        cond = (strided(cond, axis, 0) + strided(cond, axis, 1)) / 2
    return cond


class Squeezed(Reversible):
    """Applies ``inner`` at half resolution, on ``2^d`` times the channels; of dense input only the pyramid goes down.

    Args:
        inner: the map at half resolution, which sees ``(batch, 2^d channels, *space/2)`` and the coarser condition.
        kind: the squeeze, see `squeeze`.
        states: number of equal groups of channels that are squeezed one by one and stay side by side, such as the two
            states of a `Hyperbolic`.

    Raises:
        ValueError: if the kind is unknown, a size odd, or the channels are no multiple of ``states``.

    Example:
        >>> import torch
        >>> from bayesinv.reversible import ActNorm, Squeezed
        >>> y, _ = Squeezed(ActNorm(4))(torch.randn(2, 1, 8, 8))
        >>> y.shape
        torch.Size([2, 1, 8, 8])
    """

    def __init__(self, inner: Reversible, *, kind: Squeeze = "haar", states: int = 1) -> None:
        super().__init__()
        check_kind(kind)
        self.inner, self.kind, self.states = inner, kind, states

    def _down(self, x: Tensor) -> Tensor:
        if x.ndim == 2:
            return x
        return as_channels_last(one_by_one(lambda t: squeeze(t, kind=self.kind), x, self.states))

    def _up(self, y: Tensor) -> Tensor:
        if y.ndim == 2:
            return y
        return as_channels_last(one_by_one(lambda t: unsqueeze(t, kind=self.kind), y, self.states))

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        y, logdet = self.inner._forward(self._down(x), coarser(cond))
        return self._up(y), logdet

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        x, logdet = self.inner._inverse(self._down(y), coarser(cond))
        return self._up(x), logdet

    def _backward(self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor) -> Backward:
        return self._back(y, cond, grad_y, grad_logdet, inverted=False, owned=False)

    def _inverse_backward(self, x: Tensor, cond: Condition, grad_x: Tensor, grad_logdet: Tensor) -> Backward:
        return self._back(x, cond, grad_x, grad_logdet, inverted=True, owned=False)

    def _backward_in_place(
        self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor, *, inverted: bool
    ) -> Backward:
        return self._back(y, cond, grad_y, grad_logdet, inverted=inverted, owned=True)

    def _moves(self) -> bool:
        return True

    def _back(
        self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor, *, inverted: bool, owned: bool
    ) -> Backward:
        """On copies at half resolution; what is ``owned`` goes once it is copied."""
        given: list[Tensor] = []
        for whole in (y, grad_y):
            given.append(self._down(whole))
            if owned and not storages(whole) & storages(given[-1]):
                given_up(whole)
        if owned or len(storages(y, grad_y, *given)) == 2 + len(storages(y, grad_y)):
            back: Back = partial(self.inner._backward_in_place, inverted=inverted)
        else:
            back = self.inner._inverse_backward if inverted else self.inner._backward
        x, grad_x, grad_cond, grads = back(given.pop(0), coarser_leaf(cond), given.pop(), grad_logdet)
        x = self._up(x)
        return x, self._up(grad_x), coarser_adjoint(grad_cond, cond), grads


def coarser_leaf(cond: Condition) -> Condition:
    """`coarser` for the backward pass, which runs without grad: the block means still ask for the gradient.

    Example:
        >>> coarser_leaf(torch.zeros(1, 1, 2, requires_grad=True)).requires_grad
        True
    """
    coarse = coarser(cond)
    if isinstance(coarse, Tensor) and isinstance(cond, Tensor):
        coarse = coarse.detach().requires_grad_(cond.requires_grad)
    return coarse


def coarser_adjoint(grad: ConditionGradient, cond: Condition) -> ConditionGradient:
    """The adjoint of `coarser`: the gradient of ``cond`` from that of the coarser one.

    Example:
        >>> coarser_adjoint(torch.ones(1, 1, 2), torch.zeros(1, 1, 4)).tolist()
        [[[0.5, 0.5, 0.5, 0.5]]]
    """
    if isinstance(cond, tuple):
        return (None, *grad) if isinstance(grad, tuple) else (None,) * len(cond)
    if isinstance(grad, Tensor):
        for axis in range(2, grad.ndim):
            grad = grad.repeat_interleave(2, axis) / 2
    return grad


def one_by_one(change: Callable[[Tensor], Tensor], x: Tensor, states: int) -> Tensor:
    """``change`` of each of the equal groups of channels.

    Raises:
        ValueError: if the channels are no multiple of ``states``.

    Example:
        >>> one_by_one(lambda t: t.flip(1), torch.arange(4).view(1, 4), 2).tolist()
        [[1, 0, 3, 2]]
    """
    if states == 1:
        return change(x)
    if states < 1 or x.shape[1] % states:
        raise ValueError(f"expected a multiple of {states} channels, got a tensor of shape {tuple(x.shape)}")
    changed = change(x.reshape(x.shape[0] * states, x.shape[1] // states, *x.shape[2:]))
    return changed.reshape(x.shape[0], changed.shape[1] * states, *changed.shape[2:])


def as_channels_last(x: Tensor) -> Tensor:
    """2-D convolutions run faster on this memory format; other ranks are left as they are.

    Example:
        >>> as_channels_last(torch.zeros(1, 2, 3, 3)).stride()
        (18, 1, 6, 2)
    """
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x
