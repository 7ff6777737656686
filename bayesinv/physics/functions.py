"""The two ``autograd.Function``s behind operators that compute outside of torch's tape.

The derivative of ``x -> A x`` is ``A`` itself (forward mode) and ``A^H`` (reverse mode), whose adjoint is ``A`` again;
so one Function that knows its own direction is closed under differentiation. A nonlinear ``F`` has the derivative
``J(x)`` from its own ``linearize``; the derivative of ``J`` in ``x`` is not known, and asking for it raises.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch

from bayesinv.physics.operator import Operator

__all__ = ["LinearComputation", "NonlinearComputation", "apply_linear", "apply_nonlinear", "narrow"]


class LinearComputation(Protocol):
    """What `apply_linear` needs: ``A`` and ``A^H`` as plain computations."""

    def compute(self, tensor: torch.Tensor, adjoint: bool, dtype: torch.dtype | None) -> torch.Tensor:
        """A fresh tensor of that dtype (or of its own, if None), the real part where the dtype is real."""
        ...


class NonlinearComputation(Protocol):
    """What `apply_nonlinear` needs: ``F`` as a plain computation, and its linearisation."""

    def compute(self, model: torch.Tensor) -> torch.Tensor:
        """``F(x)``, a fresh tensor."""
        ...

    def linearize(self, model: torch.Tensor) -> Operator:
        """``J(x)``."""
        ...


def apply_linear(
    tensor: torch.Tensor, operator: LinearComputation, adjoint: bool, dtype: torch.dtype | None = None
) -> torch.Tensor:
    """``A x`` or ``A^H y``, differentiable any number of times in both modes, and under ``torch.func.vmap``."""
    result: torch.Tensor = _Linear.apply(tensor, operator, adjoint, dtype)  # type: ignore[no-untyped-call]
    return result


def apply_nonlinear(model: torch.Tensor, operator: NonlinearComputation) -> torch.Tensor:
    """``F(x)``, differentiable once in both modes; a second derivative raises."""
    result: torch.Tensor = _Nonlinear.apply(model, operator)  # type: ignore[no-untyped-call]
    return result


def narrow(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """``tensor`` in ``dtype``, its real part where that is real."""
    return (tensor.real if tensor.is_complex() and not dtype.is_complex else tensor).to(dtype)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(
        tensor: torch.Tensor, operator: LinearComputation, adjoint: bool, dtype: torch.dtype | None
    ) -> torch.Tensor:
        return operator.compute(tensor, adjoint, dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        tensor, ctx.operator, ctx.is_adjoint, _ = inputs
        ctx.in_dtype, ctx.out_dtype = tensor.dtype, output.dtype

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return apply_linear(grads[0], ctx.operator, not ctx.is_adjoint, ctx.in_dtype), None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> torch.Tensor:
        return apply_linear(tangents[0], ctx.operator, ctx.is_adjoint, ctx.out_dtype)

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        tensor: torch.Tensor,
        operator: LinearComputation,
        adjoint: bool,
        dtype: torch.dtype | None,
    ) -> tuple[torch.Tensor, int]:
        assert in_dims[0] is not None
        return apply_linear(tensor.movedim(in_dims[0], 0), operator, adjoint, dtype), 0


class _Nonlinear(torch.autograd.Function):
    @staticmethod
    def forward(model: torch.Tensor, operator: NonlinearComputation) -> torch.Tensor:
        return operator.compute(model)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        model, ctx.operator = inputs
        ctx.save_for_backward(model)
        ctx.save_for_forward(model)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (model,) = ctx.saved_tensors
        return _derivative(grads[0], model, ctx.operator, True), None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> torch.Tensor:
        (model,) = ctx.saved_tensors
        return _derivative(tangents[0], model, ctx.operator, False)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], model: torch.Tensor, operator: NonlinearComputation
    ) -> tuple[torch.Tensor, int]:
        assert in_dims[0] is not None
        return apply_nonlinear(model.movedim(in_dims[0], 0), operator), 0


class _Derivative(torch.autograd.Function):
    """``J(x) d`` or ``J(x)^H e``; linear in ``d`` or ``e``, and not differentiable in ``x``."""

    @staticmethod
    def forward(
        tensor: torch.Tensor, model: torch.Tensor, operator: NonlinearComputation, adjoint: bool
    ) -> torch.Tensor:
        jacobian = operator.linearize(model.detach())
        return narrow(jacobian.adjoint(tensor), model.dtype) if adjoint else jacobian(tensor)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        _, model, ctx.operator, ctx.is_adjoint = inputs
        ctx.save_for_backward(model)
        ctx.save_for_forward(model)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        if grads[0] is None:
            return None, None, None, None
        if ctx.needs_input_grad[1]:
            raise RuntimeError(_ONCE)
        (model,) = ctx.saved_tensors
        return _derivative(grads[0], model, ctx.operator, not ctx.is_adjoint), None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> torch.Tensor | None:
        if tangents[1] is not None:
            raise RuntimeError(_ONCE)
        (model,) = ctx.saved_tensors
        return None if tangents[0] is None else _derivative(tangents[0], model, ctx.operator, ctx.is_adjoint)

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        tensor: torch.Tensor,
        model: torch.Tensor,
        operator: NonlinearComputation,
        adjoint: bool,
    ) -> tuple[torch.Tensor, int]:
        if in_dims[1] is not None:
            model = model.movedim(in_dims[1], 0)
        if in_dims[0] is not None:
            tensor = tensor.movedim(in_dims[0], 0)
        else:
            tensor = tensor.expand(info.batch_size, *tensor.shape)
        return _derivative(tensor, model, operator, adjoint), 0


_ONCE = (
    "expected at most one differentiation of this nonlinear operator, got a second: the derivative of its Jacobian is "
    "not known (an operator of from_function can be differentiated again)"
)


def _derivative(
    tensor: torch.Tensor, model: torch.Tensor, operator: NonlinearComputation, adjoint: bool
) -> torch.Tensor:
    result: torch.Tensor = _Derivative.apply(tensor, model, operator, adjoint)  # type: ignore[no-untyped-call]
    return result
