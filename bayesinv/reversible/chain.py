"""`Chain`: maps in a row, ``y = f_n(... f_2(f_1(x)))``, ``logdet = sum_i logdet_i``; keeps one tensor at any depth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from bayesinv.reversible.base import (
    Backward,
    Condition,
    ConditionGradient,
    Gradients,
    Reversible,
    add_condition_gradients,
    add_gradients,
    present,
    storages,
)
from bayesinv.reversible.pixelwise import Run, together
from bayesinv.reversible.tape import back_through, handed_out, through
from bayesinv.reversible.tiles import looked_into

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

    holds_maps = True

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

    def _parts(self, *, inverted: bool) -> list[tuple[int, Reversible]]:
        """The maps with their numbers; neighbours that are matrices for each pixel as one (see `Run`).

        A run bears the number of the map that sees its input, so that it is known by it also where it is not one run:
        an `ActNorm` becomes a matrix with its first batch.
        """
        parts: list[tuple[int, Any]] = []
        run: list[Reversible] = []
        for i, one in enumerate([*self, None]):
            if isinstance(one, Reversible) and not looked_into() and one._has_matrix():
                run.append(one)
                continue
            if run:
                parts.append((i - 1 if inverted else i - len(run), Run(run)))
            parts += [] if one is None else [(i, one)]
            run = []
        together([part for _, part in parts if isinstance(part, Run)])
        return parts

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        total = x.new_zeros(x.shape[0])
        for i, one in self._parts(inverted=False):
            x, logdet = through(self, i, one, x, cond, inverted=False)
            total = total + logdet
        return x, total

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        total = y.new_zeros(y.shape[0])
        for i, one in reversed(self._parts(inverted=True)):
            y, logdet = through(self, i, one, y, cond, inverted=True)
            total = total + logdet
        return y, total

    def _backward(self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor) -> Backward:
        return self._walked(y, cond, grad_y, grad_logdet, inverted=False, owned=False)

    def _inverse_backward(self, x: Tensor, cond: Condition, grad_x: Tensor, grad_logdet: Tensor) -> Backward:
        return self._walked(x, cond, grad_x, grad_logdet, inverted=True, owned=False)

    def _backward_in_place(
        self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor, *, inverted: bool
    ) -> Backward:
        return self._walked(y, cond, grad_y, grad_logdet, inverted=inverted, owned=True)

    def _walked(
        self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor, *, inverted: bool, owned: bool
    ) -> Backward:
        """From map to map; ``owned`` says that what has come out of a map is held by nobody else."""
        grad_cond: ConditionGradient = None
        grads: Gradients = {}
        given = set() if owned else storages(y, grad_y)
        parts = self._parts(inverted=inverted)
        for i, one in parts if inverted else reversed(parts):
            y, grad_y, more_cond, more = back_through(
                self, i, one, y, cond, grad_y, grad_logdet, inverted=inverted, owned=owned
            )
            new = storages(y, grad_y)
            given |= new & storages(*present(more_cond), *more.values())  # autograd hands on a gradient itself
            owned = len(given | new) == len(given) + 2
            more = handed_out(one, more)
            grad_cond = add_condition_gradients(grad_cond, more_cond)
            add_gradients(grads, more)
        return y, grad_y, grad_cond, grads
