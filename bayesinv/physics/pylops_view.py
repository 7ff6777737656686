"""A torch operator seen from PyLops (its import is slow, so ``as_pylops`` loads this file when it is called)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pylops
import torch

from bayesinv.physics.operator import Operator

__all__ = ["PylopsView"]


class PylopsView(pylops.LinearOperator):  # type: ignore[misc, unused-ignore]
    """``matvec = A``, ``rmatvec = A^H`` of a torch operator, on the CPU, in ``dtype`` or the double one of its data."""

    def __init__(self, operator: Operator, *, dtype: Any) -> None:
        data = operator(torch.zeros(operator.model_shape, dtype=torch.float64))
        self.operator = operator
        self.complex_data = data.is_complex()
        self.complex_model = operator.adjoint(data).is_complex()
        dtype = np.dtype(dtype or (np.complex128 if self.complex_data else np.float64))
        self.precision = np.empty(0, dtype).real.dtype
        super().__init__(
            dtype=dtype, dims=operator.model_shape, dimsd=operator.data_shape, clinear=self._is_linear_over_complex()
        )

    def _is_linear_over_complex(self) -> bool:
        if not (self.complex_model and self.complex_data):
            return self.complex_model == self.complex_data
        model = torch.ones(self.operator.model_shape, dtype=torch.complex128)
        with torch.no_grad():
            return torch.allclose(self.operator(1j * model), 1j * self.operator(model))

    def _matvec(self, x: Any) -> Any:
        model = self._tensor(x if self.complex_model else x.real, self.operator.model_shape)
        with torch.no_grad():
            return self.operator(model).numpy().ravel()

    def _rmatvec(self, x: Any) -> Any:
        data = self._tensor(x if self.complex_data else x.real, self.operator.data_shape)
        with torch.no_grad():
            return self.operator.adjoint(data).numpy().ravel()

    def _tensor(self, x: Any, shape: tuple[int, ...]) -> torch.Tensor:
        dtype = np.result_type(self.precision, np.complex64) if np.iscomplexobj(x) else self.precision
        return torch.from_numpy(np.array(x, dtype=dtype).reshape(shape))
