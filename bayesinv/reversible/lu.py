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

from bayesinv.reversible.base import Backward, Condition, Gradients, Reversible
from bayesinv.reversible.pixels import as_image, as_rows, full_precision
from bayesinv.reversible.pixelwise import Matrix

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

    def _upper(self) -> Tensor:
        """``R``."""
        return self.factors.triu(1) + torch.diag(self.sign * self.factors.diagonal().exp())

    def _product(self, upper: Tensor) -> Tensor:
        """``W = P L R``."""
        return torch.addmm(upper, self.factors.tril(-1), upper)[self.order]

    def _solved(self, upper: Tensor) -> Tensor:
        """``W^{-1}``; the first solve reads nothing of ``F`` but ``L``, below the diagonal."""
        unit = torch.eye(len(upper), dtype=upper.dtype, device=upper.device)
        inverse = torch.linalg.solve_triangular(self.factors, unit, upper=False, unitriangular=True)
        solved: Tensor = torch.linalg.solve_triangular(upper, inverse, upper=True)
        return solved[:, self.order]

    def _sum(self) -> Tensor:
        """``sum log|s|``."""
        return self.factors.diagonal().sum()

    def _logdet(self, x: Tensor) -> Tensor:
        return (math.prod(x.shape[2:]) * self._sum()).to(x.dtype).repeat(x.shape[0])

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        with full_precision(x):
            return as_image(as_rows(x, len(self.sign)) @ self._product(self._upper()).T, x), self._logdet(x)

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        with full_precision(y):
            return as_image(as_rows(y, len(self.sign)) @ self._solved(self._upper()).T, y), -self._logdet(y)

    def _backward(self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor) -> Backward:
        with full_precision(y):
            rows, grad_rows = as_rows(y, len(self.sign)), as_rows(grad_y, len(self.sign))
            upper = self._upper()
            x, grad_x = rows @ self._solved(upper).T, grad_rows @ self._product(upper)
            grads: Gradients = {}
            if self.factors.requires_grad:
                of_logs = math.prod(y.shape[2:]) * grad_logdet.sum()
                grads = self._gradients(upper, grad_rows.T @ x, of_logs)
        return as_image(x, y), as_image(grad_x, y), None, grads

    def _inverse_backward(self, x: Tensor, cond: Condition, grad_x: Tensor, grad_logdet: Tensor) -> Backward:
        with full_precision(x):
            rows, grad_rows = as_rows(x, len(self.sign)), as_rows(grad_x, len(self.sign))
            upper = self._upper()
            y, grad_y = rows @ self._product(upper).T, grad_rows @ self._solved(upper)
            grads: Gradients = {}
            if self.factors.requires_grad:
                of_logs = -math.prod(x.shape[2:]) * grad_logdet.sum()
                grads = self._gradients(upper, -grad_y.T @ rows, of_logs)
        return as_image(y, x), as_image(grad_y, x), None, grads

    def _has_matrix(self) -> bool:
        return True

    def _matrix(self) -> Matrix:
        upper = self._upper()
        zero = upper.new_zeros(len(upper))

        def pull(of_matrix: Tensor, of_bias: Tensor, of_logdet: Tensor) -> Gradients:
            return self._gradients(upper, of_matrix.T, of_logdet) if self.factors.requires_grad else {}

        return Matrix(self._product(upper).T, lambda: self._solved(upper).T, zero, self._sum, pull)

    def _gradients(self, upper: Tensor, grad_weight: Tensor, grad_sum: Tensor) -> Gradients:
        """The gradient of ``F`` from those of ``W`` and of ``sum log|s|``."""
        grad_product = torch.empty_like(grad_weight).index_copy_(0, self.order, grad_weight)
        grad_upper = torch.addmm(grad_product, self.factors.tril(-1).T, grad_product)
        on_diagonal = torch.addcmul(grad_sum, upper.diagonal(), grad_upper.diagonal())
        grads = (grad_product @ upper.T).tril_(-1).add_(grad_upper.triu_(1))
        grads.diagonal().copy_(on_diagonal)
        return {self.factors: grads}
