r"""Maps that are affine in the channels of each pixel, as matrices; those of several maps alike are computed at once.

A step has dozens of such maps of a few channels each, whose matrices cost a call each and hardly any arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["Composition", "Matrices", "Pull", "stacked"]

Pull = Callable[[int, Tensor, Tensor, Tensor], tuple[Tensor, ...]]


class Matrices(NamedTuple):
    """Of ``n`` maps ``Y = X M + b`` on rows (pixels), alike in kind and shape.

    ``pull(j, dM, db, dl)`` gives the gradients of the parameters that the ``j``-th map is made of.
    """

    matrix: Tensor  # M (n, c, c)
    bias: Tensor  # b (n, c)
    logdet: Callable[[], Tensor]  # l = log|det M| (n,)
    inverse: Callable[[], Tensor]  # M^{-1} (n, c, c)
    pull: Pull


def stacked(tensors: Sequence[Tensor]) -> Tensor:
    """``torch.stack``, of a single one without a copy.

    Example:
        >>> stacked([torch.zeros(2), torch.ones(2)]).tolist(), stacked([torch.ones(2)]).tolist()
        ([[0.0, 0.0], [1.0, 1.0]], [[1.0, 1.0]])
    """
    return tensors[0][None] if len(tensors) == 1 else torch.stack(list(tensors))


class Composition:
    """``n`` rows of maps, alike in kinds and shapes: ``Y = X M + b`` with ``M = M_1 ... M_k`` for each of them.

    Args:
        rows: ``n`` sequences of ``k`` maps.

    Attributes:
        parts: the `Matrices` of the ``n`` first maps, of the second ones, ...
        first: ``M`` and ``b`` of the first map, of the first two, ... of all.
    """

    def __init__(self, rows: Sequence[Sequence[Any]]) -> None:
        self.parts: list[Matrices] = []
        self.first: list[tuple[Tensor, Tensor]] = []
        for maps in zip(*rows, strict=True):
            tensors = zip(*[one._tensors() for one in maps], strict=True)
            part: Matrices = maps[0]._matrices(*map(stacked, tensors))
            matrix, bias = part.matrix, part.bias
            if self.first:
                before, shift = self.first[-1]
                matrix, bias = before @ matrix, (shift[:, None] @ matrix)[:, 0] + bias
            self.parts.append(part)
            self.first.append((matrix, bias))

    @cached_property
    def inverse(self) -> Tensor:
        """``M^{-1} (n, c, c)``."""
        found = self.parts[0].inverse()
        for part in self.parts[1:]:
            found = part.inverse() @ found
        return found

    @cached_property
    def shift(self) -> Tensor:
        """``b M^{-1} (n, c)``: the inverse is ``X = Y M^{-1} - b M^{-1}``."""
        return (self.first[-1][1][:, None] @ self.inverse)[:, 0]

    @cached_property
    def logdet(self) -> Tensor:
        """``l (n,)``."""
        found = self.parts[0].logdet()
        for part in self.parts[1:]:
            found = found + part.logdet()
        return found
