"""Operators that act on each number by itself: ``y = w x`` and ``y = x[mask]``."""

from __future__ import annotations

import math

import torch

from bayesinv.physics.operator import check_batch

__all__ = ["Diagonal", "Restriction"]


class Diagonal:
    """``y = w x``; see :func:`bayesinv.physics.diagonal`."""

    def __init__(self, weights: torch.Tensor, shape: tuple[int, ...]) -> None:
        try:
            weights.expand(shape)
        except RuntimeError:
            raise ValueError(f"expected weights that broadcast to {shape}, got {tuple(weights.shape)}") from None
        self.weights, self.model_shape, self.data_shape = weights, shape, shape
        self.complex_data = weights.is_complex()

    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        """``w x``."""
        check_batch(model, self.model_shape, "model")
        return self._weights(model) * model

    def adjoint(self, data: torch.Tensor) -> torch.Tensor:
        """``conj(w) y``."""
        check_batch(data, self.data_shape, "data")
        return self._weights(data).conj() * data

    def _weights(self, like: torch.Tensor) -> torch.Tensor:
        return self.weights.to(like.device, like.dtype.to_complex() if self.complex_data else like.dtype.to_real())


class Restriction:
    """``y = x[mask]``; see :func:`bayesinv.physics.restrict`."""

    def __init__(self, mask: torch.Tensor, shape: tuple[int, ...]) -> None:
        if mask.dtype != torch.bool:
            raise ValueError(f"expected a boolean mask, got {mask.dtype}")
        try:
            full = mask.expand(shape)
        except RuntimeError:
            raise ValueError(f"expected a mask that broadcasts to {shape}, got {tuple(mask.shape)}") from None
        self.kept = full.reshape(-1).nonzero()[:, 0]
        if not len(self.kept):
            raise ValueError("expected a mask that keeps something, got all false")
        self.model_shape, self.data_shape = shape, (1, len(self.kept))
        self.complex_data = False  # of a real model

    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        """The kept values."""
        check_batch(model, self.model_shape, "model")
        flat = model.flatten(model.ndim - len(self.model_shape))
        return flat.index_select(-1, self.kept.to(model.device)).unsqueeze(-2)

    def adjoint(self, data: torch.Tensor) -> torch.Tensor:
        """The kept values in their places, zero elsewhere."""
        check_batch(data, self.data_shape, "data")
        flat = data.new_zeros(*data.shape[:-2], math.prod(self.model_shape))
        return flat.index_copy(-1, self.kept.to(data.device), data.squeeze(-2)).reshape(
            *data.shape[:-2], *self.model_shape
        )
