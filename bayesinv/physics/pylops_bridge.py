"""Any ``pylops.LinearOperator`` as a batched torch operator: ``y = A x`` and ``x = A^H y``, derivatives of any order.

The adjoint is that of the real inner product ``Re <a, b>``, as torch's gradients are: for a map that is linear over
complex numbers it is ``A^H``; for one that is linear over real numbers only (a conjugate, a real part) it is still
defined; and for a real model with complex data it is ``Re(A^H y)``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bayesinv.physics.functions import apply_linear
from bayesinv.physics.operator import check_batch

__all__ = ["PylopsOperator", "from_pylops"]

_COMPLEX = {torch.float32: torch.complex64, torch.float64: torch.complex128}
_NUMPY: dict[torch.dtype, np.dtype[Any]] = {
    torch.float64: np.dtype(np.float64),
    torch.complex64: np.dtype(np.complex64),
    torch.complex128: np.dtype(np.complex128),
}


def from_pylops(
    op: Any, *, channels: int | tuple[int | None, int | None] | None = None, complex_model: bool = False
) -> PylopsOperator:
    """A torch operator made of a PyLops one; it loops over the batch on the CPU, wherever the tensors live.

    Args:
        op: a ``pylops.LinearOperator``, or anything with ``dims, dimsd, dtype, matvec, rmatvec``.
        channels: which axis of ``dims`` and ``dimsd`` holds the channels, or a pair ``(of dims, of dimsd)``;
            None adds a channel axis of one.
        complex_model: whether images are complex. If not, the adjoint takes the real part.

    Returns:
        An operator with ``model_shape`` and ``data_shape``, channels first; it pickles if ``op`` does.

    Raises:
        ValueError: if something else than an operator is given, or ``channels`` is no axis of it.

    Example:
        >>> import pylops
        >>> derivative = from_pylops(pylops.FirstDerivative((8, 6), dtype="float64"))
        >>> derivative.model_shape, derivative(torch.ones(5, 1, 8, 6)).dtype
        ((1, 8, 6), torch.float32)
    """
    pair = channels if isinstance(channels, tuple) else (channels, channels)
    return PylopsOperator(op, pair, complex_model)


class PylopsOperator:
    """See :func:`from_pylops`."""

    def __init__(self, op: Any, channels: tuple[int | None, int | None], complex_model: bool) -> None:
        missing = [name for name in ("dims", "dimsd", "dtype", "matvec", "rmatvec") if not hasattr(op, name)]
        if missing:
            raise ValueError(f"expected a pylops.LinearOperator, got {type(op).__name__} without {', '.join(missing)}")
        self.op = op
        self.complex_model = complex_model
        self.dims = tuple(int(n) for n in op.dims)
        self.dimsd = tuple(int(n) for n in op.dimsd)
        self.channels = (_axis(channels[0], self.dims, "dims"), _axis(channels[1], self.dimsd, "dimsd"))
        self.model_shape = _channels_first(self.dims, self.channels[0])
        self.data_shape = _channels_first(self.dimsd, self.channels[1])
        self._complex_linear = bool(getattr(op, "clinear", True))
        self._complex_op = bool(np.issubdtype(op.dtype, np.complexfloating))
        self._real = np.empty(0, op.dtype).real.dtype
        probe = op.matvec(np.zeros(math.prod(self.dims), self._model_dtype()))  # op.dtype alone is not to be trusted
        over_complex = complex_model and (self._complex_linear or not self._complex_op)
        self.complex_data = over_complex or bool(np.iscomplexobj(probe))

    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        """``A x``: ``(*batch, *model_shape)`` to ``(*batch, *data_shape)``."""
        check_batch(model, self.model_shape, "model")
        _check_field(model, self.complex_model, "model")
        return apply_linear(model, self, False)

    def adjoint(self, data: torch.Tensor) -> torch.Tensor:
        """``A^H y``, its real part if models are real: ``(*batch, *data_shape)`` to ``(*batch, *model_shape)``."""
        check_batch(data, self.data_shape, "data")
        _check_field(data, self.complex_data, "data")
        return apply_linear(data, self, True)

    def compute(self, tensor: torch.Tensor, adjoint: bool, dtype: torch.dtype | None) -> torch.Tensor:
        """Run PyLops on each record; no derivatives, a fresh tensor."""
        into, out, dims, apply = (
            (self.data_shape, self.model_shape, self.dims, self._adjoint)
            if adjoint
            else (self.model_shape, self.data_shape, self.dimsd, self._forward)
        )
        from_axis, to_axis = self.channels[::-1] if adjoint else self.channels
        dtype = dtype or _result(tensor.dtype, self.complex_model if adjoint else self.complex_data)
        batch = tensor.shape[: tensor.ndim - len(into)]
        count, size = math.prod(batch), math.prod(dims)
        records = _to_numpy(tensor)
        if from_axis:
            records = np.moveaxis(records.reshape(count, *into), 1, from_axis + 1)
        records = records.reshape(count, math.prod(into))
        results = np.empty((count, size), _NUMPY.get(dtype, np.dtype(np.float32)))
        for record, result in zip(records, results, strict=True):
            answer = apply(record)
            result[...] = answer if dtype.is_complex else answer.real
        if to_axis:
            results = np.ascontiguousarray(np.moveaxis(results.reshape(count, *dims), to_axis + 1, 1))
        found = torch.from_numpy(results).view(*batch, *out)
        return found if found.dtype == dtype and tensor.is_cpu else found.to(device=tensor.device, dtype=dtype)

    def _model_dtype(self) -> npt.DTypeLike:
        return self.op.dtype if self._complex_op and (self._complex_linear or self.complex_model) else self._real

    def _forward(self, record: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if np.iscomplexobj(record) and not self._complex_op:  # a real operator would drop the imaginary part
            return self._forward(record.real) + 1j * self._forward(record.imag)
        return np.asarray(self.op.matvec(np.ascontiguousarray(record, self._model_dtype())))

    def _adjoint(self, record: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if self.complex_data and not self._complex_op:
            if self.complex_model:
                return self._adjoint_of(record.real) + 1j * self._adjoint_of(record.imag)
            return self._adjoint_of(record.astype(np.result_type(self._real, np.complex64)))
        return self._adjoint_of(record)

    def _adjoint_of(self, record: npt.NDArray[Any]) -> npt.NDArray[Any]:
        wide = np.iscomplexobj(record) or self._complex_op
        dtype = np.result_type(self._real, np.complex64) if wide else self._real
        return np.asarray(self.op.rmatvec(np.ascontiguousarray(record, dtype)))


def _result(dtype: torch.dtype, is_complex: bool) -> torch.dtype:
    """``dtype`` in the field of the result; half precisions have no complex type of their own and go to complex64."""
    if dtype.is_complex == is_complex:
        return dtype
    return _COMPLEX.get(dtype, torch.complex64) if is_complex else dtype.to_real()


def _axis(axis: int | None, dims: tuple[int, ...], what: str) -> int | None:
    if axis is None:
        return None
    if not -len(dims) <= axis < len(dims):
        raise ValueError(f"expected channels to be an axis of {what} {dims}, got {axis}")
    return axis % len(dims)


def _channels_first(dims: tuple[int, ...], axis: int | None) -> tuple[int, ...]:
    return (1, *dims) if axis is None else (dims[axis], *dims[:axis], *dims[axis + 1 :])


def _check_field(tensor: torch.Tensor, is_complex: bool, what: str) -> None:
    if tensor.is_complex() and not is_complex:
        raise ValueError(f"expected real {what}, got {tensor.dtype}")


def _to_numpy(tensor: torch.Tensor) -> npt.NDArray[Any]:
    plain = tensor.detach().cpu()
    if plain.dtype in (torch.bfloat16, torch.float16):
        plain = plain.float()
    array: npt.NDArray[Any] = plain.resolve_conj().resolve_neg().numpy()
    return array
