r"""`watched`: an operator that notes how often it is applied, ``A x`` and ``A^H y``, also by derivatives.

Every application of a forward operator may be a simulation, so that their number is the price of an unrolled network. A
derivative applies the operator, too: the backward pass of ``A x`` is one ``A^H``, and that of this one is one ``A``.
Other than `bayesinv.physics.counted`, which differentiates by the adjoint, this one leaves the derivatives to the
operator itself: those of second order of a nonlinear one, and those in tensors that an operator is made of.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bayesinv.physics import Calls
from bayesinv.physics.operator import AnyOperator, NonlinearOperator, Operator

__all__ = ["watched"]


def watched(operator: AnyOperator, calls: Calls) -> AnyOperator:
    """The same operator, linear or not, which notes in ``calls`` to how many batches it is applied.

    Example:
        >>> import pylops
        >>> from bayesinv.physics import Calls, from_pylops
        >>> calls = Calls()
        >>> derivative = watched(from_pylops(pylops.FirstDerivative((8, 6))), calls)
        >>> x = torch.randn(5, 1, 8, 6, requires_grad=True)
        >>> derivative(x).square().sum().backward()
        >>> calls
        Calls(forward=1, adjoint=1)
    """
    return _Linear(operator, calls) if isinstance(operator, Operator) else _Nonlinear(operator, calls)


class _Watched:
    def __init__(self, operator: AnyOperator, calls: Calls) -> None:
        self.calls = calls
        self.model_shape, self.data_shape = tuple(operator.model_shape), tuple(operator.data_shape)


class _Linear(_Watched):
    def __init__(self, operator: Operator, calls: Calls) -> None:
        super().__init__(operator, calls)
        self.operator = operator

    def __call__(self, model: Tensor) -> Tensor:
        self.calls.forward += 1
        return self.operator(_noted(model, self.calls, adjoint=True))

    def adjoint(self, data: Tensor) -> Tensor:
        self.calls.adjoint += 1
        return self.operator.adjoint(_noted(data, self.calls, adjoint=False))


class _Nonlinear(_Watched):
    def __init__(self, operator: NonlinearOperator, calls: Calls) -> None:
        super().__init__(operator, calls)
        self.operator = operator

    def __call__(self, model: Tensor) -> Tensor:
        self.calls.forward += 1
        return self.operator(_noted(model, self.calls, adjoint=True))

    def linearize(self, model: Tensor) -> Operator:
        return _Linear(self.operator.linearize(model), self.calls)


class _Noted(torch.autograd.Function):
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
        _note(ctx.calls, adjoint=ctx.is_adjoint)
        return _noted(grads[0], ctx.calls, adjoint=not ctx.is_adjoint), None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        _note(ctx.calls, adjoint=not ctx.is_adjoint)
        tangent: Tensor = tangents[0]
        return tangent.view_as(tangent)


def _noted(tensor: Tensor, calls: Calls, *, adjoint: bool) -> Tensor:
    found: Tensor = _Noted.apply(tensor, calls, adjoint)  # type: ignore[no-untyped-call]
    return found


def _note(calls: Calls, *, adjoint: bool) -> None:
    calls.adjoint += adjoint
    calls.forward += not adjoint
