r"""Noise that grows with the signal: counts, ``y ~ sigma^2 Poisson(A x / sigma^2)``, and its Gaussian relatives.

``sigma`` is the standard deviation that a clean datum of one would have: ``var(y) = sigma^2 A x``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from bayesinv.physics.noise import check_sigma, level_range
from bayesinv.seeding import generator, stream

__all__ = ["PoissonNoise", "SignalDependentNoise"]

_STREAM = stream("bayesinv.physics.noise_counting")


@dataclass(frozen=True)
class PoissonNoise:
    """Counted quanta: ``y = N / counts`` with ``N ~ Poisson(counts * A x)``, in the unit of the clean data.

    Args:
        counts: expected count for a clean datum of one, or ``(low, high)`` from which each record draws its own
            log-uniformly. ``sigma = counts^-1/2``.

    Raises:
        ValueError: if counts are not positive.

    Source:
        L. A. Shepp, Y. Vardi, IEEE Trans. Med. Imaging 1 (1982) 113, doi:10.1109/TMI.1982.4307558.

    Example:
        >>> noisy, sigma = PoissonNoise(100.0).draw(torch.ones(2, 1, 1000), seed=0)
        >>> sigma, bool((noisy.std() - 0.1).abs() < 0.01)
        (tensor([0.1000, 0.1000]), True)
    """

    counts: float | tuple[float, float]

    def __post_init__(self) -> None:
        level_range(self.counts)

    @property
    def level(self) -> float | tuple[float, float]:
        """``sigma``, or the pair between which it is drawn."""
        low, high = level_range(self.counts)
        return (high**-0.5, low**-0.5) if isinstance(self.counts, tuple) else low**-0.5

    def draw(self, clean: torch.Tensor, seed: int, *, start: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """Records ``start, start + 1, ...`` of the stream of ``seed``; see :meth:`GaussianNoise.draw`.

        Raises:
            ValueError: if clean data are complex or negative.
        """
        _check_real(clean)
        if bool((clean < 0).any()):
            raise ValueError(
                f"expected clean data that are not negative (they are mean counts), got {float(clean.min())}"
            )
        low, high = level_range(self.counts)
        records, levels = [], []
        for index, record in enumerate(clean.detach().cpu().double().numpy(), start):
            random = generator(seed, _STREAM, index)
            counts = low if low == high else low * (high / low) ** random.uniform()
            records.append(random.poisson(counts * record) / counts)
            levels.append(counts**-0.5)
        sigma = torch.tensor(levels, dtype=clean.dtype, device=clean.device)
        if not records:
            return clean.clone(), sigma
        return torch.from_numpy(np.stack(records)).to(clean), sigma

    def sigma_of(self, data: torch.Tensor) -> torch.Tensor:
        """``counts^-1/2``, ``(batch,)``.

        Raises:
            ValueError: if counts are drawn, for then the data alone do not tell.
        """
        return _fixed(self.level, data)

    def log_likelihood(self, clean: torch.Tensor, data: torch.Tensor, sigma: torch.Tensor | float) -> torch.Tensor:
        """``log P(N; A x / sigma^2)`` with ``N = y / sigma^2``, in nats with constants, ``(batch,)``.

        It is that of the counts; minus infinity where a clean datum is negative, or zero under a count.

        Raises:
            ValueError: if sigma is not positive and finite, data are negative, or something is complex.
        """
        _check_real(clean, data)
        if bool((data < 0).any()):
            raise ValueError(f"expected data that are not negative (they are counts), got {float(data.min())}")
        counts = check_sigma(sigma, clean) ** -2
        counts = counts.reshape(*counts.shape, *[1] * (clean.ndim - counts.ndim)) if counts.ndim else counts
        mean, number = counts * clean, counts * data
        value = torch.xlogy(number, mean.clamp_min(0)) - mean - torch.lgamma(number + 1)
        return torch.where(mean < 0, -math.inf, value).flatten(1).sum(1)

    def whiten(self, residual: torch.Tensor, data: torch.Tensor) -> torch.Tensor:
        """``r / sqrt(y)``, no datum counting as less than the least positive one of its record."""
        flat = data.flatten(1)
        least = torch.where(flat > 0, flat, math.inf).amin(1)
        least = torch.where(least.isfinite(), least, 1).reshape(-1, *[1] * (data.ndim - 1))
        return residual / torch.maximum(data, least).sqrt()


@dataclass(frozen=True)
class SignalDependentNoise:
    """Independent Gaussian noise of variance ``sigma^2 (1 + shot |A x| + (proportional A x)^2)``.

    ``shot`` is the Gaussian limit of counting under a background; ``proportional`` an error of gain.

    Args:
        level: ``sigma`` where the signal is zero, in the unit of the data, or ``(low, high)`` from which each record
            draws its own log-uniformly.
        shot: variance per unit of signal over ``sigma^2``, in 1 / unit.
        proportional: standard deviation per unit of signal over ``sigma``, in 1 / unit.

    Raises:
        ValueError: if the level is not positive, or a coefficient is negative.

    Source:
        A. Foi et al., IEEE Trans. Image Process. 17 (2008) 1737, doi:10.1109/TIP.2008.2001399.

    Example:
        >>> noise = SignalDependentNoise(0.1, shot=3.0)
        >>> noisy, _ = noise.draw(torch.ones(2, 1, 2000), seed=0)
        >>> bool((noisy.std() - 0.2).abs() < 0.01)
        True
    """

    level: float | tuple[float, float]
    shot: float = 0.0
    proportional: float = 0.0

    def __post_init__(self) -> None:
        level_range(self.level)
        if not (0 <= self.shot < math.inf and 0 <= self.proportional < math.inf):
            raise ValueError(f"expected shot and proportional of zero or more, got {self.shot} and {self.proportional}")

    def draw(self, clean: torch.Tensor, seed: int, *, start: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """Records ``start, start + 1, ...`` of the stream of ``seed``; see :meth:`GaussianNoise.draw`.

        Raises:
            ValueError: if clean data are complex.
        """
        _check_real(clean)
        low, high = level_range(self.level)
        levels, noise = [], []
        for index in range(start, start + len(clean)):
            random = generator(seed, _STREAM, index)
            levels.append(low if low == high else low * (high / low) ** random.uniform())
            noise.append(random.standard_normal(tuple(clean.shape[1:]), dtype=np.float32))
        sigma = torch.tensor(levels, dtype=clean.dtype, device=clean.device)
        if not noise:
            return clean.clone(), sigma
        unit = torch.from_numpy(np.stack(noise)).to(clean)
        return clean + sigma.reshape(-1, *[1] * (clean.ndim - 1)) * self._spread(clean) * unit, sigma

    def sigma_of(self, data: torch.Tensor) -> torch.Tensor:
        """The level, ``(batch,)``.

        Raises:
            ValueError: if levels are drawn, for then the data alone do not tell.
        """
        return _fixed(self.level, data)

    def log_likelihood(self, clean: torch.Tensor, data: torch.Tensor, sigma: torch.Tensor | float) -> torch.Tensor:
        """``sum_i log N(y_i; (A x)_i, var_i)`` in nats with constants, ``(batch,)``.

        Raises:
            ValueError: if sigma is not positive and finite, or something is complex.
        """
        _check_real(clean, data)
        sigma = check_sigma(sigma, clean)
        sigma = sigma.reshape(*sigma.shape, *[1] * (clean.ndim - sigma.ndim)) if sigma.ndim else sigma
        spread = sigma * self._spread(clean)
        value = -0.5 * ((data - clean) / spread).square() - spread.log() - 0.5 * math.log(2 * math.pi)
        return value.flatten(1).sum(1)

    def whiten(self, residual: torch.Tensor, data: torch.Tensor) -> torch.Tensor:
        """``r`` over the standard deviation over ``sigma`` that the data imply."""
        return residual / self._spread(data)

    def _spread(self, clean: torch.Tensor) -> torch.Tensor:
        return (1 + self.shot * clean.abs() + (self.proportional * clean).square()).sqrt()


def _check_real(*tensors: torch.Tensor) -> None:
    for tensor in tensors:
        if tensor.is_complex():
            raise ValueError(f"expected real data for this noise, got {tensor.dtype}")


def _fixed(level: float | tuple[float, float], data: torch.Tensor) -> torch.Tensor:
    low, high = level_range(level)
    if low != high:
        raise ValueError(f"expected sigma to be given, for the noise level is drawn from {level}, got none")
    return torch.full((len(data),), low, dtype=data.dtype, device=data.device)
