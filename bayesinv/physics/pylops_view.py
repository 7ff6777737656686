"""A torch operator seen from PyLops (its import is slow, so ``as_pylops`` loads this file when it is called)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pylops
import torch

from bayesinv.physics.operator import Operator

__all__ = ["PylopsView"]


class PylopsView(pylops.LinearOperator):  # type: ignore[misc, unused-ignore]
    """``matvec = A``, ``rmatvec = A^H`` of a torch operator, in ``dtype``, on the CPU."""

    def __init__(self, operator: Operator, *, dtype: Any) -> None:
        super().__init__(dtype=np.dtype(dtype), dims=operator.model_shape, dimsd=operator.data_shape)
        self.operator = operator

    def _matvec(self, x: Any) -> Any:
        with torch.no_grad():
            return self.operator(self._tensor(x, self.operator.model_shape)).numpy().ravel()

    def _rmatvec(self, x: Any) -> Any:
        with torch.no_grad():
            return self.operator.adjoint(self._tensor(x, self.operator.data_shape)).numpy().ravel()

    def _tensor(self, x: Any, shape: tuple[int, ...]) -> torch.Tensor:
        precision = np.result_type(np.empty(0, self.dtype).real, np.empty(0, x.dtype)) if np.iscomplexobj(x) else None
        real = np.empty(0, self.dtype).real.dtype
        return torch.from_numpy(np.array(x, dtype=precision or real).reshape(shape))
