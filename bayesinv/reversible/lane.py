r"""`Lane`: the x lane of a map of two lanes, whose y lane never sees x; ``x -> z`` for given ``y``.

The y lane has the states ``y_i = g_i(y_{i-1})``, ``y_0 = y``. The x lane is ``x_i = S_i(y_i) f_i(x_{i-1}) + T_i(y_i)``.
``logdet = log |det dz/dx|`` is that of the ``f_i`` and of the ``S_i`` alone, so that it belongs to ``log p(x|y)``.
The backward pass computes the last state from ``y`` once more and walks both lanes back together.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bayesinv.reversible.base import (
    Backward,
    Condition,
    ConditionGradient,
    Gradients,
    Reversible,
    add_gradients,
    finest,
)
from bayesinv.reversible.coupling import Coupling

__all__ = ["Lane"]


class Lane(Reversible):
    """``x (batch, channels, *space)`` to ``z``, under the condition ``y (batch, y channels, *space)``, in steps.

    Args:
        y_maps: the maps ``g_i`` of the y lane; the first brings ``y`` to the state that the first crossing sees.
        x_maps: the maps ``f_i`` of the x lane, as many.
        crossings: the couplings ``[y_i; x] -> [y_i; S_i(y_i) x + T_i(y_i)]``, as many; their passive channels are those
            of ``y``.

    Raises:
        ValueError: if the numbers of maps differ, or a crossing changes ``y``.

    Example:
        >>> import torch
        >>> from bayesinv.reversible import ActNorm, Conditioner, Coupling, Householder, Lane
        >>> crossing = Coupling(Conditioner(3, 4, hidden=8, rank=1), passive=3)
        >>> lane = Lane([Householder(3)], [ActNorm(2)], [crossing])
        >>> z, logdet = lane(torch.randn(8, 2, 5), torch.randn(8, 3, 5))
        >>> z.shape, logdet.shape
        (torch.Size([8, 2, 5]), torch.Size([8]))
    """

    def __init__(
        self, y_maps: Sequence[Reversible], x_maps: Sequence[Reversible], crossings: Sequence[Coupling]
    ) -> None:
        super().__init__()
        if not len(y_maps) == len(x_maps) == len(crossings) >= 1:
            raise ValueError(
                f"expected as many maps of y, of x and crossings, got {len(y_maps)}, {len(x_maps)} and {len(crossings)}"
            )
        if len({one.passive for one in crossings}) > 1 or any(one.passive_last for one in crossings):
            raise ValueError("expected crossings that leave all channels of y alone, got some of another split")
        self.y_maps, self.x_maps = nn.ModuleList(y_maps), nn.ModuleList(x_maps)
        self.crossings = nn.ModuleList(crossings)

    def _steps(self) -> list[tuple[Reversible, Reversible, Coupling]]:
        return list(zip(self.y_maps, self.x_maps, self.crossings, strict=True))  # type: ignore[arg-type]

    def _start(self, cond: Condition) -> Tensor:
        own, channels = finest(cond), self.crossings[0].passive
        if own is None or own.shape[1] != channels:
            got = None if own is None else f"one of shape {tuple(own.shape)}"
            raise ValueError(f"expected y as the condition, with {channels} channels, got {got}")
        return own

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        y, total = self._start(cond), x.new_zeros(x.shape[0])
        for y_map, x_map, crossing in self._steps():
            y, _ = y_map._forward(y, None)
            x, first = x_map._forward(x, None)
            x, second = crossing._moved(y, x, None, inverted=False)
            total = total + first + second
        return x, total

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        x, states, total = y, [self._start(cond)], y.new_zeros(y.shape[0])
        for y_map, _, _ in self._steps():
            states.append(y_map._forward(states[-1], None)[0])
        for _, x_map, crossing in reversed(self._steps()):
            x, first = crossing._moved(states.pop(), x, None, inverted=True)
            x, second = x_map._inverse(x, None)
            total = total + first + second
        return x, total

    def _backward(self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor) -> Backward:
        x, grad_x, state = y, grad_y, self._start(cond)
        for y_map, _, _ in self._steps():
            state, _ = y_map._forward(state, None)
        grad_state, none, grads = torch.zeros_like(state), torch.zeros_like(grad_logdet), Gradients()
        for y_map, x_map, crossing in reversed(self._steps()):
            x, grad_x, more, _, of_crossing = crossing._pulled(state, x, None, grad_x, grad_logdet, inverted=False)
            x, grad_x, _, of_x = x_map._backward(x, None, grad_x, grad_logdet)
            state, grad_state, _, of_y = y_map._backward(state, None, grad_state + more, none)
            for found in (of_crossing, of_x, of_y):
                add_gradients(grads, found)
        return x, grad_x, _as_condition(grad_state, cond), grads

    def _inverse_backward(self, x: Tensor, cond: Condition, grad_x: Tensor, grad_logdet: Tensor) -> Backward:
        state, none, grads = self._start(cond), torch.zeros_like(grad_logdet), Gradients()
        of_states: list[Tensor | float] = []
        for y_map, x_map, crossing in self._steps():
            state, _ = y_map._forward(state, None)
            x, grad_x, _, of_x = x_map._inverse_backward(x, None, grad_x, grad_logdet)
            x, grad_x, more, _, of_crossing = crossing._pulled(state, x, None, grad_x, grad_logdet, inverted=True)
            of_states.append(more)
            for found in (of_crossing, of_x):
                add_gradients(grads, found)
        grad_state = torch.zeros_like(state)
        for y_map, _, _ in reversed(self._steps()):
            state, grad_state, _, of_y = y_map._backward(state, None, grad_state + of_states.pop(), none)
            add_gradients(grads, of_y)
        return x, grad_x, _as_condition(grad_state, cond), grads


def _as_condition(grad: Tensor, cond: Condition) -> ConditionGradient:
    return (grad, *[None] * (len(cond) - 1)) if isinstance(cond, tuple) else grad
