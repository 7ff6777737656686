"""The products, sums and stacks that `algebra` makes, of linear parts and, by the chain rule, of nonlinear ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce

import torch

from bayesinv.physics.operator import AnyOperator, Operator, as_linear, check_batch, has_complex_data

__all__ = ["Added", "AddedNonlinear", "Composed", "ComposedNonlinear", "Stacked", "StackedNonlinear"]


class _Combined:
    """Parts and their shapes."""

    def __init__(self, parts: Sequence[AnyOperator]) -> None:
        self.parts = tuple(parts)
        self.model_shape, self.data_shape = tuple(parts[-1].model_shape), tuple(parts[0].data_shape)

    @property
    def complex_data(self) -> bool:
        return has_complex_data(self.parts[0])

    def _linear(self) -> tuple[Operator, ...]:
        return tuple(as_linear(part) for part in self.parts)


class _Product(_Combined):
    @property
    def complex_data(self) -> bool:
        answer = False
        for part in reversed(self.parts):  # a part of complex models may have real data, as a real part has
            answer = has_complex_data(part) or (answer and not getattr(part, "complex_model", False))
        return answer

    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        return reduce(lambda x, part: part(x), reversed(self.parts), model)


class Composed(_Product):
    """``A B x``; see :func:`bayesinv.physics.compose`."""

    def adjoint(self, data: torch.Tensor) -> torch.Tensor:
        """``B^H A^H y``."""
        return reduce(lambda y, part: part.adjoint(y), self._linear(), data)


class ComposedNonlinear(_Product):
    """``F(G(x))``; see :func:`bayesinv.physics.compose`."""

    def linearize(self, model: torch.Tensor) -> Operator:
        """``J_F(G(x)) J_G(x)``."""
        factors: list[Operator] = []
        for part in reversed(self.parts):
            factors.insert(0, _linearized(part, model))
            model = part(model)
        return Composed(factors)


class _Sum(_Combined):
    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        return reduce(torch.add, [part(model) for part in self.parts])


class Added(_Sum):
    """``A x + B x``; see :func:`bayesinv.physics.add`."""

    def adjoint(self, data: torch.Tensor) -> torch.Tensor:
        """``A^H y + B^H y``."""
        return reduce(torch.add, [part.adjoint(data) for part in self._linear()])


class AddedNonlinear(_Sum):
    """``F(x) + G(x)``; see :func:`bayesinv.physics.add`."""

    def linearize(self, model: torch.Tensor) -> Operator:
        """``J_F(x) + J_G(x)``."""
        return Added([_linearized(part, model) for part in self.parts])


class _Experiments(_Combined):
    def __init__(self, parts: Sequence[AnyOperator]) -> None:
        super().__init__(parts)
        self.shapes = [tuple(part.data_shape) for part in parts]
        self.on_one_grid = len({shape[1:] for shape in self.shapes}) == 1
        self.sizes = [shape[0] if self.on_one_grid else math.prod(shape) for shape in self.shapes]
        self.data_shape = (sum(self.sizes), *self.shapes[0][1:]) if self.on_one_grid else (1, sum(self.sizes))

    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        records = [part(model) for part in self.parts]
        if not self.on_one_grid:
            records = [
                y.flatten(y.ndim - len(shape)).unsqueeze(-2) for y, shape in zip(records, self.shapes, strict=True)
            ]
        return torch.cat(records, dim=-len(self.data_shape) if self.on_one_grid else -1)

    def split(self, data: torch.Tensor) -> list[torch.Tensor]:
        """The data of each experiment."""
        check_batch(data, self.data_shape, "data")
        records = torch.split(data, self.sizes, dim=-len(self.data_shape) if self.on_one_grid else -1)
        batch = data.shape[: data.ndim - len(self.data_shape)]
        return [y.reshape(*batch, *shape) for y, shape in zip(records, self.shapes, strict=True)]


class Stacked(_Experiments):
    """``[A x; B x]``; see :func:`bayesinv.physics.stack`."""

    def adjoint(self, data: torch.Tensor) -> torch.Tensor:
        """``A^H y_1 + B^H y_2``."""
        return reduce(torch.add, [part.adjoint(y) for part, y in zip(self._linear(), self.split(data), strict=True)])


class StackedNonlinear(_Experiments):
    """``[F(x); G(x)]``; see :func:`bayesinv.physics.stack`."""

    def linearize(self, model: torch.Tensor) -> Operator:
        """``[J_F(x); J_G(x)]``."""
        return Stacked([_linearized(part, model) for part in self.parts])


def _linearized(operator: AnyOperator, model: torch.Tensor) -> Operator:
    return operator if isinstance(operator, Operator) else operator.linearize(model)
