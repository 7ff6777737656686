r"""The prior `matern`: Gaussian random fields of known covariance, for problems whose posterior is known exactly.

``x ~ N(mean, C)`` on pixels, stationary, with the Matern covariance of smoothness ``nu`` 1/2, 3/2 or 5/2 and a nugget,

    C(r) = variance k(sqrt(2 nu) r) + nugget [r = 0],    k(s) = e^-s, (1 + s) e^-s, (1 + s + s^2 / 3) e^-s,

where ``r`` is the distance with each axis in units of its length. The nugget keeps ``C`` well-conditioned.

Images of any size are drawn by circulant embedding: ``C`` is a corner of the covariance of a field on a torus, whose
eigenvalues are the Fourier transform of its first row, so ``x = F^-1[sqrt(eigenvalues) F white]`` has exactly ``C``.
Up to 16 pixels a side the Cholesky factor is cheaper, and a `GaussianField` with a mean and a covariance of one's own
draws through it, too.

Sources: C. E. Rasmussen, C. K. I. Williams, Gaussian Processes for Machine Learning, 2006, section 4.2; C. R. Dietrich,
G. N. Newsam, SIAM J. Sci. Comput. 18 (1997) 1088, doi:10.1137/S1064827592240555 (circulant embedding).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bayesinv.seeding import generator, stream
from bayesinv_datasets.checks import as_lists, check_positive, check_request, check_size

__all__ = ["GaussianField", "matern"]

SMOOTHNESS = (0.5, 1.5, 2.5)
DENSE = 64  # the largest size whose covariance is offered as a matrix, 134 MB
FEW = 16  # the largest size for which the Cholesky factor is cheaper than transforms
TORUS = 16  # the torus is at most this many times as wide as the image

Kernel = Callable[[Any, Any], NDArray[np.float64]]


class GaussianField:
    """The prior ``N(mean, covariance)`` on images, a `Prior` with a density.

    Args:
        shape: ``(channels, *space)`` of an image.
        mean: image of the means.
        covariance: ``(d, d)`` of the flattened image, or a function that makes it when it is first asked for.
        draw: from a random generator to a field of mean zero, where there is a cheaper way than the Cholesky factor.
        parameters: the keywords that make this prior again.

    Raises:
        ValueError: if the shapes do not fit, or a covariance is not positive definite.

    Example:
        >>> GaussianField((1, 2), [0.0, 1.0], [[1.0, 0.9], [0.9, 1.0]]).sample(3, 0).shape
        torch.Size([3, 1, 2])
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        mean: Any,
        covariance: Any,
        *,
        draw: Callable[[np.random.Generator], NDArray[np.float64]] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> None:
        self.shape, self.parameters = tuple(shape), dict(parameters or {})
        self.regions: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {}
        self.mean = torch.as_tensor(mean, dtype=torch.float64).reshape(self.shape)
        self._given, self._draw = covariance, draw
        if not callable(covariance):
            _ = self.factor

    @cached_property
    def covariance(self) -> torch.Tensor:
        """Covariance of the flattened image, float64 ``(d, d)``."""
        dense = torch.as_tensor(self._given() if callable(self._given) else self._given, dtype=torch.float64)
        wanted = (self.mean.numel(), self.mean.numel())
        if dense.shape != wanted:
            raise ValueError(f"expected a covariance of shape {wanted}, got {tuple(dense.shape)}")
        return dense

    @cached_property
    def factor(self) -> torch.Tensor:
        """Lower Cholesky factor of `covariance`."""
        factor, failed = torch.linalg.cholesky_ex(self.covariance)
        if int(failed):
            raise ValueError("expected a positive definite covariance, got one that is not; add a nugget to it")
        return factor

    def sample(self, n: int, seed: int, *, start: int = 0) -> torch.Tensor:
        """Fields ``start .. start + n - 1`` of the stream of `seed`: float32 ``(n, *shape)``.

        Field i depends on ``(seed, i)`` only.

        Raises:
            ValueError: if `n` is not positive, or `seed` or `start` is negative.
        """
        check_request(n, seed, start)
        draw = self._draw or (lambda random: self.factor.numpy() @ random.standard_normal(self.mean.numel()))
        away = [draw(generator(seed, stream("matern"), start + row)).reshape(self.shape) for row in range(n)]
        return (self.mean + torch.from_numpy(np.stack(away))).float()

    def log_prob(self, x: torch.Tensor) -> torch.Tensor:
        """Log density in nats ``(n,)``, float64, of images ``(n, *shape)``; differentiable."""
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
) -> GaussianField:
    """Gaussian random fields with a Matern covariance: the prior whose posterior is known exactly.

    Covariance and density need a size of at most 64: above, the matrix would take gigabytes.

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
    kernel = partial(_of_lag, (lengths[0], lengths[1]), smoothness, variance, nugget)
    amplitudes = torus_amplitudes(kernel, size)
    own = {"size": int(size), "lengths": lengths, "smoothness": smoothness, "variance": variance, "nugget": nugget}
    return GaussianField(
        (1, size, size),
        np.full((1, size, size), float(mean)),
        partial(_dense, kernel, size),
        draw=None if size <= FEW and nugget > 1e-8 * variance else partial(_from_torus, amplitudes, size),
        parameters=as_lists({**own, "mean": mean}),
    )


def torus_amplitudes(kernel: Kernel, size: int) -> NDArray[np.float64]:
    """Square roots of the eigenvalues on the torus, which grows until none of them is negative.

    Raises:
        ValueError: if it would grow too wide.
    """
    width = 2 * size
    while width <= TORUS * size:
        lag = np.minimum(np.arange(width), width - np.arange(width))
        eigenvalues = np.fft.fft2(kernel(lag[:, None], lag)).real
        if eigenvalues.min() > -1e-12 * eigenvalues.max():
            return np.asarray(np.sqrt(np.maximum(eigenvalues, 0.0)))
        width += size
    raise ValueError(f"expected lengths well below the size of {size} pixels, got longer ones")


def _of_lag(
    lengths: tuple[float, float], smoothness: float, variance: float, nugget: float, along_z: Any, along_x: Any
) -> NDArray[np.float64]:
    """``C(r)``."""
    s = math.sqrt(2 * smoothness) * np.hypot(along_z / lengths[0], along_x / lengths[1])
    polynomial = {0.5: np.ones_like(s), 1.5: 1 + s, 2.5: 1 + s + s**2 / 3}[smoothness]
    return np.asarray(variance * polynomial * np.exp(-s) + nugget * (s == 0))


def _dense(kernel: Kernel, size: int) -> NDArray[np.float64]:
    if size > DENSE:
        raise ValueError(f"expected a size of at most {DENSE} for a dense covariance, got {size}")
    z, x = (axis.ravel() for axis in np.meshgrid(np.arange(size), np.arange(size), indexing="ij"))
    return kernel(z[:, None] - z, x[:, None] - x)


def _from_torus(amplitudes: NDArray[np.float64], size: int, random: np.random.Generator) -> NDArray[np.float64]:
    white = random.standard_normal(amplitudes.shape)
    half = np.fft.rfft2(white) * amplitudes[:, : amplitudes.shape[1] // 2 + 1]
    return np.asarray(np.fft.irfft2(half, s=amplitudes.shape)[:size, :size])
