r"""Gaussian noise ``y = A x + sigma L e`` with ``e ~ N(0, I)``, its level fixed, relative to the record, or drawn.

White noise has ``L = I``; coloured noise has a factor ``L L^T = C`` of its correlation (`Spectrum`, `Covariance`).
Complex data count as two real numbers each: ``sigma`` is the standard deviation of either.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from bayesinv.physics.operator import check_finite
from bayesinv.seeding import generator, stream

__all__ = ["Colour", "GaussianNoise", "Noise", "check_sigma", "level_range", "real_parts"]

_STREAM = stream("bayesinv.physics.noise")


@runtime_checkable
class Noise(Protocol):
    """How data are disturbed: ``p(y | A x, sigma)`` with one level ``sigma`` for each record."""

    @property
    def level(self) -> float | tuple[float, float]:
        """The level, or ``(low, high)`` from which each record draws its own; the network is then told ``sigma``."""
        ...

    def draw(self, clean: torch.Tensor, seed: int, *, start: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """Noisy data of clean ones ``(batch, *data_shape)``, and ``sigma (batch,)``; record ``i`` by its own key."""
        ...

    def sigma_of(self, data: torch.Tensor) -> torch.Tensor:
        """The noise level ``(batch,)`` that the problem itself implies for noisy data."""
        ...

    def log_likelihood(self, clean: torch.Tensor, data: torch.Tensor, sigma: torch.Tensor | float) -> torch.Tensor:
        """``log p(y | A x)`` in nats with constants, ``(batch,)``."""
        ...

    def whiten(self, residual: torch.Tensor, data: torch.Tensor) -> torch.Tensor:
        """``W r``, see `Whitening`: linear in the residual ``(*, batch, *data_shape)`` of data ``(batch, ...)``."""
        ...


class Colour(Protocol):
    """A factor ``L`` of the correlation ``C = L L^T`` of noise, ``C`` of mean variance one."""

    def colour(self, white: torch.Tensor) -> torch.Tensor:
        """``L e``, ``(batch, *data_shape)``."""
        ...

    def whiten(self, noise: torch.Tensor) -> torch.Tensor:
        """``L^-1 r``."""
        ...

    def log_det(self, shape: tuple[int, ...]) -> float:
        """``log |det L|`` on real data of a shape."""
        ...


@dataclass(frozen=True)
class GaussianNoise:
    """Noise of standard deviation ``sigma``, one for each record.

    Args:
        level: a positive number, or ``(low, high)`` from which each record draws its level log-uniformly.
        relative: whether ``sigma = level * rms(A x)`` of the record, or ``sigma = level`` in the unit of the data.
        colour: its correlation, such as :class:`bayesinv.physics.Spectrum`; white if absent.

    Raises:
        ValueError: if the level is not positive.

    Example:
        >>> noisy, sigma = GaussianNoise(0.05).draw(torch.ones(4, 1, 100), seed=0)
        >>> noisy.shape, [round(s, 3) for s in sigma.tolist()]
        (torch.Size([4, 1, 100]), [0.05, 0.05, 0.05, 0.05])
    """

    level: float | tuple[float, float]
    relative: bool = True
    colour: Colour | None = None

    def __post_init__(self) -> None:
        level_range(self.level)

    def draw(self, clean: torch.Tensor, seed: int, *, start: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """Records ``start, start + 1, ...`` of the noise stream of ``seed``, added to clean data.

        Args:
            clean: ``A x``, ``(batch, *data_shape)``.
            seed: key of the stream; record ``i`` depends on ``(seed, start + i)`` only.
            start: index of the first record.

        Returns:
            Noisy data of the same shape, and ``sigma (batch,)``.

        Raises:
            ValueError: if a clean record is zero and the noise is relative to it.
        """
        parts = real_parts(clean)
        levels, noise = [], []
        low, high = level_range(self.level)
        for index in range(start, start + len(clean)):
            random = generator(seed, _STREAM, index)
            levels.append(low if low == high else low * (high / low) ** random.uniform())
            noise.append(random.standard_normal(tuple(parts.shape[1:]), dtype=np.float32))
        sigma = torch.tensor(levels, dtype=parts.dtype, device=clean.device)
        if self.relative:
            rms = _rms(parts)
            if bool((rms == 0).any()):
                silent = start + int((rms == 0).nonzero()[0])
                raise ValueError(
                    f"expected clean data that are not all zero (noise is relative), got zeros in record {silent}"
                )
            sigma = sigma * rms
        if not noise:
            return clean.clone(), sigma
        unit = torch.from_numpy(np.stack(noise)).to(parts)
        unit = torch.view_as_complex(unit) if clean.is_complex() else unit
        unit = unit if self.colour is None else self.colour.colour(unit)
        return clean + sigma.reshape(-1, *[1] * (clean.ndim - 1)) * unit, sigma

    def sigma_of(self, data: torch.Tensor) -> torch.Tensor:
        """The noise level ``(batch,)`` that the problem itself implies for noisy data ``(batch, *data_shape)``.

        For a fixed relative level ``L``, ``E rms(y)^2 = rms(A x)^2 (1 + L^2)``: ``sigma = rms(y) L / sqrt(1 + L^2)``.

        Raises:
            ValueError: if levels are drawn, for then the data alone do not tell.
        """
        low, high = level_range(self.level)
        if low != high:
            raise ValueError(f"expected sigma to be given, for the noise level is drawn from {self.level}, got none")
        parts = real_parts(data)
        if self.relative:
            return _rms(parts) * (low / math.sqrt(1 + low**2))
        return torch.full((len(data),), low, dtype=parts.dtype, device=data.device)

    def log_likelihood(self, clean: torch.Tensor, data: torch.Tensor, sigma: torch.Tensor | float) -> torch.Tensor:
        """``log N(y; A x, sigma^2 L L^T)`` in nats with constants, ``(batch,)``.

        Args:
            clean: ``A x``, ``(batch, *data_shape)``.
            data: ``y`` of the same shape, or one that broadcasts against it.
            sigma: standard deviation, one number or ``(batch,)``, taken as given.

        Raises:
            ValueError: if sigma is not positive and finite.
        """
        residual = clean - data
        shape, fields = tuple(residual.shape[1:]), 1 + residual.is_complex()
        residual = real_parts(residual if self.colour is None else self.colour.whiten(residual)).flatten(1)
        sigma = check_sigma(sigma, residual)
        count = residual.shape[1]
        squares = residual.square().sum(1)
        value = -0.5 * squares / sigma**2 - count * torch.log(sigma) - 0.5 * count * math.log(2 * math.pi)
        return value if self.colour is None else value - fields * self.colour.log_det(shape)

    def whiten(self, residual: torch.Tensor, data: torch.Tensor) -> torch.Tensor:
        """``L^-1 r``; the residual itself where the noise is white."""
        if self.colour is None:
            return residual
        return self.colour.whiten(residual.reshape(-1, *data.shape[1:])).reshape(residual.shape)


def level_range(level: float | tuple[float, float]) -> tuple[float, float]:
    """The level as ``(low, high)``.

    Raises:
        ValueError: if it is not positive and finite.
    """
    low, high = level if isinstance(level, tuple) else (level, level)
    if not (0 < low <= high < math.inf):
        raise ValueError(f"expected a positive noise level, or a pair (low, high) of them, got {level}")
    return low, high


def check_sigma(sigma: torch.Tensor | float, like: torch.Tensor) -> torch.Tensor:
    """``sigma`` as a tensor like another.

    Raises:
        ValueError: if it is not positive and finite.
    """
    sigma = torch.as_tensor(sigma, dtype=like.dtype, device=like.device)
    check_finite(sigma, "sigma")
    if not bool((sigma > 0).all()):
        raise ValueError(f"expected a positive sigma, got {float(sigma.min())}")
    return sigma


def real_parts(data: torch.Tensor) -> torch.Tensor:
    """Complex data as pairs of real numbers, on a last axis of two."""
    return torch.view_as_real(data.resolve_conj()) if data.is_complex() else data


def _rms(parts: torch.Tensor) -> torch.Tensor:
    return parts.flatten(1).square().mean(1).sqrt()
