"""What a forward operator is: ``y = A x`` with its adjoint ``A^H y``, on tensors with any leading batch axes.

Shapes hold the channels first and no batch: ``model_shape = (channels, *space)``. An operator keeps dtype and device
of what it is given and may be differentiated any number of times, in both modes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch

if TYPE_CHECKING:
    import pylops

__all__ = ["Operator", "as_pylops", "check_batch", "check_finite"]


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
    if tensor.ndim < len(shape) or tuple(tensor.shape[tensor.ndim - len(shape) :]) != tuple(shape):
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

    return PylopsView(operator, dtype=dtype)
