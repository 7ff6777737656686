r"""`Whitening`: the operator and the data that least squares should see, ``|W (y - A x)|^2``, for noise of any kind.

``W`` makes the noise white, of the standard deviation ``sigma``: the identity for white noise, ``L^-1`` for a colour
``L L^T``, division by the standard deviation over ``sigma`` for noise that grows with the signal. That one is taken
from the data, ``sqrt(y)`` of counts (no less than that of the record's least positive datum), so that it is right where
many are counted.
"""

from __future__ import annotations

from typing import overload

import torch

from bayesinv.physics.noise import Noise
from bayesinv.physics.operator import AnyOperator, NonlinearOperator, Operator

__all__ = ["Whitening"]


class Whitening:
    """``W`` for records of data; call it with a residual ``(*, batch, *data_shape)``.

    Args:
        noise: of the data.
        data: ``y (batch, *data_shape)``.

    Example:
        >>> from bayesinv.physics import PoissonNoise, identity
        >>> y = torch.tensor([[[1.0, 4.0]]])
        >>> white = Whitening(PoissonNoise(100.0), y)
        >>> white(y), white.operator(identity((1, 2)))(torch.ones(1, 1, 2))
        (tensor([[[1., 2.]]]), tensor([[[1.0000, 0.5000]]]))
    """

    def __init__(self, noise: Noise, data: torch.Tensor) -> None:
        self.noise, self.data = noise, data

    def __call__(self, residual: torch.Tensor) -> torch.Tensor:
        """``W r``; the residual itself where the noise is white."""
        return self.noise.whiten(residual, self.data)

    def adjoint(self, residual: torch.Tensor) -> torch.Tensor:
        """``W^H r``, by reverse mode."""
        with torch.enable_grad():
            zero = torch.zeros_like(residual).requires_grad_()
            (result,) = torch.autograd.grad(self(zero), zero, residual)
        return result

    @overload
    def operator(self, operator: Operator) -> Operator: ...
    @overload
    def operator(self, operator: AnyOperator) -> AnyOperator: ...

    def operator(self, operator: AnyOperator) -> AnyOperator:
        """``W A``, or ``W F`` with the linearisation ``W J(x)``; the operator itself where the noise is white."""
        if self(self.data) is self.data:
            return operator
        return _Linear(operator, self) if isinstance(operator, Operator) else _Nonlinear(operator, self)


class _Linear:
    def __init__(self, operator: Operator, white: Whitening) -> None:
        self.inner, self.white = operator, white
        self.model_shape, self.data_shape = operator.model_shape, operator.data_shape

    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        return self.white(self.inner(model))

    def adjoint(self, data: torch.Tensor) -> torch.Tensor:
        return self.inner.adjoint(self.white.adjoint(data))


class _Nonlinear:
    def __init__(self, operator: NonlinearOperator, white: Whitening) -> None:
        self.inner, self.white = operator, white
        self.model_shape, self.data_shape = operator.model_shape, operator.data_shape

    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        return self.white(self.inner(model))

    def linearize(self, model: torch.Tensor) -> Operator:
        return _Linear(self.inner.linearize(model), self.white)
