"""Numbers and matrices of a linear operator: ``A^H A x``, the largest eigenvalue of ``A^H A``, and ``A`` itself."""

from __future__ import annotations

import math

import torch

from bayesinv.physics.operator import AnyOperator, Operator, as_linear
from bayesinv.seeding import normal as draw
from bayesinv.seeding import stream

__all__ = ["lipschitz", "normal", "to_dense"]

_LARGEST = 2**26  # entries of a dense matrix: half a gigabyte in float64


def normal(operator: Operator, model: torch.Tensor, *, damping: float = 0.0) -> torch.Tensor:
    """``A^H A x + damping^2 x``, ``(*batch, *model_shape)``.

    Example:
        >>> from bayesinv.physics import identity, scale
        >>> normal(scale(identity((1, 2)), 3.0), torch.ones(1, 2))
        tensor([[9., 9.]])
    """
    result = operator.adjoint(operator(model))
    return result + damping**2 * model if damping else result


@torch.no_grad()
def lipschitz(operator: AnyOperator, *, iterations: int = 200, tolerance: float = 1e-6, seed: int = 0) -> float:
    """The largest eigenvalue of ``A^H A``, ``||A||^2``, by power iteration in float64.

    It is the Lipschitz constant of the gradient of ``||A x - y||^2 / 2``: gradient descent converges with steps below
    ``2 / ||A||^2``. The iteration comes from below, so a step close to that bound needs a margin of some per cent.

    Args:
        operator: ``A``, linear.
        iterations: at most so many, each one ``A`` and one ``A^H``.
        tolerance: stop when an iteration changes the value by less than this, relatively.
        seed: of the first vector.

    Example:
        >>> from bayesinv.physics import diagonal
        >>> round(lipschitz(diagonal(torch.tensor([[1.0, 3.0]]))), 4)
        9.0
    """
    operator = as_linear(operator)
    if iterations < 1:
        raise ValueError(f"expected one iteration or more, got {iterations}")
    x = draw(operator.model_shape, seed, stream("bayesinv.physics.lipschitz")).double()
    value = 0.0
    for _ in range(iterations):
        x = x / x.abs().square().sum().sqrt()
        x = operator.adjoint(operator(x))
        previous, value = value, float(x.abs().square().sum().sqrt())
        if value == 0 or abs(value - previous) <= tolerance * value:
            break
    return value


@torch.no_grad()
def to_dense(operator: AnyOperator, *, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """The matrix of a small operator, ``(data, model)``, both raveled in C order; complex if the data are.

    Args:
        operator: ``A``, linear; for complex models, linear over complex numbers.
        dtype: real dtype of the models it is probed with.

    Raises:
        ValueError: if the operator is not linear, or the matrix has more than 2^26 entries.

    Example:
        >>> from bayesinv.physics import diagonal
        >>> to_dense(diagonal(torch.tensor([[1.0, 3.0]])))
        tensor([[1., 0.],
                [0., 3.]], dtype=torch.float64)
    """
    operator = as_linear(operator)
    columns, rows = math.prod(operator.model_shape), math.prod(operator.data_shape)
    if rows * columns > _LARGEST:
        raise ValueError(f"expected an operator of at most {_LARGEST} entries, got {rows} x {columns}")
    units = torch.eye(columns, dtype=dtype).reshape(columns, *operator.model_shape)
    return torch.cat([operator(part).reshape(len(part), rows) for part in torch.split(units, 256)]).T.contiguous()
