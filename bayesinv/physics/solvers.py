"""Batched, matrix-free least squares: every record has its own step sizes, so a batch equals a loop.

CGLS (M. R. Hestenes and E. Stiefel, J. Res. NBS 49 (1952) 409, doi:10.6028/jres.049.044) minimises
``||y - A x||^2 + damping^2 ||x||^2`` over growing Krylov spaces, one ``A`` and one ``A^H`` an iteration; stopped early
it regularises. A record whose normal residual ``A^H (y - A x)`` is rounding alone has converged and stays where it is:
further steps would wander off in the null space of ``A``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch

from bayesinv.physics.operator import AnyOperator, Operator, as_linear, check_batch

__all__ = ["cgls", "cgls_iterates", "regularised_least_squares"]


def cgls(
    operator: AnyOperator,
    data: torch.Tensor,
    *,
    iterations: int,
    start: torch.Tensor | None = None,
    damping: float = 0.0,
) -> torch.Tensor:
    """The iterate of CGLS after a number of iterations.

    Args:
        operator: ``A``, linear.
        data: ``y``, ``(*batch, *data_shape)``.
        iterations: how many; 0 gives the start.
        start: first iterate ``(*batch, *model_shape)``, zero if absent.
        damping: weight of ``||x||``, in the unit of ``A``.

    Returns:
        ``x``, ``(*batch, *model_shape)``, without gradient.

    Example:
        >>> import numpy as np, pylops
        >>> from bayesinv.physics import from_pylops
        >>> twice = from_pylops(pylops.Diagonal(np.array([2.0, 4.0])))
        >>> cgls(twice, torch.tensor([[[2.0, 2.0]]]), iterations=5)
        tensor([[[1.0000, 0.5000]]])
    """
    return cgls_iterates(operator, data, [iterations], start=start, damping=damping)[0]


@torch.no_grad()
def cgls_iterates(
    operator: AnyOperator,
    data: torch.Tensor,
    iterations: Sequence[int],
    *,
    start: torch.Tensor | None = None,
    damping: float = 0.0,
) -> torch.Tensor:
    """Those iterates of one run of CGLS that are asked for.

    Args:
        operator: ``A``, linear.
        data: ``y``, ``(*batch, *data_shape)``.
        iterations: increasing numbers of iterations at which to look.
        start: first iterate ``(*batch, *model_shape)``, zero if absent.
        damping: weight of ``||x||``, in the unit of ``A``.

    Returns:
        ``(len(iterations), *batch, *model_shape)``, without gradient.

    Raises:
        ValueError: if the numbers are not increasing, or shapes do not fit.
    """
    operator = as_linear(operator)
    wanted = list(iterations)
    if not wanted or wanted[0] < 0 or any(a >= b for a, b in pairwise(wanted)):
        raise ValueError(f"expected increasing numbers of iterations from 0, got {wanted}")
    check_batch(data, operator.data_shape, "data")
    residual = data
    if start is not None:
        check_batch(start, operator.model_shape, "start")
        residual = data - operator(start)
    rank = len(operator.model_shape), len(operator.data_shape)
    slope = operator.adjoint(residual)
    x = torch.zeros_like(slope) if start is None else start.clone()
    if start is not None and damping:
        slope = slope - damping**2 * x
    direction = slope
    gamma = squared_norm(slope, rank[0])
    small = torch.finfo(gamma.dtype).eps ** 2
    floor, alive = small * gamma, torch.ones_like(gamma, dtype=torch.bool)
    lost = ~gamma.isfinite()  # data that are no numbers give none
    square = torch.zeros_like(gamma)  # of the norm of A, from below
    kept = [x] if wanted[0] == 0 else []
    for iteration in range(1, wanted[-1] + 1):
        step = operator(direction)
        curvature, length = squared_norm(step, rank[1]), squared_norm(direction, rank[0])
        misfit = squared_norm(residual, rank[1])
        if damping:
            curvature, misfit = curvature + damping**2 * length, misfit + damping**2 * squared_norm(x, rank[0])
        square = torch.maximum(square, torch.where(length > 0, curvature / length, 0))
        rounding = small * square * misfit  # of A^H r
        alive = alive & (gamma > torch.maximum(floor, rounding)) & (curvature > 0) & (gamma / curvature < math.inf)
        alpha = torch.where(alive, gamma / curvature, 0)
        x = torch.where(spread(alive | lost, rank[0]), x + spread(alpha, rank[0]) * direction, x)
        if iteration in wanted:
            kept.append(x)
        if iteration == wanted[-1]:
            break
        residual = residual - spread(alpha, rank[1]) * step
        slope = operator.adjoint(residual)
        if damping:
            slope = slope - damping**2 * x
        previous, gamma = gamma, squared_norm(slope, rank[0])
        beta = torch.where(alive, gamma / previous, 0)
        direction = slope + spread(beta, rank[0]) * direction
    return torch.stack(kept)


def regularised_least_squares(
    operator: AnyOperator,
    data: torch.Tensor,
    *,
    damping: float,
    smoothing: float,
    iterations: int,
    smoothing_axes: Sequence[int] | None = None,
) -> torch.Tensor:
    """``argmin_x ||y - A x||^2 + damping^2 ||x||^2 + smoothing^2 ||D x||^2`` by CGLS on the stacked system.

    ``D`` is the sum of the second derivatives along the chosen axes of space, zero at the ends: ``pylops.Laplacian``,
    or ``pylops.SecondDerivative`` for one axis. The same as ``pylops.optimization.leastsquares.regularized_inversion``
    with ``Regs=[Identity, D]``, ``epsRs=[damping, smoothing]``, for a whole batch at once.

    Args:
        operator: ``A`` with real data.
        data: ``y``, ``(*batch, *data_shape)``.
        damping: weight of ``||x||``.
        smoothing: weight of ``||D x||``.
        iterations: how many of CGLS.
        smoothing_axes: axes of space (0 is the first after the channels), all by default.

    Returns:
        ``x``, ``(*batch, *model_shape)``, without gradient.
    """
    operator = as_linear(operator)
    check_batch(data, operator.data_shape, "data")
    rank = len(operator.model_shape) - 1
    axes = tuple(range(rank)) if smoothing_axes is None else tuple(smoothing_axes)
    if not all(0 <= axis < rank for axis in axes):
        raise ValueError(f"expected smoothing axes in 0..{rank - 1}, got {axes}")
    stacked = _Stacked(operator, damping, smoothing, tuple(axis - rank for axis in axes))
    flat = data.flatten(-len(operator.data_shape))
    zeros = flat.new_zeros(*flat.shape[:-1], stacked.data_shape[0] - flat.shape[-1])
    return cgls(stacked, torch.cat([flat, zeros], -1), iterations=iterations)


class _Stacked:
    """``[A; damping I; smoothing D]`` with its three blocks of data laid end to end."""

    def __init__(self, operator: Operator, damping: float, smoothing: float, axes: tuple[int, ...]) -> None:
        self.operator, self.damping, self.smoothing, self.axes = operator, damping, smoothing, axes
        self.model_shape = operator.model_shape
        self.sizes = [math.prod(operator.data_shape), *[math.prod(operator.model_shape)] * 2]
        self.data_shape = (sum(self.sizes),)

    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        rank = len(self.model_shape)
        curved = torch.zeros_like(model)
        for axis in self.axes:
            inner = curved.narrow(axis, 1, max(model.shape[axis] - 2, 0))
            inner += model.diff(n=2, dim=axis)
        blocks = self.operator(model), self.damping * model, self.smoothing * curved
        ranks = len(self.operator.data_shape), rank, rank
        return torch.cat([block.flatten(-r) for block, r in zip(blocks, ranks, strict=True)], -1)

    def adjoint(self, data: torch.Tensor) -> torch.Tensor:
        batch = data.shape[:-1]
        misfit, damped, curved = torch.split(data, self.sizes, -1)
        curved = curved.reshape(*batch, *self.model_shape)
        model: torch.Tensor = self.operator.adjoint(misfit.reshape(*batch, *self.operator.data_shape))
        model = model + self.damping * damped.reshape_as(model)
        for axis in self.axes:
            count = max(curved.shape[axis] - 2, 0)
            inner = self.smoothing * curved.narrow(axis, 1, count)
            for offset, weight in ((0, 1.0), (1, -2.0), (2, 1.0)):
                model.narrow(axis, offset, count).add_(inner, alpha=weight)
        return model


def squared_norm(tensor: torch.Tensor, rank: int) -> torch.Tensor:
    """``|v|^2`` of each record, over the last ``rank`` axes."""
    return tensor.abs().square().flatten(tensor.ndim - rank).sum(-1)


def spread(scalars: torch.Tensor, rank: int) -> torch.Tensor:
    """One number a record, with ``rank`` axes of length one behind."""
    return scalars.reshape(*scalars.shape, *[1] * rank)
