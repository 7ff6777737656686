r"""Plain unrolled networks, which store every iteration: what an i-RIM is compared with.

From ``x_0 = 0``, for k = 0 ... n - 1:

    gradient descent    x_{k+1} = x_k - t_k g(x_k)
    learned proximal    x_{k+1} = P_k(x_k - t_k g(x_k)),   P_k(v) = v + networks(v)

with the misfit gradient ``g(x) = J^H (A(x) - y)`` and learned steps ``t_k > 0``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bayesinv.physics import Calls, counted
from bayesinv.physics.operator import AnyOperator
from bayesinv.unrolled.blocks import DilatedBlock
from bayesinv.unrolled.misfit import MisfitGradient

__all__ = ["LearnedProximal", "UnrolledDescent"]


class UnrolledDescent(nn.Module):
    """A number of steps of gradient descent, each with a learned length.

    Args:
        operator: ``A``.
        step: length of all steps before training, below ``2 / |A|^2`` for a linear operator.
        iterations: number of steps.

    Attributes:
        calls: how often the operator has been applied, also by derivatives.

    Raises:
        ValueError: if the step or the number of iterations is not positive.

    Example:
        >>> import numpy as np, pylops
        >>> from bayesinv.physics import from_pylops
        >>> twice = from_pylops(pylops.Diagonal(np.array([1.0, 2.0])))
        >>> UnrolledDescent(twice, step=0.25, iterations=2)(torch.ones(1, 1, 2)).tolist()
        [[[0.4375, 0.5]]]
    """

    def __init__(self, operator: AnyOperator, *, step: float, iterations: int = 4) -> None:
        super().__init__()
        self.calls = Calls()
        self.gradient = MisfitGradient(counted(operator, self.calls))
        self.shape = tuple(operator.model_shape)
        self.log_steps = _log_steps(step, iterations)

    def forward(self, data: Tensor) -> Tensor:
        """The images ``(batch, *model_shape)`` after the last step, from data ``(batch, *data_shape)``."""
        x = data.new_zeros(len(data), *self.shape)
        for log_step in self.log_steps:
            x = x - log_step.exp() * self.gradient(x, data)
        return x


class LearnedProximal(nn.Module):
    """Gradient descent with a network in the place of the proximal map after every step.

    Args:
        operator: ``A``.
        step: length of all steps before training, below ``2 / |A|^2`` for a linear operator.
        iterations: number of steps.
        hidden: hidden channels of the networks.
        dilations: a residual `DilatedBlock` each.

    Attributes:
        calls: how often the operator has been applied, also by derivatives.

    Source: Adler and Oktem, Learned primal-dual reconstruction, 2018, arXiv 1707.06474 (its learned gradient form);
    Mardani et al., Neural proximal gradient descent, 2018, arXiv 1806.03963.

    Raises:
        ValueError: if the step or the number of iterations is not positive.

    Example:
        >>> import pylops
        >>> from bayesinv.physics import from_pylops
        >>> network = LearnedProximal(from_pylops(pylops.FirstDerivative((8, 6))), step=0.5, hidden=8)
        >>> network(torch.randn(3, 1, 8, 6)).shape
        torch.Size([3, 1, 8, 6])
    """

    def __init__(
        self,
        operator: AnyOperator,
        *,
        step: float,
        iterations: int = 4,
        hidden: int = 32,
        dilations: Sequence[int] = (1, 2, 4),
    ) -> None:
        super().__init__()
        self.calls = Calls()
        self.gradient = MisfitGradient(counted(operator, self.calls))
        self.shape = tuple(operator.model_shape)
        channels, rank = self.shape[0], len(self.shape) - 1
        self.log_steps = _log_steps(step, iterations)
        self.proximal = nn.ModuleList(
            nn.ModuleList(DilatedBlock(channels, channels, hidden=hidden, rank=rank, dilation=d) for d in dilations)
            for _ in range(iterations)
        )

    def forward(self, data: Tensor) -> Tensor:
        """The images ``(batch, *model_shape)`` after the last step, from data ``(batch, *data_shape)``."""
        x = data.new_zeros(len(data), *self.shape)
        for log_step, networks in zip(self.log_steps, self.proximal, strict=True):
            x = x - log_step.exp() * self.gradient(x, data)
            for network in networks:  # type: ignore[attr-defined]
                x = x + network(x)
        return x


def _log_steps(step: float, iterations: int) -> nn.Parameter:
    if step <= 0 or iterations < 1:
        raise ValueError(f"expected a positive step and one iteration or more, got {step} and {iterations}")
    return nn.Parameter(torch.full((iterations,), math.log(step)))
