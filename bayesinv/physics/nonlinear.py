"""Nonlinear forward operators ``y = F(x)`` with their linearisation ``J(x) = dF/dx``.

Two makers: `from_function` for a differentiable torch function, whose ``J(x) d`` and ``J(x)^H e`` are torch's own
derivatives; `from_simulator` for a NumPy simulator that brings its Jacobian.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bayesinv.physics.functions import apply_linear, apply_nonlinear, narrow
from bayesinv.physics.operator import Operator, check_batch

__all__ = ["FunctionOperator", "SimulatorOperator", "from_function", "from_simulator"]


def from_function(
    function: Callable[[torch.Tensor], torch.Tensor], *, model_shape: Sequence[int], data_shape: Sequence[int]
) -> FunctionOperator:
    """A nonlinear operator made of a differentiable torch function.

    Args:
        function: ``F``: ``(*batch, *model_shape)`` to ``(*batch, *data_shape)``, each record by itself.
        model_shape: ``(channels, *space)``.
        data_shape: ``(channels, *space)``.

    Example:
        >>> square = from_function(torch.square, model_shape=(1, 3), data_shape=(1, 3))
        >>> x = torch.tensor([[1.0, 2.0, 3.0]])
        >>> square.linearize(x).adjoint(torch.ones(1, 3))
        tensor([[2., 4., 6.]])
    """
    return FunctionOperator(function, tuple(model_shape), tuple(data_shape))


def from_simulator(
    simulate: Callable[[npt.NDArray[Any]], npt.NDArray[Any]],
    jacobian: Callable[[npt.NDArray[Any]], Any],
    *,
    model_shape: Sequence[int],
    data_shape: Sequence[int],
) -> SimulatorOperator:
    """A nonlinear operator made of a NumPy simulator of one record and its Jacobian.

    Args:
        simulate: ``F``: an array of ``model_shape`` to one of ``data_shape``, float64, real or complex data.
        jacobian: ``x -> J(x)``: a matrix, dense or sparse, or a linear operator of SciPy or PyLops, of shape
            ``(data, model)``, both raveled in C order.
        model_shape: ``(channels, *space)``.
        data_shape: ``(channels, *space)``.

    Returns:
        An operator that is differentiable once, in both modes; a second derivative raises, for ``J`` is not known to
        be differentiable.

    Example:
        >>> operator = from_simulator(
        ...     np.exp, lambda x: np.diag(np.exp(x).ravel()), model_shape=(1, 2), data_shape=(1, 2)
        ... )
        >>> x = torch.zeros(5, 1, 2, requires_grad=True)
        >>> operator(x).sum().backward(); x.grad[0]
        tensor([[1., 1.]])
    """
    return SimulatorOperator(simulate, jacobian, tuple(model_shape), tuple(data_shape))


class FunctionOperator:
    """See :func:`from_function`."""

    def __init__(
        self,
        function: Callable[[torch.Tensor], torch.Tensor],
        model_shape: tuple[int, ...],
        data_shape: tuple[int, ...],
    ) -> None:
        self.function, self.model_shape, self.data_shape = function, model_shape, data_shape

    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        """``F(x)``: ``(*batch, *model_shape)`` to ``(*batch, *data_shape)``."""
        check_batch(model, self.model_shape, "model")
        data = self.function(model)
        check_batch(data, self.data_shape, "data of the function")
        return data

    def linearize(self, model: torch.Tensor) -> Operator:
        """``J(x)`` by forward and reverse mode; it can be differentiated again, in ``x`` too."""
        check_batch(model, self.model_shape, "model")
        return _FunctionJacobian(self, model)


class _FunctionJacobian:
    def __init__(self, operator: FunctionOperator, at: torch.Tensor) -> None:
        self.operator, self.at = operator, at
        self.model_shape, self.data_shape = operator.model_shape, operator.data_shape

    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        check_batch(model, self.model_shape, "model")
        at = self._at(model, self.model_shape, model.dtype)
        tangent: torch.Tensor = torch.func.jvp(self.operator, (at,), (model,))[1]
        return tangent

    def adjoint(self, data: torch.Tensor) -> torch.Tensor:
        check_batch(data, self.data_shape, "data")
        at = self._at(data, self.data_shape, data.dtype.to_real() if not self.at.is_complex() else data.dtype)
        model: torch.Tensor = torch.func.vjp(self.operator, at)[1](data)[0]
        return model

    def _at(self, tensor: torch.Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        batch = _batch_of(tensor, shape, self.at.shape[: self.at.ndim - len(self.model_shape)])
        return self.at.to(dtype).expand(*batch, *self.model_shape).contiguous()


class SimulatorOperator:
    """See :func:`from_simulator`."""

    def __init__(
        self,
        simulate: Callable[[npt.NDArray[Any]], npt.NDArray[Any]],
        jacobian: Callable[[npt.NDArray[Any]], Any],
        model_shape: tuple[int, ...],
        data_shape: tuple[int, ...],
    ) -> None:
        self.simulate, self.jacobian = simulate, jacobian
        self.model_shape, self.data_shape = model_shape, data_shape

    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        """``F(x)``: ``(*batch, *model_shape)`` to ``(*batch, *data_shape)``."""
        check_batch(model, self.model_shape, "model")
        return apply_nonlinear(model, self)

    def linearize(self, model: torch.Tensor) -> Operator:
        """``J(x)``, one for each record of ``(*batch, *model_shape)``."""
        check_batch(model, self.model_shape, "model")
        return _SimulatorJacobian(self, model.detach())

    def compute(self, model: torch.Tensor) -> torch.Tensor:
        """Run the simulator on each record; no derivatives, a fresh tensor."""
        batch = model.shape[: model.ndim - len(self.model_shape)]
        results = []
        for record in _records(model, self.model_shape):
            result = np.asarray(self.simulate(record))
            if result.shape != self.data_shape:
                raise ValueError(f"expected the simulator to return {self.data_shape}, got {result.shape}")
            results.append(result)
        data = torch.from_numpy(np.array(results).reshape(*batch, *self.data_shape))
        return data.to(model.device, model.dtype.to_complex() if data.is_complex() else model.dtype)


class _SimulatorJacobian:
    def __init__(self, operator: SimulatorOperator, at: torch.Tensor) -> None:
        from scipy.sparse.linalg import aslinearoperator

        self.model_shape, self.data_shape = operator.model_shape, operator.data_shape
        self.batch = at.shape[: at.ndim - len(self.model_shape)]
        self.parts = [aslinearoperator(operator.jacobian(x)) for x in _records(at, self.model_shape)]
        wanted = math.prod(self.data_shape), math.prod(self.model_shape)
        for part in self.parts:
            if tuple(part.shape) != wanted:
                raise ValueError(f"expected a Jacobian of shape {wanted}, got {tuple(part.shape)}")

    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        check_batch(model, self.model_shape, "model")
        return apply_linear(model, self, False)

    def adjoint(self, data: torch.Tensor) -> torch.Tensor:
        check_batch(data, self.data_shape, "data")
        return apply_linear(data, self, True)

    def compute(self, tensor: torch.Tensor, adjoint: bool, dtype: torch.dtype | None) -> torch.Tensor:
        into, out = (self.data_shape, self.model_shape) if adjoint else (self.model_shape, self.data_shape)
        batch = _batch_of(tensor, into, self.batch)
        tensor = tensor.expand(*batch, *into)
        results = []
        for index, record in enumerate(_records(tensor, into)):
            part = self.parts[index % len(self.parts)]
            result = part.rmatvec(record.ravel()) if adjoint else part.matvec(record.ravel())
            results.append(result.real if adjoint else result)  # models are real
        answer = torch.from_numpy(np.array(results).reshape(*batch, *out)).to(tensor.device)
        precision = tensor.dtype.to_complex() if answer.is_complex() else tensor.dtype.to_real()
        return narrow(answer, dtype or precision)


def _records(tensor: torch.Tensor, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    plain = tensor.detach().resolve_conj().resolve_neg().cpu()
    wide = torch.complex128 if plain.is_complex() else torch.float64
    return plain.to(wide).reshape(-1, *shape).numpy()


def _batch_of(tensor: torch.Tensor, shape: tuple[int, ...], at: torch.Size) -> torch.Size:
    """The leading axes of a tensor, which must end in those of the models at which ``J`` is taken.

    Raises:
        ValueError: if they do not.
    """
    batch = tensor.shape[: tensor.ndim - len(shape)]
    if batch[len(batch) - len(at) :] != at or len(batch) < len(at):
        raise ValueError(
            f"expected leading axes that end in {tuple(at)}, those of the models of linearize, got {tuple(batch)}"
        )
    return batch
