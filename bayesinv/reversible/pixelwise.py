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
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bayesinv.reversible.gradients import Backward, Condition, Gradients, add_gradients
from bayesinv.reversible.pixels import as_image, as_rows, full_precision, sum_of_rows
from bayesinv.reversible.tiles import looked_into

__all__ = ["Matrix", "PullMatrix", "Run"]

_CACHE = 2**17  # numbers
PullMatrix = Callable[[Tensor, Tensor, Tensor], Gradients]


class Matrix(NamedTuple):
    """``M``, what computes its inverse, ``b``, what computes ``l``, and what pulls gradients back to the parameters."""

    matrix: Tensor
    inverse: Callable[[], Tensor]
    bias: Tensor
    logdet: Callable[[], Tensor]
    pull: PullMatrix


class Run:
    """The composition of maps that each give a `Matrix`; stands in for them within a `Chain`."""

    def __init__(self, maps: Sequence[nn.Module]) -> None:
        self.maps = tuple(maps)

    def modules(self) -> Iterator[nn.Module]:
        """The maps."""
        return iter(self.maps)

    def parameters(self) -> Iterator[nn.Parameter]:
        """Those of all maps."""
        return chain.from_iterable(one.parameters() for one in self.maps)

    def _parts(self) -> tuple[list[Matrix], list[tuple[Tensor, Tensor]]]:
        """The maps' matrices, and ``M`` and ``b`` of the first one, of two, ... up to all."""
        parts: list[Matrix] = [one._matrix() for one in self.maps]  # type: ignore[operator]
        matrix, bias = parts[0].matrix, parts[0].bias
        first = [(matrix, bias)]
        for part in parts[1:]:
            matrix, bias = matrix @ part.matrix, torch.addmv(part.bias, part.matrix.T, bias)
            first.append((matrix, bias))
        return parts, first

    def _one_by_one(self, x: Tensor, *, inverted: bool) -> tuple[Tensor, Tensor]:
        """As differentiable torch."""
        total = x.new_zeros(x.shape[0])
        for one in reversed(self.maps) if inverted else self.maps:
            x, logdet = (one._inverse if inverted else one._forward)(x, None)  # type: ignore[operator]
            total = total + logdet
        return x, total

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        if looked_into():
            return self._one_by_one(x, inverted=False)
        with full_precision(x):
            parts, first = self._parts()
            matrix, bias = first[-1]
            y = as_image((as_rows(x, len(matrix)) @ matrix).add_(bias), x)  # faster than `addmm` of a vector
        return y, _logdet(parts, x)

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        if looked_into():
            return self._one_by_one(y, inverted=True)
        with full_precision(y):
            parts, first = self._parts()
            inverse = _inverse(parts)
            x = as_image((as_rows(y, len(inverse)) @ inverse).sub_(first[-1][1] @ inverse), y)
        return x, -_logdet(parts, y)

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
            parts, first = self._parts()
            inverse = _inverse(parts)
            matrix, bias = first[-1]
            shift = bias @ inverse
            rows, grad_rows = as_rows(y, len(matrix)), as_rows(grad_y, len(matrix))
            x, grad_x = (rows, grad_rows) if owned else (torch.empty_like(rows), torch.empty_like(grad_rows))
            of_matrix, of_bias = torch.zeros_like(matrix), sum_of_rows(grad_rows)
            if inverted:
                of_bias = -(inverse @ of_bias)
            step = max(1, _CACHE // rows.stride(0) if rows.is_cpu else len(rows))
            some = [torch.split(t, step) for t in (rows, grad_rows, x, grad_x)]
            for part, grad, new, grad_new in zip(*some, strict=True):
                if inverted:
                    grad_new.copy_(grad @ inverse.T)
                    of_matrix.addmm_(part.T, grad_new, alpha=-1)
                    torch.add(part @ matrix, bias, out=new)
                else:
                    torch.sub(part @ inverse, shift, out=new)
                    of_matrix.addmm_(new.T, grad)
                    grad_new.copy_(grad @ matrix.T)
            of_logdet = math.prod(y.shape[2:]) * grad_logdet.sum() * (-1 if inverted else 1)
            grads = _gradients(parts, first, of_matrix, of_bias, of_logdet)
        return as_image(x, y), as_image(grad_x, y), None, grads


def _inverse(parts: list[Matrix]) -> Tensor:
    """``M^{-1}`` of all."""
    found = parts[0].inverse()
    for part in parts[1:]:
        found = part.inverse() @ found
    return found


def _gradients(
    parts: list[Matrix], first: list[tuple[Tensor, Tensor]], of_matrix: Tensor, of_bias: Tensor, of_logdet: Tensor
) -> Gradients:
    grads: Gradients = {}
    for i in reversed(range(len(parts))):
        if i:
            matrix, bias = first[i - 1]
            add_gradients(grads, parts[i].pull(torch.addr(matrix.T @ of_matrix, bias, of_bias), of_bias, of_logdet))
            of_matrix, of_bias = of_matrix @ parts[i].matrix.T, parts[i].matrix @ of_bias
        else:
            add_gradients(grads, parts[i].pull(of_matrix, of_bias, of_logdet))
    return grads


def _logdet(parts: list[Matrix], x: Tensor) -> Tensor:
    total = sum(part.logdet() for part in parts)
    return (math.prod(x.shape[2:]) * total).to(x.dtype).repeat(x.shape[0])  # type: ignore[union-attr]
