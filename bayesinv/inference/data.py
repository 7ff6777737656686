"""The door for observed data: array, tensor or ``xarray.DataArray``, one record or a batch, checked once."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from bayesinv.physics import ForwardModel

__all__ = ["as_batch"]


def as_batch(y: Any, forward: ForwardModel) -> tuple[Tensor, bool]:
    """A float32 (or complex64) batch ``(batch, *data_shape)`` of the data, and whether it was one record.

    Raises:
        ValueError: for a wrong shape or dtype, NaN or infinity, or data marked as another operator's.
    """
    marked = getattr(y, "attrs", {}).get("operator")
    if marked is not None and marked != forward.fingerprint():
        raise ValueError(
            f"expected data of the operator {forward.fingerprint()} ({forward.name}), got data marked as of {marked}"
        )
    tensor = y if isinstance(y, Tensor) else _tensor(y)
    single = tensor.ndim == len(forward.data_shape)
    tensor = tensor[None] if single else tensor
    if not (tensor.is_floating_point() or tensor.is_complex()):
        raise ValueError(f"expected real or complex floating-point data, got {tensor.dtype}")
    tensor = tensor.detach().to(torch.complex64 if tensor.is_complex() else torch.float32)
    forward.check_data(tensor)
    return tensor, single


def _tensor(y: Any) -> Tensor:
    array = np.asarray(y)
    if array.dtype.kind not in "fc":
        raise ValueError(f"expected real or complex floating-point data, got {array.dtype}")
    return torch.from_numpy(np.array(array, dtype="c16" if array.dtype.kind == "c" else "f8", order="C"))
