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

    def _triangles(self) -> tuple[Tensor, Tensor]:
        """``L`` and ``R``."""
        unit = torch.eye(len(self.sign), dtype=self.factors.dtype, device=self.factors.device)
        return self.factors.tril(-1) + unit, self.factors.triu(1) + torch.diag(self._s())

    def _s(self) -> Tensor:
        return self.sign * self.factors.diagonal().exp()

    def _product(self, lower: Tensor, upper: Tensor) -> Tensor:
        return (lower @ upper)[self.order]

    def _solved(self, lower: Tensor, upper: Tensor) -> Tensor:
        unit = torch.eye(len(lower), dtype=lower.dtype, device=lower.device)
        inverse = torch.linalg.solve_triangular(lower, unit, upper=False, unitriangular=True)
        solved: Tensor = torch.linalg.solve_triangular(upper, inverse, upper=True)
        return solved[:, self.order]

    def _logdet(self, x: Tensor) -> Tensor:
        return (math.prod(x.shape[2:]) * self.factors.diagonal().sum()).to(x.dtype).repeat(x.shape[0])

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        with full_precision(x):
            return as_image(as_rows(x, len(self.sign)) @ self._product(*self._triangles()).T, x), self._logdet(x)

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        with full_precision(y):
            return as_image(as_rows(y, len(self.sign)) @ self._solved(*self._triangles()).T, y), -self._logdet(y)

    def _backward(self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor) -> Backward:
        with full_precision(y):
            rows, grad_rows = as_rows(y, len(self.sign)), as_rows(grad_y, len(self.sign))
            lower, upper = self._triangles()
            x, grad_x = rows @ self._solved(lower, upper).T, grad_rows @ self._product(lower, upper)
            grads: Gradients = {}
            if self.factors.requires_grad:
                of_logs = math.prod(y.shape[2:]) * grad_logdet.sum()
                grads = self._gradients(lower, upper, grad_rows.T @ x, of_logs)
        return as_image(x, y), as_image(grad_x, y), None, grads

    def _inverse_backward(self, x: Tensor, cond: Condition, grad_x: Tensor, grad_logdet: Tensor) -> Backward:
        with full_precision(x):
            rows, grad_rows = as_rows(x, len(self.sign)), as_rows(grad_x, len(self.sign))
            lower, upper = self._triangles()
            y, grad_y = rows @ self._product(lower, upper).T, grad_rows @ self._solved(lower, upper)
            grads: Gradients = {}
            if self.factors.requires_grad:
                of_logs = -math.prod(x.shape[2:]) * grad_logdet.sum()
                grads = self._gradients(lower, upper, -grad_y.T @ rows, of_logs)
        return as_image(y, x), as_image(grad_y, x), None, grads

    def _has_matrix(self) -> bool:
        return True

    def _matrix(self) -> Matrix:
        factors, (lower, upper) = self.factors.detach(), self._triangles()
        lower, upper = lower.detach(), upper.detach()

        def pull(of_matrix: Tensor, of_bias: Tensor, of_logdet: Tensor) -> Gradients:
            return self._gradients(lower, upper, of_matrix.T, of_logdet) if self.factors.requires_grad else {}

        bias, logdet = factors.new_zeros(len(factors)), factors.diagonal().sum()
        return Matrix(self._product(lower, upper).T, lambda: self._solved(lower, upper).T, bias, logdet, pull)

    def _gradients(self, lower: Tensor, upper: Tensor, grad_weight: Tensor, grad_sum: Tensor) -> Gradients:
        """The gradient of ``F`` from those of ``W`` and of ``sum log|s|``."""
        grad_product = grad_weight[self.order.argsort()]
        grad_lower, grad_upper = grad_product @ upper.T, lower.T @ grad_product
        on_diagonal = upper.diagonal() * grad_upper.diagonal() + grad_sum
        return {self.factors: grad_lower.tril(-1) + grad_upper.triu(1) + torch.diag(on_diagonal)}
