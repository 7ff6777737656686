r"""`IRIM`: a point estimate of the image from the data, ``x = psi(eta_n)`` after ``n`` iterations of `irim_loop`.

The loop starts at ``eta = 0, s = 0``, so that its first gradient is ``-A^H y`` for a linear operator.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from bayesinv.physics import Calls, counted
from bayesinv.physics.operator import AnyOperator, NonlinearOperator, Operator
from bayesinv.unrolled.irim_loop import CouplingKind, estimate_shape, irim_loop
from bayesinv.unrolled.misfit import OperatorOf, Psi

__all__ = ["IRIM", "counting"]


class IRIM(nn.Module):
    """An invertible recurrent inference machine that estimates images; train it with `train_estimator`.

    Args:
        operator: ``A``, or a function that makes the records' own, see `MisfitGradient`.
        shape: ``(channels, *space)`` of the estimate ``eta``; by default the model shape of the operator.
        iterations: their number.
        memory: channels of memory, as many as those of the estimate or more.
        hidden: hidden channels of the networks.
        dilations: of the networks in each layer.
        coupling: the kind of layer, ``"additive"``, ``"affine"`` or ``"hint"``.
        shared: whether all iterations share their weights, or each has its own.
        psi: from the estimate to the image, see `MisfitGradient`; say an affine map where images are not of order one.
        gauss_newton: whether ``operator`` is ``A^H A``, and the data ``A^H y``.
        second_order: whether the derivative of a nonlinear operator's Jacobian is taken into account.

    Attributes:
        loop: the reversible map, from `irim_loop`.
        calls: how often the operator has been applied, also by derivatives.

    Source: Putzky and Welling, Invert to learn to invert, 2019, arXiv 1911.10914.

    Raises:
        ValueError: as `irim_loop` does.

    Example:
        >>> import pylops, torch
        >>> from bayesinv.physics import from_pylops
        >>> estimator = IRIM(from_pylops(pylops.FirstDerivative((8, 8))), iterations=3, memory=2, hidden=8)
        >>> x = estimator(torch.randn(5, 1, 8, 8))
        >>> x.square().sum().backward()
        >>> x.shape, estimator.calls
        (torch.Size([5, 1, 8, 8]), Calls(forward=9, adjoint=9))
    """

    def __init__(
        self,
        operator: AnyOperator | OperatorOf,
        *,
        shape: Sequence[int] | None = None,
        iterations: int = 4,
        memory: int = 7,
        hidden: int = 32,
        dilations: Sequence[int] = (1, 2, 4),
        coupling: CouplingKind = "additive",
        shared: bool = False,
        psi: Psi | None = None,
        gauss_newton: bool = False,
        second_order: bool = True,
    ) -> None:
        super().__init__()
        self.shape = estimate_shape(operator, shape)
        self.memory, self.psi, self.calls = memory, psi, Calls()
        self.loop = irim_loop(
            counting(operator, self.calls), shape=self.shape, iterations=iterations, memory=memory, hidden=hidden,
            dilations=dilations, coupling=coupling, shared=shared, psi=psi, gauss_newton=gauss_newton,
            second_order=second_order,
        )  # fmt: skip

    def state(self, data: Tensor, *parameters: Tensor) -> Tensor:
        """The last state ``[eta_n; s_n] (batch, channels + memory, *space)``.

        Args:
            data: ``y (batch, *data_shape)``.
            parameters: what the operators of the records are made of, if each has its own.
        """
        channels, *space = self.shape
        start = data.real.new_zeros(len(data), channels + self.memory, *space)
        state: Tensor = self.loop(start, (data, *parameters))[0]
        return state

    def forward(self, data: Tensor, *parameters: Tensor) -> Tensor:
        """The images ``(batch, *model_shape)`` that are estimated from data ``(batch, *data_shape)``."""
        estimate = self.state(data, *parameters)[:, : self.shape[0]]
        return estimate if self.psi is None else self.psi(estimate)


def counting(operator: AnyOperator | OperatorOf, calls: Calls) -> AnyOperator | OperatorOf:
    """The operator, or the function that makes the records' own, with its applications counted."""
    if isinstance(operator, (Operator, NonlinearOperator)):
        return counted(operator, calls)
    make = operator
    return lambda *parameters: counted(make(*parameters), calls)
