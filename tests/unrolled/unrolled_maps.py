"""The registry of reversible maps with an operator inside. To put one under all laws, add one line to `MAPS`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pylops
import torch
from reversible_parts import Case, coupling
from torch import Tensor, nn

from bayesinv.physics import Operator, from_pylops
from bayesinv.unrolled import MisfitGradient, MisfitStep, Unconditioned, irim_loop


class Matrix:
    """``A (batch, rows, columns)`` or ``(rows, columns)`` between flattened images and records."""

    def __init__(self, matrix: Tensor, model_shape: tuple[int, ...], data_shape: tuple[int, ...]) -> None:
        self.matrix, self.model_shape, self.data_shape = matrix, model_shape, data_shape

    def __call__(self, model: Tensor) -> Tensor:
        flat = model.flatten(-len(self.model_shape)).to(self.matrix.to(model).dtype)
        out = (self.matrix.to(flat) @ flat[..., None])[..., 0]
        return out.reshape(*out.shape[:-1], *self.data_shape)

    def adjoint(self, data: Tensor) -> Tensor:
        flat = data.flatten(-len(self.data_shape))
        out = (self.matrix.to(flat).mH @ flat[..., None])[..., 0]
        return out.reshape(*out.shape[:-1], *self.model_shape)


class Curved:
    """``F(x) = A x + (B x)^2 / 4``: nonlinear, with torch's derivatives of every order."""

    def __init__(self, model_shape: tuple[int, ...], data_shape: tuple[int, ...], seed: int = 0) -> None:
        self.model_shape, self.data_shape = model_shape, data_shape
        self.a, self.b = (matrix(model_shape, data_shape, seed + i) for i in range(2))

    def __call__(self, model: Tensor) -> Tensor:
        return self.a(model) + self.b(model).square() / 4

    def linearize(self, model: Tensor) -> Operator:
        return Tangent(self, model)


class Tangent:
    """``J(x) = A + diag(B x) B / 2``."""

    def __init__(self, operator: Curved, at: Tensor) -> None:
        self.operator, self.at = operator, at
        self.model_shape, self.data_shape = operator.model_shape, operator.data_shape

    def __call__(self, model: Tensor) -> Tensor:
        return self.operator.a(model) + self.operator.b(self.at) * self.operator.b(model) / 2

    def adjoint(self, data: Tensor) -> Tensor:
        return self.operator.a.adjoint(data) + self.operator.b.adjoint(self.operator.b(self.at) * data) / 2


def matrix(model_shape: tuple[int, ...], data_shape: tuple[int, ...], seed: int = 0) -> Matrix:
    rows, columns = int(np.prod(data_shape)), int(np.prod(model_shape))
    draws = torch.Generator().manual_seed(seed)
    return Matrix(torch.randn(rows, columns, generator=draws).double() / columns**0.5, model_shape, data_shape)


def normal(model_shape: tuple[int, ...]) -> Matrix:
    """``A^H A``."""
    inner = matrix(model_shape, (5,)).matrix
    return Matrix(inner.T @ inner, model_shape, model_shape)


def blur() -> Any:
    """A PyLops operator on 4x3 images."""
    return from_pylops(pylops.Smoothing2D((3, 3), (4, 3)))


def masked(mask: Tensor) -> Matrix:
    """A mask a record."""
    return Matrix(torch.diag_embed(mask.flatten(1)), (1, 5), (1, 5))


class Warp(nn.Module):
    """A learnable ``psi``: two channels of the estimate to one of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.7, -0.4]))

    def forward(self, estimate: Tensor) -> Tensor:
        return torch.atan(torch.einsum("c,bcx->bx", self.weight.to(estimate), estimate))[:, None]


def loop(operator: Any, *, iterations: int = 2, memory: int = 2, **options: Any) -> Any:
    settings: dict[str, Any] = {"hidden": 4, "dilations": (1, 2)} | options
    return irim_loop(operator, iterations=iterations, memory=memory, **settings)


def gradient(operator: Any, **options: Any) -> MisfitGradient:
    return MisfitGradient(operator, **options)


MAPS: dict[str, Case] = {
    "step-1d": Case(lambda: MisfitStep(gradient(matrix((1, 5), (1, 7))), channels=1), (3, 5), (1, 7)),
    "step-two-channels": Case(lambda: MisfitStep(gradient(matrix((2, 4), (3,))), channels=2), (4, 4), (3,)),
    "step-nonlinear": Case(lambda: MisfitStep(gradient(Curved((1, 4), (1, 6))), channels=1), (2, 4), (1, 6)),
    "step-psi": Case(lambda: MisfitStep(gradient(matrix((1, 4), (6,)), psi=Warp()), channels=2), (5, 4), (6,)),
    "step-own-operators": Case(lambda: MisfitStep(gradient(masked), channels=1), (3, 5), ((1, 5), (5,))),
    "unconditioned": Case(lambda: Unconditioned(coupling(3, 1)), (3, 5), (1, 7)),
    "loop-dense": Case(lambda: loop(matrix((3,), (4,)), memory=4, dilations=(1,)), (7,), (4,)),
    "loop-1d": Case(lambda: loop(matrix((1, 5), (1, 7))), (3, 5), (1, 7)),
    "loop-2d-pylops": Case(lambda: loop(blur(), memory=3), (4, 4, 3), (1, 4, 3)),
    "loop-3d": Case(lambda: loop(matrix((1, 2, 3, 2), (6,)), iterations=1), (3, 2, 3, 2), (6,)),
    "loop-affine": Case(lambda: loop(matrix((1, 5), (1, 7)), coupling="affine"), (3, 5), (1, 7)),
    "loop-hint": Case(lambda: loop(matrix((1, 4), (1, 6)), iterations=1, memory=4, coupling="hint"), (5, 4), (1, 6)),
    "loop-shared": Case(lambda: loop(matrix((1, 5), (1, 7)), iterations=3, shared=True), (3, 5), (1, 7)),
    "loop-two-channels": Case(lambda: loop(matrix((2, 4), (5,)), memory=3), (5, 4), (5,)),
    "loop-nonlinear": Case(lambda: loop(Curved((1, 4), (1, 6))), (3, 4), (1, 6)),
    "loop-nonlinear-psi": Case(lambda: loop(Curved((1, 4), (1, 6)), psi=torch.tanh), (3, 4), (1, 6)),
    "loop-psi": Case(lambda: loop(matrix((1, 4), (6,)), shape=(2, 4), psi=Warp()), (4, 4), (6,)),
    "loop-own-operators": Case(lambda: loop(masked, shape=(1, 5)), (3, 5), ((1, 5), (5,))),
    "loop-gauss-newton": Case(lambda: loop(normal((1, 6)), gauss_newton=True), (3, 6), (1, 6)),
}
