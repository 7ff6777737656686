r"""`Run`: neighbouring maps that are affine in the channels of each pixel, applied as the one such map that they make.

On rows (pixels) map ``i`` is ``X_i = X_{i-1} M_i + b_i``; their composition ``Y = X M + b``, ``M = M_1 ... M_n``, has
``logdet = pixels * sum_i l_i``. Backward, with ``G = dY``:

    X = (Y - b) M^{-1},   dX = G M^T,   dM = X^T G,   db = sum G,

and map by map, as products of small matrices, from the last one to the first: with ``x P + p`` what map ``i`` sees,
``dM_i = P^T dM + p^T db``, ``db_i = db``, then ``dM <- dM M_i^T``, ``db <- db M_i^T``. The pixels are gone through
once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain, count, groupby
from typing import Any

import torch
from torch import Tensor, nn

from bayesinv.reversible.gradients import Backward, Condition, Gradients, add_gradients
from bayesinv.reversible.matrices import Composition
from bayesinv.reversible.pixels import as_image, as_rows, full_precision, sum_of_rows
from bayesinv.reversible.tiles import looked_into

__all__ = ["Run", "together"]

_CACHE = 2**17  # numbers
_TOGETHER = 2**14  # numbers of the matrices that are computed at once
_Maps = tuple[Any, ...]


class Run:
    """The composition of maps that each have a matrix; stands in for them within a `Chain`."""

    def __init__(self, maps: Sequence[nn.Module]) -> None:
        self.maps: _Maps = tuple(maps)
        self._group: tuple[_Maps, ...] = (self.maps,)
        self._place, self._held = (0, 0), dict[int, Composition]()  # which group, and which of it

    def modules(self) -> Iterator[nn.Module]:
        """The maps."""
        return iter(self.maps)

    def parameters(self) -> Iterator[nn.Parameter]:
        """Those of all maps."""
        return chain.from_iterable(one.parameters() for one in self.maps)

    def numbers(self) -> int:
        """Those of the largest matrix."""
        return max(int(max(t.shape)) ** 2 for one in self.maps for t in one._tensors())

    def kind(self) -> tuple[Any, ...]:
        """What runs alike have in common."""
        return tuple((type(one), *[(t.shape, t.dtype, t.device) for t in one._tensors()]) for one in self.maps)

    def _composed(self) -> tuple[Composition, int]:
        """All that depends on no pixel, maybe of other runs beside, and which of them this one is."""
        if len(self._group) == 1:
            return Composition(self._group), 0
        group, number = self._place
        if group not in self._held:
            self._held.clear()  # those of the group before, which this pass is done with
            self._held[group] = Composition(self._group)
        return self._held[group], number

    def _one_by_one(self, x: Tensor, *, inverted: bool) -> tuple[Tensor, Tensor]:
        """As differentiable torch."""
        total = x.new_zeros(x.shape[0])
        for one in reversed(self.maps) if inverted else self.maps:
            x, logdet = (one._inverse if inverted else one._forward)(x, None)
            total = total + logdet
        return x, total

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        if looked_into():
            return self._one_by_one(x, inverted=False)
        with full_precision(x):
            made, j = self._composed()
            matrix, bias = (found[j] for found in made.first[-1])
            y = as_image((as_rows(x, len(matrix)) @ matrix).add_(bias), x)  # faster than `addmm` of a vector
        return y, _logdet(made, j, x)

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        if looked_into():
            return self._one_by_one(y, inverted=True)
        with full_precision(y):
            made, j = self._composed()
            inverse = made.inverse[j]
            x = as_image((as_rows(y, len(inverse)) @ inverse).sub_(made.shift[j]), y)
        return x, -_logdet(made, j, y)

    def _backward(self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor) -> Backward:
        return self._back(y, grad_y, grad_logdet, inverted=False, owned=False)

    def _inverse_backward(self, x: Tensor, cond: Condition, grad_x: Tensor, grad_logdet: Tensor) -> Backward:
        return self._back(x, grad_x, grad_logdet, inverted=True, owned=False)

    def _backward_in_place(
        self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor, *, inverted: bool
    ) -> Backward:
        return self._back(y, grad_y, grad_logdet, inverted=inverted, owned=True)

    def _back(self, y: Tensor, grad_y: Tensor, grad_logdet: Tensor, *, inverted: bool, owned: bool) -> Backward:
        """Some rows at a time, which stay in the cache; in place where ``owned``."""
        with full_precision(y):
            made, j = self._composed()
            matrix, bias = (found[j] for found in made.first[-1])
            inverse, shift = made.inverse[j], made.shift[j]
            rows, grad_rows = as_rows(y, len(matrix)), as_rows(grad_y, len(matrix))
            x, grad_x = (rows, grad_rows) if owned else (torch.empty_like(rows), torch.empty_like(grad_rows))
            of_matrix, of_bias = torch.zeros_like(matrix), sum_of_rows(grad_rows)
            if inverted:
                of_bias = -(inverse @ of_bias)
            learns = any(t.requires_grad for one in self.maps for t in one._tensors())
            blocks = math.ceil(len(rows) * rows.stride(0) / _CACHE) if rows.is_cpu else 1
            some = [t.tensor_split(max(1, blocks)) for t in (rows, grad_rows, x, grad_x)]
            for part, grad, new, grad_new in zip(*some, strict=True):
                if inverted:
                    grad_new.copy_(grad @ inverse.T)
                    if learns:
                        of_matrix.addmm_(part.T, grad_new, alpha=-1)
                    torch.add(part @ matrix, bias, out=new)
                else:
                    torch.sub(part @ inverse, shift, out=new)
                    if learns:
                        of_matrix.addmm_(new.T, grad)
                    grad_new.copy_(grad @ matrix.T)
            of_logdet = math.prod(y.shape[2:]) * grad_logdet.sum() * (-1 if inverted else 1)
            grads = self._gradients(made, j, of_matrix, of_bias, of_logdet) if learns else Gradients()
        return as_image(x, y), as_image(grad_x, y), None, grads

    def _gradients(self, made: Composition, j: int, of_matrix: Tensor, of_bias: Tensor, of_logdet: Tensor) -> Gradients:
        """Map by map, from the last one to the first."""
        grads: Gradients = {}
        for i in reversed(range(len(self.maps))):
            tensors, of_this = self.maps[i]._tensors(), of_matrix
            if i:
                before, shift = made.first[i - 1]
                of_this = torch.addr(before[j].T @ of_matrix, shift[j], of_bias)
            if any(t.requires_grad for t in tensors):
                found = made.parts[i].pull(j, of_this, of_bias, of_logdet)
                add_gradients(grads, {t: g for t, g in zip(tensors, found, strict=False) if t.requires_grad})
            if i:
                matrix = made.parts[i].matrix[j]
                of_matrix, of_bias = of_matrix @ matrix.T, matrix @ of_bias
        return grads


def together(runs: Sequence[Run]) -> None:
    """Lets the runs of one pass compute their matrices with those of alike neighbours, of some at a time."""
    held: dict[int, Composition] = {}
    groups = count()
    for _, alike in groupby(runs, key=Run.kind):
        waiting = list(alike)
        most = max(1, _TOGETHER // waiting[0].numbers())
        for start in range(0, len(waiting), most):
            some, group = waiting[start : start + most], next(groups)
            maps = tuple(run.maps for run in some)  # not the runs, which would hold each other
            for number, run in enumerate(some):
                run._group, run._place, run._held = maps, (group, number), held


def _logdet(made: Composition, j: int, x: Tensor) -> Tensor:
    return (math.prod(x.shape[2:]) * made.logdet[j]).to(x.dtype).expand(x.shape[0])
