r"""`counted`: an operator that counts how often it is applied, ``A x`` and ``A^H y``, also by derivatives.

Every application of a forward operator may be a simulation, so that their number is the price of an unrolled network. A
derivative applies the operator, too: the backward pass of ``A x`` is one ``A^H``, and that of this one is one ``A``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bayesinv.physics.operator import AnyOperator, NonlinearOperator, Operator

__all__ = ["Calls", "counted"]


@dataclass
class Calls:
    """To how many batches an operator has been applied: ``forward`` counts ``A x``, ``adjoint`` counts ``A^H y``.

    For a nonlinear operator they count ``A(x)`` and ``J v``, and ``J^H w``.
    """

    forward: int = 0
    adjoint: int = 0

    @property
    def total(self) -> int:
        """Both together."""
        return self.forward + self.adjoint

    def reset(self) -> None:
        """Counts from zero again."""
        self.forward = self.adjoint = 0

    def note(self, *, adjoint: bool) -> None:
        """One more."""
        if adjoint:
            self.adjoint += 1
        else:
            self.forward += 1


def counted(operator: AnyOperator, calls: Calls) -> AnyOperator:
    """The same operator, linear or not, which notes in ``calls`` how often it is applied.

    Example:
        >>> import pylops
        >>> from bayesinv.physics import from_pylops
        >>> calls = Calls()
        >>> derivative = counted(from_pylops(pylops.FirstDerivative((8, 6))), calls)
        >>> x = torch.randn(5, 1, 8, 6, requires_grad=True)
        >>> derivative(x).square().sum().backward()
        >>> calls
        Calls(forward=1, adjoint=1)
    """
    return _Linear(operator, calls) if isinstance(operator, Operator) else _Nonlinear(operator, calls)


class _Counted:
    def __init__(self, operator: AnyOperator, calls: Calls) -> None:
        self.calls = calls
        self.model_shape, self.data_shape = tuple(operator.model_shape), tuple(operator.data_shape)


class _Linear(_Counted):
    def __init__(self, operator: Operator, calls: Calls) -> None:
        super().__init__(operator, calls)
        self.operator = operator

    def __call__(self, model: Tensor) -> Tensor:
        self.calls.note(adjoint=False)
        return self.operator(_watched(model, self.calls, adjoint=True))

    def adjoint(self, data: Tensor) -> Tensor:
        self.calls.note(adjoint=True)
        return self.operator.adjoint(_watched(data, self.calls, adjoint=False))


class _Nonlinear(_Counted):
    def __init__(self, operator: NonlinearOperator, calls: Calls) -> None:
        super().__init__(operator, calls)
        self.operator = operator

    def __call__(self, model: Tensor) -> Tensor:
        self.calls.note(adjoint=False)
        return self.operator(_watched(model, self.calls, adjoint=True))

    def linearize(self, model: Tensor) -> Operator:
        return _Linear(self.operator.linearize(model), self.calls)


class _Watched(torch.autograd.Function):
    """The identity, which notes that a derivative has passed; and watches the derivative in turn."""

    generate_vmap_rule = True

    @staticmethod
    def forward(tensor: Tensor, calls: Calls, adjoint: bool) -> Tensor:
        return tensor.view_as(tensor)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, ctx.calls, ctx.is_adjoint = inputs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        ctx.calls.note(adjoint=ctx.is_adjoint)
        return _watched(grads[0], ctx.calls, adjoint=not ctx.is_adjoint), None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        ctx.calls.note(adjoint=not ctx.is_adjoint)
        tangent: Tensor = tangents[0]
        return tangent.view_as(tangent)


def _watched(tensor: Tensor, calls: Calls, *, adjoint: bool) -> Tensor:
    found: Tensor = _Watched.apply(tensor, calls, adjoint)  # type: ignore[no-untyped-call]
    return found
