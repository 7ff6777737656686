r"""Linear-Gaussian problems whose posterior is known: ``x ~ N(m, C)``, ``y = A x + sigma e``.

A posterior is learnt for ``x* = x + tau e``, ``tau`` its target noise, so the exact one is ``N(mean(y), G + tau^2 I)``
with
``G = (A^T A / sigma^2 + C^{-1})^{-1}``, ``mean(y) = m + G A^T (y - A m) / sigma^2``.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from bayesinv.inference import Posterior, Problem
from bayesinv.physics import Axis, ForwardModel, GaussianNoise, from_function
from bayesinv.seeding import normal, stream


class Matrix:
    """A dense operator between any shapes."""

    def __init__(self, matrix: Tensor, model_shape: tuple[int, ...], data_shape: tuple[int, ...]) -> None:
        self.matrix, self.model_shape, self.data_shape = matrix, model_shape, data_shape

    def __call__(self, model: Tensor) -> Tensor:
        batch = model.shape[: model.ndim - len(self.model_shape)]
        return (model.flatten(-len(self.model_shape)) @ self.matrix.to(model).T).reshape(*batch, *self.data_shape)

    def adjoint(self, data: Tensor) -> Tensor:
        batch = data.shape[: data.ndim - len(self.data_shape)]
        return (data.flatten(-len(self.data_shape)) @ self.matrix.to(data)).reshape(*batch, *self.model_shape)


class GaussianPrior:
    """``N(mean, factor factor^T)``; `broken` spoils one image."""

    def __init__(
        self, shape: tuple[int, ...], factor: Tensor, *, mean: float = 0.0, broken: dict[int, float] | None = None
    ) -> None:
        self.shape, self.factor, self.mean, self.broken = shape, factor, mean, broken or {}

    def sample(self, n: int, seed: int, *, start: int = 0) -> Tensor:
        white = torch.stack([normal(self.shape, seed, stream("toy"), i).flatten() for i in range(start, start + n)])
        x = (self.mean + white @ self.factor.to(white).T).reshape(n, *self.shape)
        for index, value in self.broken.items():
            if start <= index < start + n:
                x[index - start].view(-1)[0] = value
        return x


class Exact:
    """The exact posterior of ``x + tau e`` in float64."""

    def __init__(self, problem: Problem, tau: float) -> None:
        factor, matrix = problem.prior.factor.double(), problem.forward.operator.matrix.double()
        self.mean_prior, self.matrix, self.shape = problem.prior.mean, matrix, problem.forward.model_shape
        self.sigma = float(problem.forward.noise.level)
        self.inner = torch.linalg.inv(matrix.T @ matrix / self.sigma**2 + torch.linalg.inv(factor @ factor.T))
        self.covariance = self.inner + tau**2 * torch.eye(len(factor), dtype=torch.float64)

    def mean(self, y: Tensor) -> Tensor:
        prior = torch.full((len(self.inner),), self.mean_prior, dtype=torch.float64)
        shift = (y.double().flatten(1) - self.matrix @ prior) @ self.matrix @ self.inner / self.sigma**2
        return (prior + shift).reshape(-1, *self.shape)

    @property
    def std(self) -> Tensor:
        return self.covariance.diagonal().sqrt().reshape(self.shape)

    def log_prob(self, x: Tensor, y: Tensor) -> Tensor:
        law = torch.distributions.MultivariateNormal(self.mean(y).flatten(1), self.covariance)
        return law.log_prob(x.double().flatten(1))


def correlated(size: int, length: float) -> Tensor:
    """A factor of the Matern-3/2 covariance of unit variance on a line, with a nugget."""
    distance = math.sqrt(3) * (torch.arange(size)[:, None] - torch.arange(size)).abs().double() / length
    covariance = (1 + distance) * torch.exp(-distance) + 1e-3 * torch.eye(size, dtype=torch.float64)
    return torch.linalg.cholesky(covariance)


def blur(size: int, width: float) -> Tensor:
    weights = torch.exp(-0.5 * ((torch.arange(size)[:, None] - torch.arange(size)).double() / width) ** 2)
    return weights / weights.sum(1).max()


def line_problem(size: int = 16, *, noise: Any = None, **prior: Any) -> Problem:
    """Deblurring on a line of `size` pixels; reversing the line commutes with the blur."""
    shape = (1, size)
    forward = ForwardModel(
        Matrix(blur(size, 1.0), shape, shape),
        noise or GaussianNoise(0.1, relative=False),
        model_axes=(Axis("x", "mm", 0.1 * torch.arange(size).numpy()),),
        mirror=("x",),
        quantity="density",
        unit="kg/m3",
    )
    return Problem(GaussianPrior(shape, 2 * correlated(size, 4.0), mean=prior.pop("mean", 1.0), **prior), forward)


def dense_problem() -> Problem:
    """Four correlated numbers seen through three sums."""
    factor = torch.tensor([[1.0, 0, 0, 0], [0.7, 0.6, 0, 0], [0, 0.3, 1.2, 0], [-0.4, 0, 0.2, 0.5]])
    matrix = torch.tensor([[1.0, 0.5, 0, 0], [0, 1, -1, 0], [0, 0, 0.3, 1.0]])
    forward = ForwardModel(Matrix(matrix, (4,), (3,)), GaussianNoise(0.3, relative=False))
    return Problem(GaussianPrior((4,), factor, mean=0.5), forward)


def nonlinear_problem(size: int = 8, *, bounds: tuple[float, float] | None = None) -> Problem:
    """``F(x) = B exp(x / 4)`` for a blur ``B``: its linearisation is ``B diag(exp(x / 4)) / 4``."""
    matrix, shape = blur(size, 1.0), (1, size)
    low, high = bounds or (-math.inf, math.inf)

    def forward(x: Tensor) -> Tensor:
        if not bool(((x >= low) & (x <= high)).all()):
            raise ValueError("out of bounds")
        return (x / 4).exp() @ matrix.to(x).T

    operator = from_function(forward, model_shape=shape, data_shape=shape)
    prior = GaussianPrior(shape, (0.5 if bounds else 1.0) * correlated(size, 3.0), mean=1.0)
    return Problem(prior, ForwardModel(operator, GaussianNoise(0.05 if bounds is None else 0.01), bounds=bounds))


def square_problem(size: int = 8, *, noise: Any = None) -> Problem:
    """Deblurring of a Gaussian field on a square."""
    line = blur(size, 1.0)
    shape = (1, size, size)
    factor = torch.kron(correlated(size, 3.0), correlated(size, 3.0))
    forward = ForwardModel(Matrix(torch.kron(line, line), shape, shape), noise or GaussianNoise(0.1, relative=False))
    return Problem(GaussianPrior(shape, factor), forward)


def tiny(problem: Problem, **build: Any) -> Posterior:
    """An untrained posterior that is quick to train a little."""
    return Posterior.build(problem, **{"steps": 1, "hidden": 8, "levels": 1} | build)


def same_state(one: Any, other: Any) -> bool:
    """Whether two modules or state dicts agree to the bit."""
    first, second = (m.state_dict() if isinstance(m, torch.nn.Module) else m for m in (one, other))
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)
