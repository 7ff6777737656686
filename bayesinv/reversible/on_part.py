"""`OnPart`: a map on some of the channels, ``y = [f(x_part); x_rest]``; multiscale splits are made of it."""

from __future__ import annotations

import torch
from torch import Tensor

from bayesinv.reversible.base import Backward, Condition, ConditionGradient, Reversible, present, storages
from bayesinv.reversible.gradients import given_up

__all__ = ["OnPart"]


class OnPart(Reversible):
    """Applies ``inner`` to the channels ``start`` to ``stop`` and leaves the others alone.

    Args:
        inner: the map of the part, which sees ``(batch, stop - start, *space)``.
        start: first channel of the part.
        stop: one past its last channel.

    Raises:
        ValueError: if the part is empty or reaches past the channels of the input.

    Example:
        >>> import torch
        >>> from bayesinv.reversible import ActNorm, OnPart
        >>> x = torch.randn(5, 4, 8, 8)
        >>> y, _ = OnPart(ActNorm(2), start=0, stop=2)(x)
        >>> torch.equal(y[:, 2:], x[:, 2:])
        True
    """

    def __init__(self, inner: Reversible, *, start: int, stop: int) -> None:
        super().__init__()
        if not 0 <= start < stop:
            raise ValueError(f"expected 0 <= start < stop, got start={start}, stop={stop}")
        self.inner, self.start, self.stop = inner, start, stop

    def _part(self, x: Tensor) -> Tensor:
        if x.shape[1] < self.stop:
            raise ValueError(f"expected at least {self.stop} channels, got a tensor of shape {tuple(x.shape)}")
        return x[:, self.start : self.stop]

    def _joined(self, part: Tensor, x: Tensor) -> Tensor:
        return _whole([x[:, : self.start], part, x[:, self.stop :]])

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        part, logdet = self.inner._forward(self._part(x), cond)
        return self._joined(part, x), logdet

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        part, logdet = self.inner._inverse(self._part(y), cond)
        return self._joined(part, y), logdet

    def _backward(self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor) -> Backward:
        part, grad, grad_cond, grads = self.inner._backward(self._part(y), cond, self._part(grad_y), grad_logdet)
        return self._joined(part, y), self._joined(grad, grad_y), grad_cond, grads

    def _backward_in_place(
        self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor, *, inverted: bool
    ) -> Backward:
        part, grad = self._part(y), self._part(grad_y)
        if part.shape == y.shape:
            return self.inner._backward_in_place(y, cond, grad_y, grad_logdet, inverted=inverted)
        if self.inner._moves():
            return self._backward_in_pieces(y, cond, grad_y, grad_logdet, inverted=inverted)
        new, new_grad, grad_cond, grads = self.inner._backward_in_place(
            part, cond, grad, grad_logdet, inverted=inverted
        )
        held = storages(part, grad)
        if held & storages(*present(grad_cond), *grads.values()):  # autograd hands on a gradient itself
            grads = {parameter: found.clone() for parameter, found in grads.items()}
            grad_cond = _cloned(grad_cond)
        for old, found in ((part, new), (grad, new_grad)):
            if found.data_ptr() != old.data_ptr() or found.stride() != old.stride():
                old.copy_(found.clone() if storages(found) == storages(old) else found)
        return y, grad_y, grad_cond, grads

    def _backward_in_pieces(
        self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor, *, inverted: bool
    ) -> Backward:
        """Copies the pieces and frees the whole, so that ``inner`` can free the part once it has moved it."""
        sizes, pieces = [self.start, self.stop - self.start, y.shape[1] - self.stop], []
        for whole in (y, grad_y):
            pieces.append([piece.clone() for piece in torch.split(whole, sizes, 1)])
            given_up(whole)
        found = self.inner._backward_in_place(pieces[0][1], cond, pieces[1][1], grad_logdet, inverted=inverted)
        pieces[0][1], pieces[1][1], grad_cond, grads = found
        del found
        return _whole(pieces.pop(0)), _whole(pieces.pop(0)), grad_cond, grads

    def _inverse_backward(self, x: Tensor, cond: Condition, grad_x: Tensor, grad_logdet: Tensor) -> Backward:
        part, grad, grad_cond, grads = self.inner._inverse_backward(
            self._part(x), cond, self._part(grad_x), grad_logdet
        )
        return self._joined(part, x), self._joined(grad, grad_x), grad_cond, grads


def _cloned(grad: ConditionGradient) -> ConditionGradient:
    if isinstance(grad, tuple):
        return tuple(None if one is None else one.clone() for one in grad)
    return None if grad is None else grad.clone()


def _whole(pieces: list[Tensor]) -> Tensor:
    """In the layout of the pieces, which `torch.cat` forgets where one of them is empty."""
    return torch.cat([piece for piece in pieces if piece.shape[1]], 1)
