r"""`MisfitGradient`: the gradient of the data misfit ``1/2 |A(psi(eta)) - y|^2`` with respect to ``eta``.

    g = psi'(eta)^H J^H (A(psi(eta)) - y),   J = A'(psi(eta)), which is A itself where A is linear.

It costs one ``A`` and one ``J^H``. For data in the space of the image, ``b = A^H y``, with the Gauss-Newton operator
``N = A^H A`` in the place of both: ``g = psi'(eta)^H (N psi(eta) - b)``, one application.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from bayesinv.physics.operator import AnyOperator, NonlinearOperator, Operator, check_batch
from bayesinv.unrolled.pulling import pulling

__all__ = ["MisfitGradient", "OperatorOf", "Psi", "per_record"]

OperatorOf = Callable[..., AnyOperator]
Psi = Callable[[Tensor], Tensor]


class MisfitGradient(nn.Module):
    """The gradient of the data misfit, differentiable in all that goes in.

    Args:
        operator: ``A``, linear or nonlinear; or, where every record has an operator of its own, a function of further
            tensors ``(batch, ...)`` that returns the operator of the batch, such as `per_record`.
        psi: from the estimate to the image, any differentiable function or module; the identity by default. It may
            change the number of channels, or make a complex image of two real channels.
        gauss_newton: whether ``operator`` is ``N = A^H A`` and the data are ``A^H y``.
        second_order: of a nonlinear operator, whether the derivative of ``g`` is exact, which asks for an operator that
            torch can differentiate twice. If not, ``J`` is taken as a constant in it: ``g' = J^H J``.

    Source: Putzky and Welling, Invert to learn to invert, 2019, arXiv 1911.10914.

    Raises:
        ValueError: in use, for data of another shape, or parameters of operators where there is one for all records.

    Example:
        >>> import numpy as np, pylops
        >>> from bayesinv.physics import from_pylops
        >>> twice = from_pylops(pylops.Diagonal(np.array([2.0, 4.0])))
        >>> MisfitGradient(twice)(torch.ones(1, 1, 2), torch.zeros(1, 1, 2))
        tensor([[[ 4., 16.]]])
    """

    def __init__(
        self,
        operator: AnyOperator | OperatorOf,
        *,
        psi: Psi | None = None,
        gauss_newton: bool = False,
        second_order: bool = True,
    ) -> None:
        super().__init__()
        self.operator, self.psi, self.gauss_newton, self.second_order = operator, psi, gauss_newton, second_order

    def forward(self, estimate: Tensor, data: Tensor, *parameters: Tensor) -> Tensor:
        """``g``, of the shape of the estimate ``eta (batch, channels, *space)``.

        Args:
            estimate: ``eta``.
            data: ``y (batch, *data_shape)``.
            parameters: what the operators of the records are made of, each ``(batch, ...)``.
        """
        operator = self._operator(parameters)
        check_batch(data, tuple(operator.data_shape), "data")
        if self.psi is None:
            return self._gradient(operator, estimate, data)
        image, pull = pulling(self.psi, estimate)
        return pull(self._gradient(operator, image, data))

    def _operator(self, parameters: Sequence[Tensor]) -> AnyOperator:
        if not isinstance(self.operator, (Operator, NonlinearOperator)):
            return self.operator(*parameters)
        if parameters:
            raise ValueError("expected data alone for one operator, got parameters of the records' own operators, too")
        return self.operator

    def _gradient(self, operator: AnyOperator, image: Tensor, data: Tensor) -> Tensor:
        """``J^H (A(image) - y)``, or ``N image - b``."""
        if self.gauss_newton:
            return operator(image) - data
        if isinstance(operator, Operator):
            return operator.adjoint(operator(image) - data)
        if self.second_order:
            predicted, pull = pulling(operator, image)
            return pull(predicted - data)
        return operator.linearize(image.detach()).adjoint(operator(image) - data)


def per_record(operators: Sequence[Operator]) -> OperatorOf:
    """Linear operators of which every record has its own: a function of their numbers ``(batch,)``.

    Args:
        operators: of equal shapes.

    Raises:
        ValueError: if there is none, or their shapes differ.

    Example:
        >>> import numpy as np, pylops
        >>> from bayesinv.physics import from_pylops
        >>> one, two = (from_pylops(pylops.Diagonal(np.full(3, a))) for a in (1.0, 2.0))
        >>> per_record([one, two])(torch.tensor([1, 0]))(torch.ones(2, 1, 3))[:, 0, 0]
        tensor([2., 1.])
    """
    shapes = {(tuple(one.model_shape), tuple(one.data_shape)) for one in operators}
    if len(shapes) != 1:
        raise ValueError(f"expected operators of equal shapes, got {sorted(shapes)}")
    return lambda numbers: _PerRecord([operators[int(i)] for i in numbers])


class _PerRecord:
    """Operator ``i`` on record ``i`` of a batch."""

    def __init__(self, operators: Sequence[Operator]) -> None:
        self.operators = operators
        self.model_shape, self.data_shape = operators[0].model_shape, operators[0].data_shape

    def __call__(self, model: Tensor) -> Tensor:
        return torch.stack([one(x) for one, x in zip(self.operators, model, strict=True)])

    def adjoint(self, data: Tensor) -> Tensor:
        return torch.stack([one.adjoint(y) for one, y in zip(self.operators, data, strict=True)])
