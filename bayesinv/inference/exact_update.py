r"""Gaussian conditioning in closed form: ``x ~ N(mu, C)``, ``y = A x + sigma e`` on bare matrices, in float64.

With ``C = L L^T``, ``B = A L / sigma`` and ``M = I + B^T B``

    Gamma = L M^{-1} L^T,      mean(y) = mu + L M^{-1} B^T (y - A mu) / sigma,
    log p(y) = log N(y; A mu, A C A^T + sigma^2 I),      log det(A C A^T + sigma^2 I) = m log sigma^2 + log det M.

Only ``d x d`` matrices are factored, however many data there are, and no inverse of ``C`` is taken.
Source: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, appendix A.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bayesinv.physics import Operator
from bayesinv.seeding import normal, stream

__all__ = ["GaussianUpdate", "as_float64", "dense_matrix", "gaussian_entropy", "real_parts", "update"]

LARGEST = 4096  # unknowns: a covariance of 134 MB, a factorisation of seconds
_LOG_TWO_PI = math.log(2 * math.pi)


@dataclass(frozen=True, eq=False)
class GaussianUpdate:
    """The posterior of one Gaussian component, for any data of one noise level.

    Attributes:
        prior_mean: ``mu (d,)``.
        predicted: ``A mu (m,)``.
        gain: ``L M^{-1} B^T / sigma (d, m)``.
        covariance: ``Gamma + tau^2 I (d, d)``, `tau` the noise on the images.
        factor: its Cholesky factor.
        whitener: ``R^{-1} B^T / sigma (d, m)`` with ``M = R R^T``.
        log_det_data: ``log det(A C A^T + sigma^2 I)``.
        sigma: noise level.
    """

    prior_mean: Tensor
    predicted: Tensor
    gain: Tensor
    covariance: Tensor
    factor: Tensor
    whitener: Tensor
    log_det_data: float
    sigma: float

    def mean(self, y: Tensor) -> Tensor:
        """Posterior means ``(batch, d)`` of data ``(batch, m)``."""
        return self.prior_mean + (y - self.predicted) @ self.gain.T

    def log_evidence(self, y: Tensor) -> Tensor:
        """``log p(y)`` in nats, ``(batch,)``."""
        residual = y - self.predicted
        quadratic = residual.square().sum(1) / self.sigma**2 - (residual @ self.whitener.T).square().sum(1)
        return -0.5 * (quadratic + self.log_det_data + y.shape[1] * _LOG_TWO_PI)

    def log_prob(self, x: Tensor, mean: Tensor) -> Tensor:
        """``log N(x; mean, Gamma + tau^2 I)`` in nats, ``(batch,)``, of points ``(batch, d)``."""
        white = torch.linalg.solve_triangular(self.factor, (x - mean).T, upper=False)
        log_prob: Tensor = -0.5 * (white.square().sum(0) + x.shape[1] * _LOG_TWO_PI) - self.half_log_det
        return log_prob

    @property
    def half_log_det(self) -> float:
        """``1/2 log det(Gamma + tau^2 I)``."""
        return float(self.factor.diagonal().log().sum())


def update(
    mean: Tensor, covariance: Tensor, matrix: Tensor, sigma: float, *, target_noise: float = 0.0
) -> GaussianUpdate:
    """Conditions ``N(mean, covariance)`` on data ``matrix @ x + sigma e``; see the head of the module.

    Args:
        mean: ``mu (d,)``.
        covariance: ``C (d, d)``.
        matrix: ``A (m, d)``.
        sigma: noise level.
        target_noise: standard deviation ``tau`` of white noise on the images whose law is asked for.

    Raises:
        ValueError: if the covariance is not positive definite.

    Example:
        >>> one = torch.eye(1, dtype=torch.float64)
        >>> update(one[0] * 0, one, one, 0.5).covariance  # 1 / (1 / 1 + 1 / 0.25)
        tensor([[0.2000]], dtype=torch.float64)
    """
    lower, failed = torch.linalg.cholesky_ex(covariance)
    if int(failed):
        raise ValueError("expected a positive definite prior covariance, got one that is not; add a nugget to it")
    mapped = matrix @ lower / sigma
    inner = torch.eye(len(mean), dtype=mean.dtype) + mapped.T @ mapped
    root = torch.linalg.cholesky(inner)
    half = torch.linalg.solve_triangular(root, lower.T, upper=False)  # R^{-1} L^T
    whitener = torch.linalg.solve_triangular(root, mapped.T, upper=False) / sigma
    posterior = half.T @ half + target_noise**2 * torch.eye(len(mean), dtype=mean.dtype)
    return GaussianUpdate(
        prior_mean=mean,
        predicted=matrix @ mean,
        gain=half.T @ whitener,
        covariance=posterior,
        factor=torch.linalg.cholesky(posterior),
        whitener=whitener,
        log_det_data=2 * len(matrix) * math.log(sigma) + 2 * float(root.diagonal().log().sum()),
        sigma=sigma,
    )


def real_parts(data: Tensor) -> Tensor:
    """Records ``(batch, ...)`` as rows of real numbers ``(batch, m)``, float64; a complex number counts as two."""
    parts = torch.view_as_real(data.resolve_conj()) if data.is_complex() else data
    return parts.double().flatten(1)


def dense_matrix(operator: Operator) -> Tensor:
    """The matrix ``A (m, d)`` of a linear operator, in float64, from its action on unit images.

    Raises:
        ValueError: if there are more than 4096 unknowns, or the operator is not linear.

    Example:
        >>> import pylops
        >>> from bayesinv.physics import from_pylops
        >>> dense_matrix(from_pylops(pylops.FirstDerivative((3,), kind="forward"))).tolist()
        [[-1.0, 1.0, 0.0], [0.0, -1.0, 1.0], [0.0, 0.0, 0.0]]
    """
    shape = tuple(operator.model_shape)
    size = math.prod(shape)
    if size > LARGEST:
        raise ValueError(f"expected an image of at most {LARGEST} numbers for a dense matrix, got {size}")
    with torch.no_grad():
        units = torch.eye(size, dtype=torch.float64).reshape(size, *shape)
        rows = [real_parts(operator(units[start : start + 256])) for start in range(0, size, 256)]
        matrix = torch.cat(rows).T.contiguous()
        probe = normal(shape, stream("bayesinv.inference.exact")).double()
        found, wanted = real_parts(operator(probe[None]))[0], matrix @ probe.flatten()
    if not torch.allclose(found, wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max())):
        raise ValueError("expected a linear operator, got one whose action on a sum is not the sum of its actions")
    return matrix


def gaussian_entropy(dimension: int, half_log_det: float) -> float:
    """``d/2 log(2 pi e) + 1/2 log det``, in nats."""
    return 0.5 * dimension * (1 + _LOG_TWO_PI) + half_log_det


def as_float64(values: Any) -> Tensor:
    """An array or tensor as a float64 tensor on the CPU."""
    return torch.as_tensor(values).detach().cpu().double()
