"""Operators made of operators: ``A B``, ``A + B``, ``[A; B]``, ``w A`` and ``M A`` with a mask ``M``.

Each maker takes linear and nonlinear operators alike; if one part is nonlinear, so is the result, and its linearisation
follows the chain rule: ``J(x) = J_A(B(x)) J_B(x)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch

from bayesinv.physics.combined import Added, AddedNonlinear, Composed, ComposedNonlinear, Stacked, StackedNonlinear
from bayesinv.physics.elementwise import Diagonal, Restriction
from bayesinv.physics.operator import AnyOperator, as_linear, has_complex_data, is_linear

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
