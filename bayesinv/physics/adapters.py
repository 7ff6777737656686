"""Other people's linear operators as ours: pairs of functions, SciPy, DeepInverse, CUQIpy; ``y = A x``, ``x = A^H y``.

All are duck-typed: none of these packages is imported. What computes with NumPy goes through the loop of
`from_pylops`; what computes with torch keeps its batches and its device. A derivative of any order is ``A`` or ``A^H``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bayesinv.physics.functions import apply_linear, narrow
from bayesinv.physics.operator import check_batch
from bayesinv.physics.pylops_bridge import PylopsOperator

__all__ = ["from_callables", "from_cuqipy", "from_deepinv", "from_scipy", "from_torch"]

Array = npt.NDArray[Any]


def from_callables(
    forward: Callable[[Array], Array],
    adjoint: Callable[[Array], Array],
    *,
    model_shape: Sequence[int],
    data_shape: Sequence[int],
    dtype: npt.DTypeLike = np.float64,
    complex_model: bool = False,
) -> PylopsOperator:
    """A torch operator made of two NumPy functions of one record.

    Args:
        forward: ``A``: an array of ``model_shape`` to one of ``data_shape``.
        adjoint: ``A^H``: an array of ``data_shape`` to one of ``model_shape``; of complex data, its real part is taken
            where models are real.
        model_shape: ``(channels, *space)``.
        data_shape: ``(channels, *space)``.
        dtype: in which the functions compute; a complex one if the data are complex.
        complex_model: whether images are complex too.

    Example:
        >>> weights = np.array([[1.0, 2.0, 3.0]])
        >>> shapes = {"model_shape": (1, 3), "data_shape": (1, 3)}
        >>> operator = from_callables(lambda x: weights * x, lambda y: weights * y, **shapes)
        >>> operator(torch.ones(2, 1, 3))[0]
        tensor([[1., 2., 3.]])
    """
    pair = Callables(forward, adjoint, _shape(model_shape, "model_shape"), _shape(data_shape, "data_shape"), dtype)
    pair.clinear = complex_model  # real models reach the function as real arrays, whatever the field of the data
    return PylopsOperator(pair, (0, 0), complex_model)


def from_scipy(
    op: Any, *, model_shape: Sequence[int], data_shape: Sequence[int], complex_model: bool = False
) -> PylopsOperator:
    """A torch operator made of a ``scipy.sparse.linalg.LinearOperator``, a sparse matrix or a dense one.

    Args:
        op: of shape ``(data, model)``; the two are raveled in C order.
        model_shape: ``(channels, *space)``, of as many numbers as ``op`` has columns.
        data_shape: ``(channels, *space)``, of as many numbers as ``op`` has rows.
        complex_model: whether images are complex.

    Raises:
        ValueError: if the shapes do not fit.

    Example:
        >>> import scipy.sparse
        >>> operator = from_scipy(scipy.sparse.eye(3, 4), model_shape=(1, 2, 2), data_shape=(1, 3))
        >>> operator(torch.arange(4.0).reshape(1, 2, 2))
        tensor([[0., 1., 2.]])
    """
    from scipy.sparse.linalg import aslinearoperator

    linear = aslinearoperator(op)
    model, data = _shape(model_shape, "model_shape"), _shape(data_shape, "data_shape")
    if tuple(linear.shape) != (math.prod(data), math.prod(model)):
        raise ValueError(
            f"expected a matrix of shape {(math.prod(data), math.prod(model))} for data {data} and models {model}, "
            f"got {tuple(linear.shape)}"
        )
    pair = Callables(linear.matvec, linear.rmatvec, model, data, linear.dtype or np.float64)
    pair.flat = True
    return PylopsOperator(pair, (0, 0), complex_model)


def from_cuqipy(model: Any, *, model_shape: Sequence[int], data_shape: Sequence[int]) -> PylopsOperator:
    """A torch operator made of a linear model of CUQIpy: ``model.forward(x)`` and ``model.adjoint(y)`` on 1-D arrays.

    Args:
        model: a ``cuqi.model.LinearModel``, such as ``cuqi.testproblem.Deconvolution2D(...).model``.
        model_shape: ``(channels, *space)`` that its parameters are reshaped to.
        data_shape: ``(channels, *space)`` that its output is reshaped to.

    Source:
        N. A. B. Riis et al., CUQIpy: I, Inverse Problems 40 (2024) 045009, doi:10.1088/1361-6420/ad22e7.
    """
    _needs(model, ("forward", "adjoint"), "a linear model of CUQIpy")
    shapes = _shape(model_shape, "model_shape"), _shape(data_shape, "data_shape")
    pair = Callables(model.forward, model.adjoint, *shapes, np.float64)
    pair.flat = True
    return PylopsOperator(pair, (0, 0), False)


def from_torch(
    forward: Callable[[torch.Tensor], torch.Tensor],
    adjoint: Callable[[torch.Tensor], torch.Tensor],
    *,
    model_shape: Sequence[int],
    data_shape: Sequence[int],
    dtype: torch.dtype | None = None,
) -> TorchPair:
    """A torch operator made of two torch functions of a batch, whose derivatives are each other.

    Args:
        forward: ``A``: ``(batch, *model_shape)`` to ``(batch, *data_shape)``.
        adjoint: ``A^H``, the other way.
        model_shape: ``(channels, *space)``.
        data_shape: ``(channels, *space)``.
        dtype: in which the functions compute, that of their input if absent; the result has the input's precision.

    Example:
        >>> cumulative = from_torch(
        ...     lambda x: x.cumsum(-1), lambda y: y.flip(-1).cumsum(-1).flip(-1), model_shape=(1, 4), data_shape=(1, 4)
        ... )
        >>> cumulative(torch.ones(1, 4)), cumulative.adjoint(torch.ones(1, 4))
        (tensor([[1., 2., 3., 4.]]), tensor([[4., 3., 2., 1.]]))
    """
    return TorchPair(forward, adjoint, _shape(model_shape, "model_shape"), _shape(data_shape, "data_shape"), dtype)


def from_deepinv(
    physics: Any, *, model_shape: Sequence[int], data_shape: Sequence[int], dtype: torch.dtype | None = torch.float32
) -> TorchPair:
    """A torch operator made of a linear physics of DeepInverse: its ``A`` and ``A_adjoint``, without its noise.

    Args:
        physics: a ``deepinv.physics.LinearPhysics``.
        model_shape: ``(channels, *space)``, its ``img_size``.
        data_shape: shape of ``physics.A(x)`` without the batch.
        dtype: precision of its filters and masks; float32 unless told, as they are made.

    Source:
        J. Tachella et al., DeepInverse (2025), arXiv:2505.20160.
    """
    _needs(physics, ("A", "A_adjoint"), "a linear physics of DeepInverse")
    return from_torch(physics.A, physics.A_adjoint, model_shape=model_shape, data_shape=data_shape, dtype=dtype)


class Callables:
    """Two functions of one record, as what `PylopsOperator` asks for; see `from_callables`."""

    clinear = True
    flat = False

    def __init__(
        self,
        forward: Callable[[Array], Array],
        adjoint: Callable[[Array], Array],
        dims: tuple[int, ...],
        dimsd: tuple[int, ...],
        dtype: npt.DTypeLike,
    ) -> None:
        self.forward, self.adjoint = forward, adjoint
        self.dims, self.dimsd, self.dtype = dims, dimsd, np.dtype(dtype)

    def matvec(self, x: Array) -> Array:
        """``A x`` of a raveled model."""
        return self._run(self.forward, x, self.dims, self.dimsd, "forward")

    def rmatvec(self, y: Array) -> Array:
        """``A^H y`` of raveled data."""
        return self._run(self.adjoint, y, self.dimsd, self.dims, "adjoint")

    def _run(
        self, function: Callable[[Array], Array], x: Array, into: tuple[int, ...], out: tuple[int, ...], what: str
    ) -> Array:
        result = np.asarray(function(x if self.flat else x.reshape(into)))
        if (result.size != math.prod(out)) if self.flat else (result.shape != out):
            raise ValueError(f"expected {what} to return an array of {out}, got one of {result.shape}")
        return result.reshape(-1)


class TorchPair:
    """See :func:`from_torch`."""

    def __init__(
        self,
        forward: Callable[[torch.Tensor], torch.Tensor],
        adjoint: Callable[[torch.Tensor], torch.Tensor],
        model_shape: tuple[int, ...],
        data_shape: tuple[int, ...],
        dtype: torch.dtype | None,
    ) -> None:
        self.functions = forward, adjoint
        self.model_shape, self.data_shape, self.dtype = model_shape, data_shape, dtype

    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        """``A x``: ``(*batch, *model_shape)`` to ``(*batch, *data_shape)``."""
        check_batch(model, self.model_shape, "model")
        return apply_linear(model, self, False)

    def adjoint(self, data: torch.Tensor) -> torch.Tensor:
        """``A^H y``: ``(*batch, *data_shape)`` to ``(*batch, *model_shape)``."""
        check_batch(data, self.data_shape, "data")
        return apply_linear(data, self, True)

    def compute(self, tensor: torch.Tensor, adjoint: bool, dtype: torch.dtype | None) -> torch.Tensor:
        """Run the function on one flat batch; no derivatives, a fresh tensor."""
        into, out = (self.data_shape, self.model_shape) if adjoint else (self.model_shape, self.data_shape)
        batch = tensor.shape[: tensor.ndim - len(into)]
        records = tensor.detach().reshape(math.prod(batch), *into)
        if self.dtype is not None:
            records = records.to(_field(self.dtype, records.is_complex()))
        with torch.no_grad():
            results = self.functions[adjoint](records)
        if tuple(results.shape) != (math.prod(batch), *out):
            what = "adjoint" if adjoint else "forward"
            raise ValueError(
                f"expected {what} to return a tensor of {(math.prod(batch), *out)}, got {tuple(results.shape)}"
            )
        dtype = dtype or _field(tensor.dtype, results.is_complex())
        results = narrow(results.reshape(*batch, *out), dtype)
        return (
            results.clone() if results.untyped_storage().data_ptr() == tensor.untyped_storage().data_ptr() else results
        )


def _field(dtype: torch.dtype, is_complex: bool) -> torch.dtype:
    return dtype.to_complex() if is_complex else dtype.to_real()


def _shape(shape: Sequence[int], what: str) -> tuple[int, ...]:
    sizes = tuple(int(n) for n in shape)
    if not sizes or min(sizes) < 1:
        raise ValueError(f"expected {what} as (channels, *space) of positive sizes, got {tuple(shape)}")
    return sizes


def _needs(thing: Any, methods: tuple[str, ...], what: str) -> None:
    missing = [name for name in methods if not callable(getattr(thing, name, None))]
    if missing:
        raise ValueError(f"expected {what}, got {type(thing).__name__} without {', '.join(missing)}")
