"""The classical reconstructions of other libraries for one record or a batch: LSQR by PyLops, FISTA-TV by PyProximal.

    LSQR      min_x ||y - A x||^2 + damping^2 ||x||^2
    FISTA-TV  min_x ||y - A x||^2 / 2 + weight * sum_i |grad x|_i

They loop over the records; CGLS and regularised least squares, for a whole batch at once, are in `solvers`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bayesinv.physics.norms import lipschitz
from bayesinv.physics.operator import AnyOperator, as_linear, as_pylops, check_batch

__all__ = ["fista_tv", "lsqr"]


def lsqr(
    operator: AnyOperator, data: torch.Tensor, *, iterations: int, damping: float = 0.0, tolerance: float = 1e-8
) -> torch.Tensor:
    """LSQR of ``pylops.optimization.basic.lsqr``: better conditioned than CGLS where ``A`` is nearly singular.

    Args:
        operator: ``A``, linear.
        data: ``y``, ``(*batch, *data_shape)``.
        iterations: at most so many.
        damping: weight of ``||x||``, in the unit of ``A``.
        tolerance: of the residual and of the gradient, relative, at which to stop.

    Returns:
        ``x``, ``(*batch, *model_shape)``, without gradient.

    Source:
        C. C. Paige, M. A. Saunders, ACM Trans. Math. Softw. 8 (1982) 43, doi:10.1145/355984.355989.

    Example:
        >>> from bayesinv.physics import diagonal
        >>> lsqr(diagonal(torch.tensor([[2.0, 4.0]])), torch.tensor([[2.0, 2.0]]), iterations=5)
        tensor([[1.0000, 0.5000]])
    """
    from pylops.optimization.basic import lsqr as solve

    view = as_pylops(as_linear(operator))

    def one(y: npt.NDArray[Any]) -> npt.NDArray[Any]:
        start = np.zeros(view.shape[1], view.dtype)
        found = solve(
            view, y, start, damp=damping, niter=iterations, atol=tolerance, btol=tolerance, calc_var=False, show=False
        )
        return np.asarray(found[0])

    return _each(as_linear(operator).model_shape, as_linear(operator).data_shape, data, one)


def fista_tv(
    operator: AnyOperator,
    data: torch.Tensor,
    *,
    weight: float,
    iterations: int,
    inner: int = 20,
    norm: float | None = None,
) -> torch.Tensor:
    """FISTA with isotropic total variation, by PyProximal.

    Args:
        operator: ``A``, linear, of real images with one channel and one to three axes of space.
        data: ``y``, ``(*batch, *data_shape)``.
        weight: of the total variation, in the unit of ``y`` times that of ``A``.
        iterations: of FISTA; one ``A`` and one ``A^H`` each.
        inner: iterations of the proximal operator of the total variation.
        norm: ``||A||^2`` if it is known; `lipschitz` finds it otherwise. The step is its inverse, less 2 %.

    Returns:
        ``x``, ``(*batch, *model_shape)``, without gradient.

    Raises:
        ValueError: if the images are not of one channel and one to three axes.

    Source:
        A. Beck, M. Teboulle, IEEE Trans. Image Process. 18 (2009) 2419, doi:10.1109/TIP.2009.2028076.

    Example:
        >>> from bayesinv.physics import identity
        >>> steps = torch.tensor([[0.1, -0.1, 0.1, 1.1, 0.9, 1.1]])
        >>> fista_tv(identity((1, 6)), steps, weight=0.3, iterations=50).round(decimals=2)
        tensor([[0.1300, 0.1300, 0.1300, 0.9300, 0.9300, 0.9300]])
    """
    import pyproximal

    linear = as_linear(operator)
    channels, *space = linear.model_shape
    if channels != 1 or not 1 <= len(space) <= 3:
        raise ValueError(f"expected images (1, *space) with one to three axes of space, got {linear.model_shape}")
    if not (weight > 0 and iterations > 0 and inner > 0):
        raise ValueError(f"expected a positive weight and numbers of iterations, got {weight}, {iterations}, {inner}")
    view = as_pylops(linear)
    step = 0.98 / (lipschitz(linear) if norm is None else norm)
    variation = pyproximal.TV(tuple(space), sigma=weight, niter=inner)

    def one(y: npt.NDArray[Any]) -> npt.NDArray[Any]:
        misfit = pyproximal.L2(Op=view, b=y)
        start = np.zeros(math.prod(space), np.float64)
        return np.asarray(
            pyproximal.optimization.primal.ProximalGradient(
                misfit, variation, x0=start, tau=step, niter=iterations, acceleration="fista", show=False
            )
        )

    return _each(linear.model_shape, linear.data_shape, data, one)


@torch.no_grad()
def _each(
    model_shape: tuple[int, ...],
    data_shape: tuple[int, ...],
    data: torch.Tensor,
    solve: Callable[[npt.NDArray[Any]], npt.NDArray[Any]],
) -> torch.Tensor:
    check_batch(data, data_shape, "data")
    wide = data.detach().cpu().to(torch.complex128 if data.is_complex() else torch.float64)
    batch = data.shape[: data.ndim - len(data_shape)]
    found = [solve(record.numpy().ravel()).real for record in wide.reshape(-1, *data_shape)]
    answer = torch.from_numpy(np.array(found, dtype=np.float64).reshape(*batch, *model_shape))
    return answer.to(data.device, data.dtype.to_real())
