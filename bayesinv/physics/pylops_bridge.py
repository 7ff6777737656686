"""Any ``pylops.LinearOperator`` as a batched torch operator: ``y = A x`` and ``x = A^H y``, derivatives of any order.

The derivative of ``x -> A x`` is ``A`` itself (forward mode) and its adjoint is ``A^H`` (reverse mode), whose adjoint
is ``A`` again; so one ``autograd.Function`` that knows its own direction is closed under differentiation. For a real
model with complex data the adjoint with respect to the real inner product ``Re <a, b>`` is ``Re(A^H y)``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bayesinv.physics.operator import check_batch

__all__ = ["PylopsOperator", "from_pylops"]

_PRECISION = {torch.float32: torch.complex64, torch.float64: torch.complex128}


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
        An operator with ``model_shape`` and ``data_shape``, channels first.

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
        if complex_model and not self._complex_linear:
            raise ValueError("expected an operator that is linear over complex models, got one with clinear=False")
        probe = op.matvec(np.zeros(math.prod(self.dims), self._model_dtype()))  # op.dtype alone is not to be trusted
        self.complex_data = complex_model or bool(np.iscomplexobj(probe))

    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        """``A x``: ``(*batch, *model_shape)`` to ``(*batch, *data_shape)``."""
        check_batch(model, self.model_shape, "model")
        _check_field(model, self.complex_model, "model")
        return _apply(model, self, False, _result(model.dtype, self.complex_data))

    def adjoint(self, data: torch.Tensor) -> torch.Tensor:
        """``A^H y``, its real part if models are real: ``(*batch, *data_shape)`` to ``(*batch, *model_shape)``."""
        check_batch(data, self.data_shape, "data")
        _check_field(data, self.complex_data, "data")
        return _apply(data, self, True, _result(data.dtype, self.complex_model))

    def compute(self, tensor: torch.Tensor, adjoint: bool, dtype: torch.dtype) -> torch.Tensor:
        """Run PyLops on each record; no derivatives, a fresh tensor."""
        shapes = (self.model_shape, self.data_shape)
        into, out = shapes[::-1] if adjoint else shapes
        dims, dimsd = (self.dimsd, self.dims) if adjoint else (self.dims, self.dimsd)
        from_axis, to_axis = self.channels[::-1] if adjoint else self.channels
        batch = tensor.shape[: tensor.ndim - len(into)]
        count = math.prod(batch)
        records = _to_numpy(tensor).reshape(count, *into)
        if from_axis is not None:
            records = np.moveaxis(records, 1, from_axis + 1)
        records = records.reshape(count, math.prod(dims))
        results = np.empty((count, math.prod(dimsd)), np.complex128 if dtype.is_complex else np.float64)
        for record, result in zip(records, results, strict=True):
            answer = self._adjoint(record) if adjoint else self._forward(record)
            result[...] = answer if dtype.is_complex else answer.real
        if to_axis is not None:
            results = np.moveaxis(results.reshape(count, *dimsd), to_axis + 1, 1)
        array = torch.from_numpy(np.ascontiguousarray(results)).reshape(*batch, *out)
        return array.to(device=tensor.device, dtype=dtype)

    def _model_dtype(self) -> npt.DTypeLike:
        return self.op.dtype if self._complex_op and self._complex_linear else self._real

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


class _Apply(torch.autograd.Function):
    """``A`` or ``A^H``; its backward and its forward-mode rule are ``_Apply`` again."""

    @staticmethod
    def forward(tensor: torch.Tensor, operator: PylopsOperator, adjoint: bool, dtype: torch.dtype) -> torch.Tensor:
        return operator.compute(tensor, adjoint, dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        tensor, ctx.operator, ctx.is_adjoint, ctx.out_dtype = inputs
        ctx.in_dtype = tensor.dtype

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return _apply(grads[0], ctx.operator, not ctx.is_adjoint, ctx.in_dtype), None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> torch.Tensor:
        return _apply(tangents[0], ctx.operator, ctx.is_adjoint, ctx.out_dtype)

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        tensor: torch.Tensor,
        operator: PylopsOperator,
        adjoint: bool,
        dtype: torch.dtype,
    ) -> tuple[torch.Tensor, int]:
        assert in_dims[0] is not None
        return _apply(tensor.movedim(in_dims[0], 0), operator, adjoint, dtype), 0


def _apply(tensor: torch.Tensor, operator: PylopsOperator, adjoint: bool, dtype: torch.dtype) -> torch.Tensor:
    result: torch.Tensor = _Apply.apply(tensor, operator, adjoint, dtype)  # type: ignore[no-untyped-call]
    return result


def _result(dtype: torch.dtype, is_complex: bool) -> torch.dtype:
    """``dtype`` in the field of the result; half precisions have no complex type of their own and go to complex64."""
    if dtype.is_complex == is_complex:
        return dtype
    return _PRECISION.get(dtype, torch.complex64) if is_complex else dtype.to_real()


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
    plain = tensor.detach().resolve_conj().resolve_neg().cpu()
    array: npt.NDArray[Any] = (plain.float() if plain.dtype in (torch.bfloat16, torch.float16) else plain).numpy()
    return array
