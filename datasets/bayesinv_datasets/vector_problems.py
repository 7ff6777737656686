r"""Vector problems of the simulation-based inference benchmark, with samples of their posteriors to compare with.

========================  =====================  =============================================================
`gaussian_linear`         N(0, 0.1 I), 10        ``y = x + sqrt(0.1) e``
`gaussian_mixture`        U(-10, 10)^2           ``y = x + s e``, ``s`` = 1 or 0.1 with equal probability
`two_moons`               U(-1, 1)^2             ``y = (-|x1 + x2|, x2 - x1) / sqrt 2 + crescent noise``
`slcp`                    U(-3, 3)^5             four points of ``N((x1, x2), S)``: deviations ``x3^2, x4^2``,
                                                 correlation ``tanh x5``
========================  =====================  =============================================================

Reference samples are exact for the first three; of SLCP they are the ends of as many Markov chains.
Sources: Lueckmann, Boelts, Greenberg, Goncalves, Macke 2021 (arXiv 2101.04653); of SLCP Papamakarios, Sterratt, Murray
2019 (arXiv 1805.07226).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bayesinv.physics import ForwardModel, GaussianNoise
from bayesinv.seeding import generator, stream
from bayesinv_datasets.checks import check_request

__all__ = ["VECTOR_PROBLEMS", "Simulator", "VectorProblem", "gaussian_linear", "gaussian_mixture", "slcp", "two_moons"]

Array = np.ndarray


@dataclass(frozen=True)
class _Prior:
    """Uniform on a box, or normal about zero."""

    shape: tuple[int, ...]
    scale: float
    uniform: bool

    def sample(self, n: int, seed: int, *, start: int = 0) -> Tensor:
        """Vectors ``start`` to ``start + n`` of the stream of ``seed``, float32."""
        check_request(n, seed, start)
        key = stream("vector prior")
        rows = []
        for index in range(start, start + n):
            random = generator(seed, key, index)
            rows.append(random.uniform(-1, 1, self.shape) if self.uniform else random.standard_normal(self.shape))
        return torch.from_numpy(self.scale * np.stack(rows)).float()

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density in nats, ``(n,)``."""
        x = x.double()
        if self.uniform:
            inside = (x.abs() <= self.scale).all(1)
            return torch.where(inside, -x.shape[1] * math.log(2 * self.scale), -math.inf)
        constant = x.shape[1] * math.log(self.scale * math.sqrt(2 * math.pi))
        return -0.5 * (x / self.scale).square().sum(1) - constant


class _Mean:
    """The data without noise: a map of vectors, linear or not."""

    def __init__(self, model: int, data: int, function: Callable[[Tensor], Tensor]) -> None:
        self.model_shape, self.data_shape, self.function = (model,), (data,), function

    def __call__(self, model: Tensor) -> Tensor:
        return self.function(model)

    def adjoint(self, data: Tensor) -> Tensor:
        """The transposed derivative at zero, applied to data."""
        zero = torch.zeros(self.model_shape, dtype=data.dtype)
        matrix = torch.autograd.functional.jacobian(self.function, zero)
        return data @ matrix


@dataclass(frozen=True, eq=False)
class Simulator(ForwardModel):
    """A forward model with noise of its own kind: ``draw(clean, x, random)`` and ``density(x, y)``.

    The noise level that it reports is 1: the noise has no other.
    """

    draw: Callable[[Array, Array, np.random.Generator], Array] = field(kw_only=True)
    density: Callable[[Tensor, Tensor], Tensor] = field(kw_only=True)

    def simulate(self, x: Tensor, seed: int, *, start: int = 0) -> tuple[Tensor, Tensor]:
        """Data of vectors; record ``i`` depends on ``(seed, start + i)`` and its vector only."""
        self.check_model(x)
        clean, given, key = self.operator(x).double().numpy(), x.double().numpy(), stream("vector noise")
        rows = [
            self.draw(c, m, generator(seed, key, start + i)) for i, (c, m) in enumerate(zip(clean, given, strict=True))
        ]
        return torch.from_numpy(np.stack(rows)).to(x.dtype), torch.ones(len(x), dtype=x.dtype)

    def log_likelihood(self, x: Tensor, y: Tensor, sigma: Any = 1.0) -> Tensor:
        """``log p(y | x)`` in nats, ``(batch,)``."""
        self.check_model(x)
        return self.density(x.double(), y.double())


@dataclass(frozen=True, eq=False)
class VectorProblem:
    """A prior, a simulator and reference samples; ``bayesinv.Problem(problem.prior, problem.forward)`` trains on it.

    Attributes:
        name: of the problem.
        prior: of the vectors.
        forward: the simulator.
        reference: ``(y, n, seed) -> (n, d)``, samples of the posterior of one record ``y (m,)``.
    """

    name: str
    prior: _Prior
    forward: ForwardModel
    reference: Callable[[Any, int, int], Tensor]

    def sample(self, n: int, seed: int, *, start: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Pairs ``start`` to ``start + n``: ``x (n, d)``, ``y (n, m)`` and noise levels ``(n,)``."""
        x = self.prior.sample(n, seed, start=start)
        y, sigma = self.forward.simulate(x, seed, start=start)
        return x, y, sigma

    def log_posterior(self, x: Tensor, y: Any) -> Tensor:
        """``log p(x) + log p(y | x)`` of vectors ``(n, d)`` for one record ``(m,)``, ``(n,)``; not normalised."""
        record = torch.as_tensor(y).double().reshape(1, -1)
        return self.prior.log_prob(x) + self.forward.log_likelihood(x.double(), record, torch.ones(1).double())


def gaussian_linear() -> VectorProblem:
    """Ten independent Gaussians seen with noise; the posterior is ``N(y / 2, 0.05 I)``.

    Example:
        >>> problem = gaussian_linear()
        >>> problem.reference(torch.ones(10), 1000, 0).mean().round(decimals=1)
        tensor(0.5000)
    """
    deviation = math.sqrt(0.1)
    operator = _Mean(10, 10, lambda x: x.clone())
    forward = ForwardModel(operator, GaussianNoise(deviation, relative=False), name="gaussian-linear")

    def reference(y: Any, n: int, seed: int) -> Tensor:
        white = generator(seed, stream("gaussian linear reference")).standard_normal((n, 10))
        return torch.from_numpy(0.5 * np.asarray(y, dtype=float).reshape(1, 10) + math.sqrt(0.05) * white).float()

    return VectorProblem("gaussian-linear", _Prior((10,), deviation, False), forward, reference)


def gaussian_mixture() -> VectorProblem:
    """The common mean of a wide and a narrow Gaussian in the plane.

    Example:
        >>> gaussian_mixture().reference(torch.zeros(2), 5, 0).shape
        torch.Size([5, 2])
    """

    def draw(clean: Array, _: Array, random: np.random.Generator) -> Array:
        return clean + (1.0 if random.random() < 0.5 else 0.1) * random.standard_normal(2)

    def density(x: Tensor, y: Tensor) -> Tensor:
        square = (y - x).square().sum(1)
        parts = [-0.5 * square / s**2 - math.log(2 * math.pi * s**2) - math.log(2) for s in (1.0, 0.1)]
        return torch.logaddexp(*parts)

    def reference(y: Any, n: int, seed: int) -> Tensor:
        def propose(random: np.random.Generator, count: int) -> Array:
            size = np.where(random.random(count) < 0.5, 1.0, 0.1)[:, None]
            return np.asarray(y, dtype=float).reshape(1, 2) + size * random.standard_normal((count, 2))

        return _inside(propose, 10.0, n, seed, "gaussian mixture reference")

    forward = Simulator(
        _Mean(2, 2, lambda x: x.clone()), _NO_NOISE, name="gaussian-mixture", draw=draw, density=density
    )
    return VectorProblem("gaussian-mixture", _Prior((2,), 10.0, True), forward, reference)


def two_moons() -> VectorProblem:
    """Two crescents: a posterior with two modes of narrow bent shape.

    Example:
        >>> two_moons().reference(torch.zeros(2), 5, 0).shape
        torch.Size([5, 2])
    """
    root = math.sqrt(2.0)

    def mean(x: Tensor) -> Tensor:
        return torch.stack([-(x[..., 0] + x[..., 1]).abs(), x[..., 1] - x[..., 0]], -1) / root

    def crescent(random: np.random.Generator, count: int) -> Array:
        angle, radius = random.uniform(-math.pi / 2, math.pi / 2, count), random.normal(0.1, 0.01, count)
        return np.stack([radius * np.cos(angle) + 0.25, radius * np.sin(angle)], 1)

    def draw(clean: Array, _: Array, random: np.random.Generator) -> Array:
        return clean + crescent(random, 1)[0]

    def density(x: Tensor, y: Tensor) -> Tensor:
        left = y - mean(x) - torch.tensor([0.25, 0.0], dtype=torch.float64)
        radius = left.norm(dim=1)
        value = -0.5 * ((radius - 0.1) / 0.01) ** 2 - math.log(0.01 * math.sqrt(2 * math.pi) * math.pi) - radius.log()
        return torch.where(left[:, 0] > 0, value, -math.inf)

    def reference(y: Any, n: int, seed: int) -> Tensor:
        def propose(random: np.random.Generator, count: int) -> Array:
            clean = np.asarray(y, dtype=float).reshape(1, 2) - crescent(random, count)
            clean = clean[clean[:, 0] <= 0]
            total = root * clean[:, 0] * np.where(random.random(len(clean)) < 0.5, 1, -1)
            return np.stack([0.5 * (total - root * clean[:, 1]), 0.5 * (total + root * clean[:, 1])], 1)

        return _inside(propose, 1.0, n, seed, "two moons reference")

    forward = Simulator(_Mean(2, 2, mean), _NO_NOISE, name="two-moons", draw=draw, density=density)
    return VectorProblem("two-moons", _Prior((2,), 1.0, True), forward, reference)


def slcp() -> VectorProblem:
    """Simple likelihood, complex posterior: four points tell mean and covariance, whose roots have either sign.

    Reference samples come from one Markov chain each: a start by importance resampling among 200,000 draws of the
    prior, then 1,000 Metropolis steps with the covariance of the starts; the signs of ``x3`` and ``x4``, of which the
    likelihood does not depend, are drawn at the end.
    """

    def mean(x: Tensor) -> Tensor:
        return torch.cat([x[..., :2]] * 4, -1)

    def draw(clean: Array, x: Array, random: np.random.Generator) -> Array:
        first, second, correlation = x[2] ** 2, x[3] ** 2, math.tanh(x[4])
        e = random.standard_normal((4, 2))
        along = correlation * e[:, 0] + math.sqrt(1 - correlation**2) * e[:, 1]
        return clean + np.stack([first * e[:, 0], second * along], 1).ravel()

    def density(x: Tensor, y: Tensor) -> Tensor:
        points = (y.reshape(len(y), 4, 2) - x[:, None, :2]) / x[:, None, 2:4].square()
        u, v = points[..., 0], points[..., 1]
        log_rest = -2 * (x[:, 4].abs() + torch.nn.functional.softplus(-2 * x[:, 4].abs()) - math.log(2))  # log sech^2
        rho = torch.tanh(x[:, 4:5])
        square = (u**2 - 2 * rho * u * v + v**2).sum(1) * torch.exp(-log_rest)
        log_det = 2 * (x[:, 2].abs().log() * 2 + x[:, 3].abs().log() * 2) + log_rest
        return -0.5 * square - 2 * log_det - 4 * math.log(2 * math.pi)

    prior = _Prior((5,), 3.0, True)
    forward = Simulator(_Mean(5, 8, mean), _NO_NOISE, name="slcp", draw=draw, density=density)

    def reference(y: Any, n: int, seed: int) -> Tensor:
        record = torch.as_tensor(y).double().reshape(1, 8)
        return _chains(lambda x: prior.log_prob(x) + density(x, record), n, seed)

    return VectorProblem("slcp", prior, forward, reference)


VECTOR_PROBLEMS: dict[str, Callable[[], VectorProblem]] = {
    "gaussian-linear": gaussian_linear,
    "gaussian-mixture": gaussian_mixture,
    "two-moons": two_moons,
    "slcp": slcp,
}
_NO_NOISE = GaussianNoise(1.0, relative=False)


def _inside(
    propose: Callable[[np.random.Generator, int], Array], edge: float, n: int, seed: int, purpose: str
) -> Tensor:
    """The first `n` proposals inside the box ``|x| <= edge``."""
    random, kept, count = generator(seed, stream(purpose)), [], 0
    for _ in range(1000):
        points = propose(random, 2 * n + 100)
        kept.append(points[(np.abs(points) <= edge).all(1)])
        count += len(kept[-1])
        if count >= n:
            return torch.from_numpy(np.concatenate(kept)[:n]).float()
    raise ValueError("expected data that some vector of the prior explains, got data far outside")


def _chains(log_density: Callable[[Tensor], Tensor], n: int, seed: int) -> Tensor:
    """Ends of `n` Metropolis chains in the part of the box where ``x3, x4 > 0``, with random signs put back."""
    random = generator(seed, stream("slcp reference"))
    start = torch.from_numpy(random.uniform(-3, 3, (200_000, 5)))
    start[:, 2:4] = start[:, 2:4].abs()
    weight = torch.softmax(torch.nan_to_num(log_density(start), nan=-math.inf), 0).numpy()
    at = start[torch.from_numpy(random.choice(len(start), n, p=weight / weight.sum()))]
    factor = torch.linalg.cholesky(torch.cov(at.T) + 1e-4 * torch.eye(5, dtype=torch.float64))
    value = log_density(at)
    for step in range(1000):
        scale = (1.06, 0.3)[step % 2]  # 2.38 / sqrt 5, and a third of it
        move = torch.from_numpy(random.standard_normal((n, 5))) @ factor.T
        proposal = at + scale * move
        proposal[:, 2:4] = proposal[:, 2:4].abs()
        new = torch.nan_to_num(log_density(proposal), nan=-math.inf)
        accepted = torch.from_numpy(np.log(random.random(n))) < new - value
        at, value = torch.where(accepted[:, None], proposal, at), torch.where(accepted, new, value)
    signs = torch.from_numpy(random.choice([-1.0, 1.0], (n, 2)))
    at[:, 2:4] *= signs
    return at.float()
