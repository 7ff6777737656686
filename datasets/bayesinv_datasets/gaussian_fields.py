r"""Gaussian random fields of known covariance, for problems whose posterior is known exactly.

``x ~ N(mean, C)`` with the Matern covariance of smoothness 1/2, 3/2 or 5/2 and a nugget,

    C(r) = variance k(sqrt(2 nu) r) + nugget [r = 0],    k(s) = e^-s, (1 + s) e^-s, (1 + s + s^2 / 3) e^-s,

where ``r`` is the distance with each axis in units of its length. The nugget keeps ``C`` well-conditioned.
Source: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, section 4.2.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bayesinv.seeding import normal, stream
from bayesinv_datasets.checks import as_lists, check_positive, check_request

__all__ = ["GaussianField", "gaussian_field", "matern_covariance"]

_SMOOTHNESS = (0.5, 1.5, 2.5)


class GaussianField:
    """The prior ``N(mean, covariance)`` on images.

    Args:
        shape: ``(channels, *space)`` of an image.
        mean: image of the means.
        covariance: ``(d, d)`` of the flattened image.
        parameters: the keywords that make this prior again.

    Raises:
        ValueError: if the shapes do not fit, or the covariance is not positive definite.
    """

    def __init__(
        self, shape: tuple[int, ...], mean: Any, covariance: Any, *, parameters: dict[str, Any] | None = None
    ) -> None:
        self.shape, self.parameters = tuple(shape), dict(parameters or {})
        self.mean = torch.as_tensor(mean, dtype=torch.float64).reshape(self.shape)
        self.covariance = torch.as_tensor(covariance, dtype=torch.float64)
        if self.covariance.shape != (self.mean.numel(), self.mean.numel()):
            wanted = (self.mean.numel(), self.mean.numel())
            raise ValueError(f"expected a covariance of shape {wanted}, got {tuple(self.covariance.shape)}")
        _ = self.factor

    @cached_property
    def factor(self) -> Tensor:
        """Lower Cholesky factor of the covariance."""
        factor, failed = torch.linalg.cholesky_ex(self.covariance)
        if int(failed):
            raise ValueError("expected a positive definite covariance, got one that is not; add a nugget to it")
        return factor

    def sample(self, n: int, seed: int, *, start: int = 0) -> Tensor:
        """Images ``start`` to ``start + n`` of the stream of ``seed``, float32 ``(n, *shape)``."""
        check_request(n, seed, start)
        key = stream("gaussian-field")
        white = torch.stack([normal((self.mean.numel(),), seed, key, i) for i in range(start, start + n)]).double()
        return (self.mean + (white @ self.factor.T).reshape(n, *self.shape)).float()

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density in nats ``(n,)`` of images ``(n, *shape)``."""
        law = torch.distributions.MultivariateNormal(self.mean.flatten(), scale_tril=self.factor, validate_args=False)
        return law.log_prob(x.double().flatten(1))


def gaussian_field(
    size: int = 16,
    *,
    lengths: tuple[float, float] = (4.0, 4.0),
    smoothness: float = 1.5,
    variance: float = 1.0,
    nugget: float = 1e-3,
    mean: float = 0.0,
) -> GaussianField:
    """A stationary field on ``(1, size, size)`` pixels.

    Args:
        size: pixels along ``z`` and ``x``; at 64 the covariance has 134 MB.
        lengths: correlation lengths along ``z`` and ``x`` in pixels.
        smoothness: ``nu``, one of 0.5, 1.5 and 2.5.
        variance: of each pixel, without the nugget.
        nugget: variance of the white part.
        mean: of each pixel.

    Raises:
        ValueError: for a size, length, smoothness or variance out of range.

    Example:
        >>> prior = gaussian_field(8)
        >>> prior.sample(2, 0).shape, round(float(prior.covariance[0, 0]), 3)
        (torch.Size([2, 1, 8, 8]), 1.001)
    """
    if not 1 <= int(size) <= 64:
        raise ValueError(f"expected a size of 1 to 64 pixels, got {size!r}")
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij"), -1).reshape(-1, 2)
    covariance = matern_covariance(grid, lengths, smoothness=smoothness, variance=variance, nugget=nugget)
    parameters = as_lists(
        {"size": int(size), "lengths": tuple(lengths), "smoothness": smoothness, "variance": variance,
         "nugget": nugget, "mean": mean}
    )  # fmt: skip
    shape = (1, int(size), int(size))
    return GaussianField(shape, np.full(shape, float(mean)), covariance, parameters=parameters)


def matern_covariance(
    points: np.ndarray,
    lengths: tuple[float, ...],
    *,
    smoothness: float = 1.5,
    variance: float = 1.0,
    nugget: float = 1e-3,
) -> np.ndarray:
    """The covariance ``(N, N)`` of points ``(N, axes)``; see the head of the module.

    Raises:
        ValueError: for a length, smoothness or variance out of range, or not as many lengths as axes.

    Example:
        >>> matern_covariance(np.array([[0.0], [1.0]]), (1.0,), smoothness=0.5, nugget=0.0).round(4).tolist()
        [[1.0, 0.3679], [0.3679, 1.0]]
    """
    if smoothness not in _SMOOTHNESS:
        raise ValueError(f"expected a smoothness of 0.5, 1.5 or 2.5, got {smoothness!r}")
    if points.shape[1] != len(lengths) or not all(length > 0 for length in lengths):
        raise ValueError(f"expected {points.shape[1]} positive lengths, got {lengths!r}")
    check_positive(variance=variance)
    if not nugget >= 0:
        raise ValueError(f"expected a nugget of 0 or more, got {nugget!r}")
    scaled = points / np.asarray(lengths, dtype=float)
    distance = np.sqrt(((scaled[:, None] - scaled) ** 2).sum(-1)) * np.sqrt(2 * smoothness)
    polynomial = {0.5: 1.0, 1.5: 1 + distance, 2.5: 1 + distance + distance**2 / 3}[smoothness]
    return variance * polynomial * np.exp(-distance) + nugget * np.eye(len(points))
