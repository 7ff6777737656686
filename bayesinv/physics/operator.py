"""What a forward operator is: ``y = A x`` with its adjoint ``A^H y``, or ``y = F(x)`` with its linearisation ``J(x)``.

Shapes hold the channels first and no batch: ``model_shape = (channels, *space)``; tensors have any leading batch axes.
An operator keeps dtype and device of what it is given and may be differentiated, a linear one any number of times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch

if TYPE_CHECKING:
    import pylops

__all__ = [
    "AnyOperator",
    "NonlinearOperator",
    "Operator",
    "as_linear",
    "as_pylops",
    "check_batch",
    "check_finite",
    "has_complex_data",
    "is_linear",
]


@runtime_checkable
class Operator(Protocol):
    """A linear map between models ``(*batch, *model_shape)`` and data ``(*batch, *data_shape)``."""

    @property
    def model_shape(self) -> tuple[int, ...]:
        """Shape ``(channels, *space)`` of one model."""
        ...

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Shape ``(channels, *space)`` of one record of data."""
        ...

    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        """``A x``."""
        ...

    def adjoint(self, data: torch.Tensor) -> torch.Tensor:
        """``A^H y``."""
        ...


@runtime_checkable
class NonlinearOperator(Protocol):
    """A map ``F`` from models ``(*batch, *model_shape)`` to data ``(*batch, *data_shape)``; it has no ``adjoint``."""

    @property
    def model_shape(self) -> tuple[int, ...]:
        """Shape ``(channels, *space)`` of one model."""
        ...

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Shape ``(channels, *space)`` of one record of data."""
        ...

    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        """``F(x)``."""
        ...

    def linearize(self, model: torch.Tensor) -> Operator:
        """``J(x) = dF/dx``, whose call is the Born map and whose adjoint is the gradient.

        At one model it takes any leading batch axes; at a batch of models ``(*batch, *model_shape)``, tensors with
        these axes (and any in front of them), each record with the Jacobian at its own model.
        """
        ...


AnyOperator = Operator | NonlinearOperator


def is_linear(operator: AnyOperator) -> bool:
    """Whether an operator is linear: it has an ``adjoint``, a nonlinear one has ``linearize`` instead."""
    return isinstance(operator, Operator)


def as_linear(operator: AnyOperator) -> Operator:
    """The operator itself, as a linear one.

    Raises:
        ValueError: if it is not linear, or no operator.

    Example:
        >>> from bayesinv.physics import from_function
        >>> as_linear(from_function(torch.exp, model_shape=(1, 3), data_shape=(1, 3)))
        Traceback (most recent call last):
        ValueError: expected a linear operator, got a nonlinear one; use operator.linearize(x) about a model x
    """
    if isinstance(operator, Operator):
        return operator
    if isinstance(operator, NonlinearOperator):
        raise ValueError("expected a linear operator, got a nonlinear one; use operator.linearize(x) about a model x")
    raise ValueError(
        "expected an operator with model_shape, data_shape, __call__ and adjoint (PyLops: from_pylops(op)), "
        f"got {type(operator).__name__}"
    )


def has_complex_data(operator: AnyOperator, bounds: tuple[float, float] | None = None) -> bool:
    """Whether the data of real models are complex; asks ``operator.complex_data``, or tries a model within bounds."""
    known = getattr(operator, "complex_data", None)
    if known is not None:
        return bool(known)
    model = torch.ones(operator.model_shape, dtype=torch.float64)
    with torch.no_grad():
        return operator(model if bounds is None else model.clamp(*bounds)).is_complex()


def check_batch(tensor: torch.Tensor, shape: tuple[int, ...], what: str) -> None:
    """Raise unless ``tensor`` is a floating (or complex) tensor of ``(*batch, *shape)``.

    Raises:
        ValueError: saying what was expected and what came.

    Example:
        >>> check_batch(torch.zeros(5, 1, 4, 4), (1, 4, 4), "model")
        >>> check_batch(torch.zeros(4, 3), (1, 4, 4), "model")
        Traceback (most recent call last):
        ValueError: expected model of shape (1, 4, 4), or a batch of them, got a tensor of (4, 3)
    """
    if not isinstance(tensor, torch.Tensor):
        raise ValueError(f"expected {what} as a torch tensor, got {type(tensor).__name__}")
    if tensor.ndim < len(shape) or tensor.shape[tensor.ndim - len(shape) :] != tuple(shape):
        raise ValueError(
            f"expected {what} of shape {tuple(shape)}, or a batch of them, got a tensor of {tuple(tensor.shape)}"
        )
    if not (tensor.is_floating_point() or tensor.is_complex()):
        raise ValueError(f"expected {what} of a floating dtype, got {tensor.dtype}")


def check_finite(tensor: torch.Tensor, what: str) -> None:
    """Raise if ``tensor`` holds NaN or infinity.

    Raises:
        ValueError: with the number of such values.

    Example:
        >>> check_finite(torch.tensor([1.0, float("nan")]), "data")
        Traceback (most recent call last):
        ValueError: expected finite data, got 1 of 2 values NaN or infinite
    """
    finite = torch.isfinite(tensor)
    if not bool(finite.all()):
        raise ValueError(
            f"expected finite {what}, got {int((~finite).sum())} of {tensor.numel()} values NaN or infinite"
        )


def as_pylops(operator: Operator, *, dtype: Any = None) -> pylops.LinearOperator:
    """A ``pylops.LinearOperator`` that shows ``operator`` to PyLops and its solvers.

    Args:
        operator: any operator, say a native torch one.
        dtype: NumPy dtype in which PyLops computes; float64, or complex128 for complex data, if absent.

    Returns:
        A linear operator with ``dims = model_shape`` and ``dimsd = data_shape``, on the CPU.
    """
    from bayesinv.physics.pylops_view import PylopsView

    return PylopsView(as_linear(operator), dtype=dtype)
