"""The simplest loss of data: some entries are kept, ``y_i = x_{k_i}``; and which, drawn from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from bayesinv.physics.operator import check_batch
from bayesinv.seeding import generator

__all__ = ["Selection", "jittered", "kept_number"]


class Selection:
    """``y_i = x_{k_i}`` along one axis of a model, or of its pixels as one axis; the adjoint puts zeros elsewhere.

    Args:
        model_shape: ``(channels, *space)``.
        index: the kept places ``k``, all different.
        axis: which axis of ``model_shape``; None for the pixels, row after row.
    """

    def __init__(self, model_shape: tuple[int, ...], index: Sequence[int], axis: int | None = None) -> None:
        self.model_shape = tuple(model_shape)
        self.index = [int(k) for k in index]
        self.flat = axis is None
        self.shape = (model_shape[0], int(np.prod(model_shape[1:]))) if axis is None else self.model_shape
        self.axis = (1 if axis is None else axis) - len(self.shape)
        length = self.shape[self.axis]
        if not self.index or min(self.index) < 0 or max(self.index) >= length or len(set(self.index)) < len(self.index):
            raise ValueError(f"expected one or more distinct places in 0..{length - 1}, got {self.index}")
        kept = list(self.shape)
        kept[self.axis] = len(self.index)
        self.data_shape = tuple(kept)
        self._places: dict[torch.device, torch.Tensor] = {}

    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        """The kept entries ``(*batch, *data_shape)``."""
        check_batch(model, self.model_shape, "model")
        batch = model.shape[: model.ndim - len(self.model_shape)]
        return model.reshape(*batch, *self.shape).index_select(self.axis, self._place(model.device))

    def adjoint(self, data: torch.Tensor) -> torch.Tensor:
        """The entries at their places, zero elsewhere: ``(*batch, *model_shape)``."""
        check_batch(data, self.data_shape, "data")
        batch = data.shape[: data.ndim - len(self.data_shape)]
        zeros = data.new_zeros(*batch, *self.shape)
        model = zeros.index_add(self.axis, self._place(data.device), data)
        return model.reshape(*batch, *self.model_shape)

    def _place(self, device: torch.device) -> torch.Tensor:
        if device not in self._places:
            with torch.inference_mode(False):
                self._places[device] = torch.tensor(self.index, device=device)
        return self._places[device]

    def __getstate__(self) -> dict[str, Any]:
        """Without the cached tensors."""
        return self.__dict__ | {"_places": {}}


def kept_number(share: float, total: int) -> int:
    """How many of ``total`` entries a share is, at least one.

    Raises:
        ValueError: if the share is not in ``(0, 1]``.
    """
    if not 0 < share <= 1:
        raise ValueError(f"expected a kept share above 0 and at most 1, got {share}")
    return max(1, round(share * total))


def jittered(number: int, total: int, seed: int) -> list[int]:
    """One place in each of ``number`` equal cells of ``0..total - 1``: random, but without large gaps.

    Source: G. Hennenfent, F. J. Herrmann, Geophysics 73 (2008) V19, doi:10.1190/1.2841038.

    Example:
        >>> places = jittered(8, 32, seed=0)
        >>> len(set(places)), max(b - a for a, b in zip(places, places[1:])) <= 7
        (8, True)
    """
    edges = np.floor(np.arange(number + 1) * total / number).astype(int)
    return [int(k) for k in generator(seed, 5).integers(edges[:-1], edges[1:])]
