"""The colour of noise: a factor ``L`` of its correlation ``C = L L^T``, from a power spectrum or from a covariance.

Both are scaled to a mean variance of one, so that the level of the noise stays its standard deviation.
"""

from __future__ import annotations

import math
from typing import Any

import numpy.typing as npt
import torch

from bayesinv.physics.norms import to_dense
from bayesinv.physics.operator import AnyOperator, as_linear

__all__ = ["Covariance", "Spectrum"]


class Spectrum:
    """Stationary noise of a power spectrum ``S(k)`` on a periodic grid: ``L = F^-1 sqrt(S / mean(S)) F``.

    Args:
        power: positive, one number for each frequency in the order of ``numpy.fft.fftfreq``, of the shape of the last
            axes of a record; the axes before them (receivers, say) are independent of one another.

    Raises:
        ValueError: if it is not positive and finite, or not symmetric, ``S(k) = S(-k)``, as that of real noise is.

    Example:
        >>> import numpy as np
        >>> from bayesinv.physics import GaussianNoise
        >>> red = Spectrum(1 / (0.05 + np.abs(np.fft.fftfreq(64))) ** 2)
        >>> noisy, _ = GaussianNoise(0.1, relative=False, colour=red).draw(torch.zeros(500, 1, 64), seed=0)
        >>> bool((noisy.std() / 0.1 - 1).abs() < 0.05), bool((noisy[..., 1:] * noisy[..., :-1]).mean() > 0.005)
        (True, True)
    """

    def __init__(self, power: npt.ArrayLike | torch.Tensor) -> None:
        values = torch.as_tensor(power, dtype=torch.float64)
        if values.ndim == 0 or not bool(((values > 0) & torch.isfinite(values)).all()):
            raise ValueError("expected a power spectrum of positive, finite values, one for each frequency")
        axes = list(range(values.ndim))
        mirrored = values.flip(axes).roll([1] * values.ndim, axes)
        if not torch.allclose(values, mirrored, rtol=1e-6, atol=0):
            raise ValueError("expected a symmetric power spectrum, S(k) = S(-k), in the order of numpy.fft.fftfreq")
        self.gain = (values / values.mean()).sqrt()

    def colour(self, white: torch.Tensor) -> torch.Tensor:
        """``L e``."""
        return self._filtered(white, self.gain)

    def whiten(self, noise: torch.Tensor) -> torch.Tensor:
        """``L^-1 r``."""
        return self._filtered(noise, 1 / self.gain)

    def log_det(self, shape: tuple[int, ...]) -> float:
        """``log |det L|``: the sum of the logarithms of the gains, for each independent row."""
        return float(self.gain.log().sum()) * (math.prod(shape) // self.gain.numel())

    def _filtered(self, tensor: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        rank = gain.ndim
        if tuple(tensor.shape[-rank:]) != tuple(gain.shape) or tensor.ndim <= rank:
            raise ValueError(
                f"expected records that end in {tuple(gain.shape)}, like the spectrum, got {tuple(tensor.shape[1:])}"
            )
        axes = tuple(range(-rank, 0))
        wide = torch.fft.fftn(tensor, dim=axes) * gain.to(tensor.device, tensor.dtype.to_real())
        result: torch.Tensor = torch.fft.ifftn(wide, dim=axes)
        return result if tensor.is_complex() else result.real


class Covariance:
    """Noise of a covariance ``C`` on the data: ``L`` is the Cholesky factor of ``C / mean(diag C)``.

    Args:
        covariance: an operator from data to data, symmetric and positive definite, or its matrix ``(data, data)`` with
            the data raveled in C order. It is made dense once; for long records give a `Spectrum`.

    Raises:
        ValueError: if it is not square, symmetric and positive definite.

    Example:
        >>> from bayesinv.physics import diagonal
        >>> Covariance(diagonal(torch.tensor([[1.0, 3.0]]))).factor ** 2
        tensor([[0.5000, 0.0000],
                [0.0000, 1.5000]], dtype=torch.float64)
    """

    def __init__(self, covariance: AnyOperator | torch.Tensor | npt.NDArray[Any]) -> None:
        is_matrix = isinstance(covariance, torch.Tensor) or hasattr(covariance, "__array__")
        matrix = torch.as_tensor(covariance) if is_matrix else to_dense(as_linear(covariance))  # type: ignore[arg-type]
        matrix = matrix.double()
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not torch.allclose(matrix, matrix.T, rtol=1e-6):
            raise ValueError(f"expected a symmetric covariance (data, data), got one of {tuple(matrix.shape)}")
        mean = matrix.diagonal().mean()
        factor, failed = torch.linalg.cholesky_ex(matrix / mean)
        if int(failed) or not float(mean) > 0:
            raise ValueError("expected a positive definite covariance, got one that is not; add a white part to it")
        self.factor: torch.Tensor = factor

    def colour(self, white: torch.Tensor) -> torch.Tensor:
        """``L e``."""
        return (self._flat(white) @ self._factor(white).T).reshape(white.shape)

    def whiten(self, noise: torch.Tensor) -> torch.Tensor:
        """``L^-1 r``."""
        flat = self._flat(noise)
        white: torch.Tensor = torch.linalg.solve_triangular(self._factor(noise), flat.T, upper=False)
        return white.T.reshape(noise.shape)

    def log_det(self, shape: tuple[int, ...]) -> float:
        """``log |det L|``."""
        return float(self.factor.diagonal().log().sum())

    def _flat(self, tensor: torch.Tensor) -> torch.Tensor:
        flat = tensor.flatten(1)
        if flat.shape[1] != len(self.factor):
            raise ValueError(f"expected records of {len(self.factor)} numbers, got {tuple(tensor.shape[1:])}")
        return flat

    def _factor(self, like: torch.Tensor) -> torch.Tensor:
        return self.factor.to(like.device, like.dtype)
