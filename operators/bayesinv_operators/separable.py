"""An operator that acts on each axis by a matrix: ``y = M_z x M_x^T``."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bayesinv.physics.operator import check_batch

__all__ = ["Separable"]


class Separable:
    """``y = M_z x M_x^T`` on images ``(*batch, 1, z, x)``; the adjoint is ``M_z^T y M_x``.

    Args:
        along_z: ``M_z``, ``(data z, model z)``.
        along_x: ``M_x``, ``(data x, model x)``, or the number of columns, which are then left alone.
    """

    def __init__(self, along_z: npt.NDArray[np.float64], along_x: npt.NDArray[np.float64] | int) -> None:
        self.along_z = np.asarray(along_z, dtype=np.float64)
        self.along_x = None if isinstance(along_x, int) else np.asarray(along_x, dtype=np.float64)
        columns = (along_x, along_x) if isinstance(along_x, int) else along_x.shape
        self.model_shape = (1, self.along_z.shape[1], int(columns[1]))
        self.data_shape = (1, self.along_z.shape[0], int(columns[0]))
        self._matrices: dict[tuple[torch.dtype, torch.device], tuple[torch.Tensor, torch.Tensor | None]] = {}

    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        """``M_z x M_x^T``."""
        check_batch(model, self.model_shape, "model")
        along_z, along_x = self._tensors(model)
        data = along_z @ model
        return data if along_x is None else data @ along_x.T

    def adjoint(self, data: torch.Tensor) -> torch.Tensor:
        """``M_z^T y M_x``."""
        check_batch(data, self.data_shape, "data")
        along_z, along_x = self._tensors(data)
        model = along_z.T @ data
        return model if along_x is None else model @ along_x

    def _tensors(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        key = (like.dtype, like.device)
        if key not in self._matrices:
            with torch.inference_mode(False), torch.no_grad():
                self._matrices[key] = (
                    torch.from_numpy(self.along_z).to(like.device, like.dtype),
                    None if self.along_x is None else torch.from_numpy(self.along_x).to(like.device, like.dtype),
                )
        return self._matrices[key]

    def __getstate__(self) -> dict[str, Any]:
        """Without the cached tensors."""
        return self.__dict__ | {"_matrices": {}}
