r"""The prior `matern`: Gaussian random fields of known covariance, for problems whose posterior is known exactly.

``x ~ N(mean, C)`` on pixels, stationary, with the Matern covariance of smoothness ``nu`` 1/2, 3/2 or 5/2 and a nugget,

    C(r) = variance k(sqrt(2 nu) r) + nugget [r = 0],    k(s) = e^-s, (1 + s) e^-s, (1 + s + s^2 / 3) e^-s,

where ``r`` is the distance with each axis in units of its length. The nugget keeps ``C`` well-conditioned.

Images of any size are drawn by circulant embedding: ``C`` is a corner of the covariance of a field on a torus, whose
eigenvalues are the Fourier transform of its first row, so ``x = F^-1[sqrt(eigenvalues) F white]`` has exactly ``C``.

Sources: C. E. Rasmussen, C. K. I. Williams, Gaussian Processes for Machine Learning, 2006, section 4.2; C. R. Dietrich,
G. N. Newsam, SIAM J. Sci. Comput. 18 (1997) 1088, doi:10.1137/S1064827592240555 (circulant embedding).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bayesinv.seeding import generator, stream
from bayesinv_datasets.checks import as_lists, check_positive, check_request, check_size

__all__ = ["Matern", "matern"]

SMOOTHNESS = (0.5, 1.5, 2.5)
DENSE = 64  # the largest size whose covariance is offered as a matrix, 134 MB
TORUS = 16  # the torus is at most this many times as wide as the image


@dataclass(frozen=True)
class Matern:
    """A `Prior` of Gaussian fields, shape ``(1, size, size)`` as (channel, z, x); made by :func:`matern`."""

    size: int
    lengths: tuple[float, float]
    smoothness: float
    variance: float
    nugget: float
    level: float

    @property
    def shape(self) -> tuple[int, ...]:
        """``(channels, z, x)``."""
        return (1, self.size, self.size)

    @property
    def regions(self) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
        """None: the field is the same everywhere."""
        return {}

    @property
    def parameters(self) -> dict[str, Any]:
        """The keywords of :func:`matern` that make this prior, ready for JSON."""
        own = asdict(self)
        level = own.pop("level")
        return as_lists({**own, "mean": level})

    @property
    def mean(self) -> torch.Tensor:
        """Image of the means, float64 ``(1, size, size)``."""
        return torch.full(self.shape, self.level, dtype=torch.float64)

    @cached_property
    def covariance(self) -> torch.Tensor:
        """Covariance of the flattened image, float64 ``(size^2, size^2)``.

        Raises:
            ValueError: for a size above 64, which would need gigabytes.
        """
        if self.size > DENSE:
            raise ValueError(f"expected a size of at most {DENSE} for a dense covariance, got {self.size}")
        z, x = (axis.ravel() for axis in np.meshgrid(np.arange(self.size), np.arange(self.size), indexing="ij"))
        dense = self._of_lag(z[:, None] - z, x[:, None] - x)
        dense[np.diag_indices_from(dense)] += self.nugget
        return torch.from_numpy(dense)

    @cached_property
    def factor(self) -> torch.Tensor:
        """Lower Cholesky factor of `covariance`."""
        return torch.linalg.cholesky(self.covariance)

    @cached_property
    def _amplitudes(self) -> NDArray[np.float64]:
        """Square roots of the eigenvalues on the torus, which grows until none of them is negative."""
        width = 2 * self.size
        while width <= TORUS * self.size:
            lag = np.minimum(np.arange(width), width - np.arange(width))
            row = self._of_lag(lag[:, None], lag)
            row[0, 0] += self.nugget
            eigenvalues = np.fft.fft2(row).real
            if eigenvalues.min() > -1e-12 * eigenvalues.max():
                return np.sqrt(np.maximum(eigenvalues, 0.0))
            width += self.size
        raise ValueError(f"expected lengths well below the size of {self.size} pixels, got {self.lengths}")

    def _of_lag(self, along_z: NDArray[Any], along_x: NDArray[Any]) -> NDArray[np.float64]:
        """``variance k(sqrt(2 nu) r)`` without the nugget."""
        s = math.sqrt(2 * self.smoothness) * np.hypot(along_z / self.lengths[0], along_x / self.lengths[1])
        polynomial = {0.5: np.ones_like(s), 1.5: 1 + s, 2.5: 1 + s + s**2 / 3}[self.smoothness]
        return np.asarray(self.variance * polynomial * np.exp(-s))

    def sample(self, n: int, seed: int, *, start: int = 0) -> torch.Tensor:
        """Fields ``start .. start + n - 1`` of the stream of `seed`: float32 ``(n, 1, size, size)``.

        Field i depends on ``(seed, i)`` only.

        Raises:
            ValueError: if `n` is not positive, or `seed` or `start` is negative.
        """
        check_request(n, seed, start)
        fields = np.empty((n, 1, self.size, self.size), dtype=np.float32)
        for row in range(n):
            white = generator(seed, stream("matern"), start + row).standard_normal(self._amplitudes.shape)
            torus = np.fft.ifft2(self._amplitudes * np.fft.fft2(white)).real
            fields[row, 0] = self.level + torus[: self.size, : self.size]
        return torch.from_numpy(fields)

    def log_prob(self, x: torch.Tensor) -> torch.Tensor:
        """Log density in nats ``(n,)``, float64, of images ``(n, 1, size, size)``; differentiable, size at most 64."""
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(f"expected images (n, {str(self.shape)[1:-1]}), got a tensor of {tuple(x.shape)}")
        away = (x.double() - self.mean.to(x.device)).flatten(1)
        white = torch.linalg.solve_triangular(self.factor.to(x.device), away.T, upper=False)
        log_det = 2 * self.factor.diagonal().log().sum().to(x.device)
        return -0.5 * (white.square().sum(0) + log_det + away.shape[1] * math.log(2 * math.pi))


def matern(
    size: int = 32,
    *,
    lengths: tuple[float, float] = (4.0, 4.0),
    smoothness: float = 1.5,
    variance: float = 1.0,
    nugget: float = 1e-3,
    mean: float = 0.0,
) -> Matern:
    """Gaussian random fields with a Matern covariance: the prior whose posterior is known exactly.

    Args:
        size: side of the square image.
        lengths: correlation lengths along ``z`` and ``x`` in pixels.
        smoothness: ``nu``, one of 0.5, 1.5 and 2.5.
        variance: of each pixel, without the nugget.
        nugget: variance of the white part.
        mean: of each pixel.

    Raises:
        ValueError: for a size, length, smoothness or variance out of range, or lengths too long for the size.

    Example:
        >>> prior = matern(16)
        >>> prior.sample(2, seed=0).shape, round(float(prior.covariance[0, 0]), 3)
        (torch.Size([2, 1, 16, 16]), 1.001)
    """
    check_size(size)
    if not isinstance(lengths, list | tuple) or len(lengths) != 2 or not all(0 < x < math.inf for x in lengths):
        raise ValueError(f"expected two positive lengths, got {lengths!r}")
    if smoothness not in SMOOTHNESS:
        raise ValueError(f"expected a smoothness of {', '.join(map(str, SMOOTHNESS))}, got {smoothness!r}")
    check_positive(variance=variance)
    if not 0 <= nugget < math.inf or not math.isfinite(mean):
        raise ValueError(f"expected a nugget of at least 0 and a finite mean, got {nugget!r} and {mean!r}")
    prior = Matern(int(size), (lengths[0], lengths[1]), smoothness, variance, nugget, mean)
    _ = prior._amplitudes  # too long lengths are refused here
    return prior
