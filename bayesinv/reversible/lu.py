r"""`LU`: an invertible 1x1 convolution ``y = W x``, ``W = P L (U + diag s)``; ``logdet = pixels * sum log|s|``.

``P`` is a fixed permutation, ``L`` unit lower triangular, ``U`` strictly upper triangular, ``s`` of fixed signs. One
matrix ``F`` holds them all: ``L`` below, ``U`` above, and ``log|s|`` on its diagonal. With ``R = U + diag s`` and, on
rows (pixels), ``X`` and ``G = dL/dY``:

    Y = X W^T,   dX = G W,   dW = G^T X,   dL = tril(P^T dW R^T, -1),   dR = triu((P L)^T dW),
    dlog|s| = s diag(dR) + pixels * sum_batch dlogdet.

The inverse ``X = Y W^{-T}`` has ``W^{-1}`` from two triangular solves; its ``dW`` is ``-(G W^{-1})^T X``.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from bayesinv.reversible.base import Backward, Condition, Reversible
from bayesinv.reversible.matrices import Matrices
from bayesinv.reversible.pixels import as_image, as_rows, full_precision
from bayesinv.reversible.pixelwise import Run

__all__ = ["LU"]


class LU(Reversible):
    """A learned linear map of the channels in the form of its LU factors.

    Args:
        channels: number of channels ``c``; map and gradient cost ``O(pixels c^2 + c^3)``.
        start: ``"rotation"``, a random one, or ``"identity"``.

    Raises:
        ValueError: if there is no channel, or ``start`` is neither.

    Source: Kingma and Dhariwal, Glow, 2018, arXiv 1807.03039 (section 3.2).

    Example:
        >>> import torch
        >>> x = torch.randn(2, 6, 5, 5)
        >>> y, logdet = LU(6)(x)
        >>> torch.allclose(y.norm(dim=1), x.norm(dim=1), atol=1e-5), bool(logdet.abs().max() < 1e-4)
        (True, True)
    """

    order: Tensor
    sign: Tensor

    def __init__(self, channels: int, *, start: Literal["rotation", "identity"] = "rotation") -> None:
        super().__init__()
        if channels < 1:
            raise ValueError(f"expected at least one channel, got {channels}")
        if start not in ("rotation", "identity"):
            raise ValueError(f"expected start 'rotation' or 'identity', got {start!r}")
        weight = torch.eye(channels, dtype=torch.float64)
        if start == "rotation":
            weight = torch.linalg.qr(torch.randn(channels, channels, dtype=torch.float64)).Q
        permutation, lower, upper = torch.linalg.lu(weight)
        diagonal = upper.diagonal()
        factors = lower.tril(-1) + upper.triu(1) + torch.diag(diagonal.abs().log())
        self.factors = nn.Parameter(factors.to(torch.get_default_dtype()))
        self.register_buffer("order", permutation.argmax(1))  # (P M)[i] = M[order[i]]
        self.register_buffer("sign", diagonal.sign().to(torch.get_default_dtype()))

    def _logdet(self, x: Tensor) -> Tensor:
        return (math.prod(x.shape[2:]) * self.factors.diagonal().sum()).to(x.dtype).repeat(x.shape[0])

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        with full_precision(x):
            weight = _product(self.factors, _upper(self.factors, self.sign), self.order)
            return as_image(as_rows(x, len(weight)) @ weight.T, x), self._logdet(x)

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        with full_precision(y):
            inverse = _solved(self.factors, _upper(self.factors, self.sign), self.order)
            return as_image(as_rows(y, len(inverse)) @ inverse.T, y), -self._logdet(y)

    def _backward(self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor) -> Backward:
        return Run([self])._backward(y, cond, grad_y, grad_logdet)

    def _inverse_backward(self, x: Tensor, cond: Condition, grad_x: Tensor, grad_logdet: Tensor) -> Backward:
        return Run([self])._inverse_backward(x, cond, grad_x, grad_logdet)

    def _has_matrix(self) -> bool:
        return True

    def _tensors(self) -> tuple[Tensor, ...]:
        return self.factors, self.sign, self.order

    @staticmethod
    def _matrices(factors: Tensor, sign: Tensor, order: Tensor) -> Matrices:
        upper = _upper(factors, sign)

        def pull(j: int, of_matrix: Tensor, of_bias: Tensor, of_logdet: Tensor) -> tuple[Tensor, ...]:
            return (_of_factors(factors[j], upper[j], order[j], of_matrix.T, of_logdet),)

        return Matrices(
            _product(factors, upper, order).mT,
            upper.new_zeros(upper.shape[:-1]),
            lambda: factors.diagonal(dim1=-2, dim2=-1).sum(-1),
            lambda: _solved(factors, upper, order).mT,
            pull,
        )


def _upper(factors: Tensor, sign: Tensor) -> Tensor:
    """``R``; as all of these for several ``F`` along the first axes."""
    return factors.triu(1) + torch.diag_embed(sign * factors.diagonal(dim1=-2, dim2=-1).exp())


def _product(factors: Tensor, upper: Tensor, order: Tensor) -> Tensor:
    """``W = P L R``."""
    return (factors.tril(-1) @ upper + upper).take_along_dim(order[..., None], -2)


def _solved(factors: Tensor, upper: Tensor, order: Tensor) -> Tensor:
    """``W^{-1}``; the first solve reads nothing of ``F`` but ``L``, below the diagonal."""
    unit = torch.eye(upper.shape[-1], dtype=upper.dtype, device=upper.device).expand_as(upper)
    inverse = torch.linalg.solve_triangular(factors, unit, upper=False, unitriangular=True)
    solved: Tensor = torch.linalg.solve_triangular(upper, inverse, upper=True)
    return solved.take_along_dim(order[..., None, :], -1)


def _of_factors(factors: Tensor, upper: Tensor, order: Tensor, grad_weight: Tensor, grad_sum: Tensor) -> Tensor:
    """The gradient of ``F`` from those of ``W`` and of ``sum log|s|``."""
    grad_product = torch.empty_like(grad_weight).index_copy_(0, order, grad_weight)
    grad_upper = torch.addmm(grad_product, factors.tril(-1).T, grad_product)
    on_diagonal = torch.addcmul(grad_sum, upper.diagonal(), grad_upper.diagonal())
    grads = (grad_product @ upper.T).tril_(-1).add_(grad_upper.triu_(1))
    grads.diagonal().copy_(on_diagonal)
    return grads
