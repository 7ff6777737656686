"""Gauss-Newton with CGLS inside: nonlinear least squares for a whole batch at once, regularised by stopping early.

    x <- x + t d,    d = argmin_d |y - F(x) - J(x) d|^2 after some iterations of CGLS

Each record halves its own step ``t`` from one until the misfit falls, and stays where it is if it does not.
Source: J. Nocedal, S. J. Wright, Numerical Optimization, 2006, section 10.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch

from bayesinv.physics.operator import NonlinearOperator, check_batch
from bayesinv.physics.solvers import cgls, spread, squared_norm

__all__ = ["gauss_newton_iterates"]

HALVINGS = 5


@torch.no_grad()
def gauss_newton_iterates(
    operator: NonlinearOperator,
    data: torch.Tensor,
    steps: Sequence[int],
    *,
    start: torch.Tensor,
    iterations: int,
    bounds: tuple[float, float] | None = None,
) -> torch.Tensor:
    """Those iterates of one run that are asked for.

    Args:
        operator: ``F``, with ``linearize``.
        data: ``y``, ``(*batch, *data_shape)``.
        steps: increasing numbers of steps at which to look.
        start: first iterate ``(*batch, *model_shape)``, within the bounds.
        iterations: of CGLS in each step.
        bounds: ``(low, high)`` that the values are kept between.

    Returns:
        ``(len(steps), *batch, *model_shape)``, without gradient.

    Raises:
        ValueError: if the numbers are not increasing from 1, or shapes do not fit.

    Example:
        >>> from bayesinv.physics import from_function
        >>> square = from_function(torch.square, model_shape=(1, 2), data_shape=(1, 2))
        >>> y = torch.tensor([[4.0, 9.0]])
        >>> gauss_newton_iterates(square, y, [6], start=torch.ones(1, 2), iterations=2)[0]
        tensor([[2., 3.]])
    """
    wanted = list(steps)
    if not wanted or wanted[0] < 1 or any(a >= b for a, b in pairwise(wanted)):
        raise ValueError(f"expected increasing numbers of steps from 1, got {wanted}")
    check_batch(data, operator.data_shape, "data")
    check_batch(start, operator.model_shape, "start")
    low, high = bounds or (-math.inf, math.inf)
    rank = len(operator.model_shape), len(operator.data_shape)
    x, rest, kept = start, data - operator(start), []
    misfit = squared_norm(rest, rank[1])
    for step in range(1, wanted[-1] + 1):
        direction = cgls(operator.linearize(x), rest, iterations=iterations)
        length = torch.ones_like(misfit)
        for _ in range(HALVINGS):
            tried = (x + spread(length, rank[0]) * direction).clamp(low, high)
            left = data - operator(tried)
            found = squared_norm(left, rank[1])
            better = found < misfit
            x = torch.where(spread(better, rank[0]), tried, x)
            rest = torch.where(spread(better, rank[1]), left, rest)
            misfit = torch.where(better, found, misfit)
            length = torch.where(better, 0, length / 2)
            if not bool((length > 0).any()):
                break
        if step in wanted:
            kept.append(x)
    return torch.stack(kept)
