"""What the wave-equation plug-ins share: deepwave at a time step of its own, and the transpose of a linear function.

deepwave resamples time series where its step is too long for the speed; here it is given a step that is short enough,
and only every so manyeth sample is kept, so that an operator is linear and its transpose exact.

Source: A. Richardson, Deepwave, doi:10.5281/zenodo.8381177.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["deepwave", "substeps", "transpose"]

COURANT = 0.6  # deepwave's own limit of c dt sqrt(2) / dx


def deepwave(name: str) -> Any:
    """The package.

    Raises:
        ImportError: if it is not installed, naming the plug-in that asks.
    """
    try:
        import deepwave as package
    except ImportError as error:
        raise ImportError(f"expected deepwave for {name!r}, got: {error}; pip install 'bayesinv[wave]'") from error
    return package


def substeps(time_step: float, spacing: float, fastest: float) -> int:
    """Into how many steps of the solver a sample is divided.

    Example:
        >>> substeps(0.004, 10.0, 2000.0)
        2
    """
    return max(1, math.ceil(time_step * fastest * math.sqrt(2) / (COURANT * spacing) - 1e-9))


def transpose(
    function: Callable[[torch.Tensor], torch.Tensor], shape: tuple[int, ...], data: torch.Tensor
) -> torch.Tensor:
    """``A^T y`` of a linear function of tensors of a shape, by reverse mode."""
    with torch.enable_grad():
        zero = torch.zeros(shape, dtype=data.dtype, device=data.device, requires_grad=True)
        (result,) = torch.autograd.grad(function(zero), zero, data)
    return result
