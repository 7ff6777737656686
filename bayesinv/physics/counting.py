"""How often an operator is applied: ``A x`` and ``A^H y``, or ``J(x) d`` and ``J(x)^H e``, by hand or by autograd.

The backward pass of ``A x`` is one ``A^H``, that of ``A^H y`` one ``A``: an identity in front of each call counts the
derivatives that pass through it, and leaves the operator's own derivatives as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, overload

import torch

from bayesinv.physics.operator import AnyOperator, NonlinearOperator, Operator, has_complex_data

__all__ = ["Calls", "CountedNonlinear", "CountedOperator", "counted"]


@dataclass
class Calls:
    """Calls so far, one for a batch of any size."""

    forward: int = 0
    adjoint: int = 0

    @property
    def total(self) -> int:
        """Both together."""
        return self.forward + self.adjoint

    def reset(self) -> None:
        """Back to zero."""
        self.forward = self.adjoint = 0

    def note(self, *, adjoint: bool) -> None:
        """One more."""
        self.adjoint += adjoint
        self.forward += not adjoint


@overload
def counted(operator: Operator, calls: Calls | None = None) -> CountedOperator: ...
@overload
def counted(operator: NonlinearOperator, calls: Calls | None = None) -> CountedNonlinear: ...
@overload
def counted(operator: AnyOperator, calls: Calls | None = None) -> CountedOperator | CountedNonlinear: ...


def counted(operator: AnyOperator, calls: Calls | None = None) -> CountedOperator | CountedNonlinear:
    """The same operator with a tally.

    Args:
        operator: linear or not. Of a nonlinear one, ``F(x)`` and ``J(x) d`` count as forward, ``J(x)^H e`` as adjoint.
        calls: the tally to write into, a new one if absent; also the attribute ``calls`` of the result.

    Example:
        >>> from bayesinv.physics import identity
        >>> operator = counted(identity((1, 4)))
        >>> x = torch.ones(8, 1, 4, requires_grad=True)
        >>> operator(x).sum().backward()
        >>> operator.calls
        Calls(forward=1, adjoint=1)
    """
    calls = Calls() if calls is None else calls
    return CountedOperator(operator, calls) if isinstance(operator, Operator) else CountedNonlinear(operator, calls)


class CountedOperator:
    """See :func:`counted`."""

    def __init__(self, operator: Operator, calls: Calls) -> None:
        self.operator, self.calls = operator, calls
        self.model_shape, self.data_shape = tuple(operator.model_shape), tuple(operator.data_shape)

    @property
    def complex_data(self) -> bool:
        """Whether the data are complex."""
        return has_complex_data(self.operator)

    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        """``A x``."""
        self.calls.note(adjoint=False)
        return self.operator(_watched(model, self.calls, True))

    def adjoint(self, data: torch.Tensor) -> torch.Tensor:
        """``A^H y``."""
        self.calls.note(adjoint=True)
        return self.operator.adjoint(_watched(data, self.calls, False))


class CountedNonlinear:
    """See :func:`counted`."""

    def __init__(self, operator: NonlinearOperator, calls: Calls) -> None:
        self.operator, self.calls = operator, calls
        self.model_shape, self.data_shape = tuple(operator.model_shape), tuple(operator.data_shape)

    @property
    def complex_data(self) -> bool:
        """Whether the data are complex."""
        return has_complex_data(self.operator)

    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        """``F(x)``."""
        self.calls.note(adjoint=False)
        return self.operator(_watched(model, self.calls, True))

    def linearize(self, model: torch.Tensor) -> CountedOperator:
        """``J(x)``, which counts into the same tally; what `linearize` itself simulates is not counted."""
        return CountedOperator(self.operator.linearize(model), self.calls)


class _Watched(torch.autograd.Function):
    """The identity; a derivative that passes is counted, and watched in turn."""

    generate_vmap_rule = True

    @staticmethod
    def forward(tensor: torch.Tensor, calls: Calls, adjoint: bool) -> torch.Tensor:
        return tensor.view_as(tensor)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        _, ctx.calls, ctx.is_adjoint = inputs

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        ctx.calls.note(adjoint=ctx.is_adjoint)
        return _watched(grads[0], ctx.calls, not ctx.is_adjoint), None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> torch.Tensor:
        ctx.calls.note(adjoint=not ctx.is_adjoint)
        tangent: torch.Tensor = tangents[0]
        return tangent.view_as(tangent)


def _watched(tensor: torch.Tensor, calls: Calls, adjoint: bool) -> torch.Tensor:
    result: torch.Tensor = _Watched.apply(tensor, calls, adjoint)  # type: ignore[no-untyped-call]
    return result
