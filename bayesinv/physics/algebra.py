"""Operators made of operators: ``A B``, ``A + B``, ``[A; B]``, ``w A`` and ``M A`` with a mask ``M``.

Each maker takes linear and nonlinear operators alike; if one part is nonlinear, so is the result, and its linearisation
follows the chain rule: ``J(x) = J_A(B(x)) J_B(x)``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from typing import Any

import torch

from bayesinv.physics.operator import (
    AnyOperator,
    Operator,
    as_linear,
    check_batch,
    has_complex_data,
    is_linear,
)

__all__ = ["add", "compose", "diagonal", "identity", "restrict", "scale", "stack"]


def identity(shape: Sequence[int]) -> Diagonal:
    """``y = x`` for images of a shape ``(channels, *space)``.

    Example:
        >>> identity((1, 2, 2)).data_shape
        (1, 2, 2)
    """
    return Diagonal(torch.ones((), dtype=torch.float64), tuple(int(n) for n in shape))


def diagonal(weights: torch.Tensor) -> Diagonal:
    """``y = w x``, elementwise; ``weights (channels, *space)`` real or complex.

    Example:
        >>> diagonal(torch.tensor([[1.0, 2.0]]))(torch.ones(1, 2))
        tensor([[1., 2.]])
    """
    return Diagonal(weights, tuple(weights.shape))


def compose(*operators: AnyOperator) -> Any:
    """``A B C ... x``, the last applied first, as matrices are written.

    Raises:
        ValueError: if the data of one are not the models of the next.

    Example:
        >>> twice = scale(identity((1, 2)), 2.0)
        >>> compose(twice, twice)(torch.ones(1, 2))
        tensor([[4., 4.]])
    """
    _some(operators)
    for outer, inner in pairwise(operators):
        if tuple(outer.model_shape) != tuple(inner.data_shape):
            raise ValueError(
                f"expected an operator with data {tuple(outer.model_shape)} before one with such models, "
                f"got data {tuple(inner.data_shape)}"
            )
    return (Composed if all(map(is_linear, operators)) else ComposedNonlinear)(operators)


def add(*operators: AnyOperator) -> Any:
    """``A x + B x + ...`` for operators of the same shapes.

    Raises:
        ValueError: if the shapes differ, or some data are complex and others real.
    """
    _some(operators)
    shapes = {(tuple(op.model_shape), tuple(op.data_shape)) for op in operators}
    if len(shapes) > 1:
        raise ValueError(f"expected operators of the same (model, data) shapes, got {sorted(shapes)}")
    _same_field(operators)
    return (Added if all(map(is_linear, operators)) else AddedNonlinear)(operators)


def stack(*operators: AnyOperator) -> Any:
    """Several experiments on one image, ``y = [A x; B x; ...]``.

    Data on grids of the same shape are joined along the channels; others are raveled and laid end to end, as
    ``(1, numbers)``.

    Raises:
        ValueError: if the models differ in shape, or some data are complex and others real.

    Example:
        >>> stack(identity((1, 4, 4)), identity((1, 4, 4))).data_shape
        (2, 4, 4)
        >>> stack(identity((1, 4, 4)), restrict(identity((1, 4, 4)), torch.eye(4, dtype=torch.bool)[None])).data_shape
        (1, 20)
    """
    _some(operators)
    models = {tuple(op.model_shape) for op in operators}
    if len(models) > 1:
        raise ValueError(f"expected operators of the same model shape, got {sorted(models)}")
    _same_field(operators)
    return (Stacked if all(map(is_linear, operators)) else StackedNonlinear)(operators)


def scale(operator: AnyOperator, factor: float | torch.Tensor) -> Any:
    """``w A x`` with one number, or one for each datum, such as ``1 / sigma``.

    Args:
        operator: ``A``.
        factor: a number, or a real tensor that broadcasts to ``data_shape``.

    Example:
        >>> scale(identity((1, 2)), 3.0)(torch.ones(1, 2))
        tensor([[3., 3.]])
    """
    weights = torch.as_tensor(factor, dtype=None if isinstance(factor, torch.Tensor) else torch.float64)
    return compose(Diagonal(weights, tuple(operator.data_shape)), operator)


def restrict(operator: AnyOperator, mask: torch.Tensor) -> Any:
    """``M A x``: only the data where a mask is true, ``(1, kept)``, in C order.

    Args:
        operator: ``A``.
        mask: boolean, broadcasts to ``data_shape``.

    Raises:
        ValueError: if the mask is not boolean, does not fit, or keeps nothing.

    Example:
        >>> every_other = torch.tensor([[True, False, True, False]])
        >>> restrict(identity((1, 4)), every_other)(torch.arange(4.0)[None])
        tensor([[0., 2.]])
    """
    return compose(Restriction(mask, tuple(operator.data_shape)), operator)


class Diagonal:
    """``y = w x``; see :func:`diagonal`."""

    def __init__(self, weights: torch.Tensor, shape: tuple[int, ...]) -> None:
        try:
            weights.expand(shape)
        except RuntimeError:
            raise ValueError(f"expected weights that broadcast to {shape}, got {tuple(weights.shape)}") from None
        self.weights, self.model_shape, self.data_shape = weights, shape, shape
        self.complex_data = weights.is_complex()

    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        """``w x``."""
        check_batch(model, self.model_shape, "model")
        return self._weights(model) * model

    def adjoint(self, data: torch.Tensor) -> torch.Tensor:
        """``conj(w) y``."""
        check_batch(data, self.data_shape, "data")
        return self._weights(data).conj() * data

    def _weights(self, like: torch.Tensor) -> torch.Tensor:
        return self.weights.to(like.device, like.dtype.to_complex() if self.complex_data else like.dtype.to_real())


class Restriction:
    """``y = x[mask]``; see :func:`restrict`."""

    def __init__(self, mask: torch.Tensor, shape: tuple[int, ...]) -> None:
        if mask.dtype != torch.bool:
            raise ValueError(f"expected a boolean mask, got {mask.dtype}")
        try:
            full = mask.expand(shape)
        except RuntimeError:
            raise ValueError(f"expected a mask that broadcasts to {shape}, got {tuple(mask.shape)}") from None
        self.kept = full.reshape(-1).nonzero()[:, 0]
        if not len(self.kept):
            raise ValueError("expected a mask that keeps something, got all false")
        self.model_shape, self.data_shape = shape, (1, len(self.kept))
        self.complex_data = False  # of a real model

    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        """The kept values."""
        check_batch(model, self.model_shape, "model")
        flat = model.flatten(model.ndim - len(self.model_shape))
        return flat.index_select(-1, self.kept.to(model.device)).unsqueeze(-2)

    def adjoint(self, data: torch.Tensor) -> torch.Tensor:
        """The kept values in their places, zero elsewhere."""
        check_batch(data, self.data_shape, "data")
        flat = data.new_zeros(*data.shape[:-2], math.prod(self.model_shape))
        return flat.index_copy(-1, self.kept.to(data.device), data.squeeze(-2)).reshape(
            *data.shape[:-2], *self.model_shape
        )


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
    """``A B x``; see :func:`compose`."""

    def adjoint(self, data: torch.Tensor) -> torch.Tensor:
        """``B^H A^H y``."""
        return reduce(lambda y, part: part.adjoint(y), self._linear(), data)


class ComposedNonlinear(_Product):
    """``F(G(x))``; see :func:`compose`."""

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
    """``A x + B x``; see :func:`add`."""

    def adjoint(self, data: torch.Tensor) -> torch.Tensor:
        """``A^H y + B^H y``."""
        return reduce(torch.add, [part.adjoint(data) for part in self._linear()])


class AddedNonlinear(_Sum):
    """``F(x) + G(x)``; see :func:`add`."""

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
    """``[A x; B x]``; see :func:`stack`."""

    def adjoint(self, data: torch.Tensor) -> torch.Tensor:
        """``A^H y_1 + B^H y_2``."""
        return reduce(torch.add, [part.adjoint(y) for part, y in zip(self._linear(), self.split(data), strict=True)])


class StackedNonlinear(_Experiments):
    """``[F(x); G(x)]``; see :func:`stack`."""

    def linearize(self, model: torch.Tensor) -> Operator:
        """``[J_F(x); J_G(x)]``."""
        return Stacked([_linearized(part, model) for part in self.parts])


def _linearized(operator: AnyOperator, model: torch.Tensor) -> Operator:
    return operator if isinstance(operator, Operator) else operator.linearize(model)


def _some(operators: Sequence[AnyOperator]) -> None:
    if not operators:
        raise ValueError("expected one operator or more, got none")
    for operator in operators:
        if not is_linear(operator) and not hasattr(operator, "linearize"):
            as_linear(operator)  # raises, and says what an operator is


def _same_field(operators: Sequence[AnyOperator]) -> None:
    fields = {has_complex_data(operator) for operator in operators}
    if len(fields) > 1:
        raise ValueError("expected operators with data all real or all complex, got both")
