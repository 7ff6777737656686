r"""`Householder`: an orthogonal 1x1 convolution, ``y = H_1 ... H_k x``, ``H_i = I - 2 v_i v_i^T / |v_i|^2``; logdet 0.

In compact form ``H_1 ... H_k = I - V T V^T`` with ``T^{-1} = M = striu(V^T V) + diag(V^T V)/2``, so that map, inverse
and gradient cost ``O(P c k)`` for ``P`` pixels, ``c`` channels, ``k`` reflections; with ``k >= c/2`` the matrix is
assembled first. On rows (pixels) ``X, G = dL/dY``:

    Y = X - (X V) T^T V^T,   dX = G - (G V) T V^T,
    dV = -(G^T X V) T^T - (X^T G V) T + V (K + K^T),   dM = T^T V^T (G^T X V) T^T,   K = striu(dM) + diag(dM)/2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bayesinv.reversible.base import Backward, Condition, Gradients, Reversible
from bayesinv.reversible.matrices import Matrices
from bayesinv.reversible.pixels import as_image, as_rows, full_precision

__all__ = ["Householder"]


class Householder(Reversible):
    """A learned rotation of the channels, the product of ``reflections`` Householder reflections.

    Args:
        channels: number of channels ``c``.
        reflections: number ``k`` of reflections; all orthogonal matrices of determinant ``(-1)^k`` need ``k = c``.
            By default the smaller of ``c`` and 16.

    Source: compact form after Joffrain et al., Accumulating Householder transformations, revisited, 2006,
    doi 10.1145/1141885.1141886; reflections in flows: Tomczak and Welling, 2016, arXiv 1611.09630.

    Example:
        >>> import torch
        >>> x = torch.randn(2, 6, 5, 5)
        >>> y, logdet = Householder(6, reflections=3)(x)
        >>> torch.allclose(y.norm(dim=1), x.norm(dim=1), atol=1e-5), logdet.tolist()
        (True, [0.0, 0.0])
    """

    def __init__(self, channels: int, *, reflections: int | None = None) -> None:
        super().__init__()
        reflections = min(channels, 16) if reflections is None else reflections
        if channels < 1 or reflections < 1:
            raise ValueError(f"expected at least one channel and one reflection, got {channels} and {reflections}")
        self.vectors = nn.Parameter(torch.randn(channels, reflections) / channels**0.5)

    def _rows(self, x: Tensor) -> Tensor:
        return as_rows(x, len(self.vectors))

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        with full_precision(x):
            rows, v = self._rows(x), self.vectors
            return as_image(_turned(rows, v, _triangle(v).T), x), x.new_zeros(x.shape[0])

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        with full_precision(y):
            rows, v = self._rows(y), self.vectors
            return as_image(_turned(rows, v, _triangle(v)), y), y.new_zeros(y.shape[0])

    def _backward(self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor) -> Backward:
        with full_precision(y):
            x, grad_x, grads = self._pulled_back(self._rows(y), self._rows(grad_y), inverted=False)
        return as_image(x, y), as_image(grad_x, y), None, grads

    def _inverse_backward(self, x: Tensor, cond: Condition, grad_x: Tensor, grad_logdet: Tensor) -> Backward:
        with full_precision(x):
            y, grad_y, grads = self._pulled_back(self._rows(x), self._rows(grad_x), inverted=True)
        return as_image(y, x), as_image(grad_y, x), None, grads

    def _pulled_back(self, y: Tensor, grad_y: Tensor, *, inverted: bool) -> tuple[Tensor, Tensor, Gradients]:
        """Input and gradients on rows; the inverse is the same map with ``T^T`` in the place of ``T``."""
        v = self.vectors.detach()
        t = _triangle(v).T if inverted else _triangle(v)
        x, grad_x = _turned(y, v, t), _turned(grad_y, v, t)
        if not self.vectors.requires_grad:
            return x, grad_x, {}
        if _few(v):
            x_g_v, g_x_v = x.T @ (grad_y @ v), grad_y.T @ (x @ v)
        else:
            outer = x.T @ grad_y
            x_g_v, g_x_v = outer @ v, outer.T @ v
        return x, grad_x, {self.vectors: _of_vectors(v, x_g_v, g_x_v, t, inverted=inverted)}

    def _has_matrix(self) -> bool:
        """Whether the matrix, assembled once for a `Run`, costs less than what it saves."""
        return len(self.vectors) <= 8 * self.vectors.shape[1]

    def _tensors(self) -> tuple[Tensor, ...]:
        return (self.vectors,)

    @staticmethod
    def _matrices(vectors: Tensor) -> Matrices:
        n, channels, _ = vectors.shape
        t = _triangle(vectors)
        matrix = torch.eye(channels, dtype=t.dtype, device=t.device) - vectors @ t.mT @ vectors.mT

        def pull(j: int, of_matrix: Tensor, of_bias: Tensor, of_logdet: Tensor) -> tuple[Tensor, ...]:
            v = vectors[j]
            return (_of_vectors(v, of_matrix @ v, of_matrix.T @ v, t[j], inverted=False),)

        return Matrices(matrix, t.new_zeros(n, channels), lambda: t.new_zeros(n), lambda: matrix.mT, pull)


def _triangle(v: Tensor) -> Tensor:
    """``T``; of several ``V`` along the first axes."""
    gram = v.mT @ v
    middle = gram.triu(1) + torch.diag_embed(gram.diagonal(dim1=-2, dim2=-1) / 2)
    unit = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    triangle: Tensor = torch.linalg.solve_triangular(middle, unit.expand_as(gram), upper=True)
    return triangle


def _of_vectors(v: Tensor, x_g_v: Tensor, g_x_v: Tensor, t: Tensor, *, inverted: bool) -> Tensor:
    grad_middle = t.T @ (v.T @ g_x_v) @ t.T
    grad_middle = grad_middle.T if inverted else grad_middle
    gram = grad_middle.triu(1) + torch.diag(grad_middle.diagonal() / 2)
    return -g_x_v @ t.T - x_g_v @ t + v @ (gram + gram.T)


def _few(v: Tensor) -> bool:
    """Whether two thin products with ``V`` cost less than one with the assembled matrix."""
    return 2 * v.shape[1] < v.shape[0]


def _turned(rows: Tensor, v: Tensor, t: Tensor) -> Tensor:
    """``rows (I - V T V^T)``."""
    if _few(v):
        return rows - rows @ v @ t @ v.T
    return rows @ (torch.eye(len(v), dtype=v.dtype, device=v.device) - v @ t @ v.T)
