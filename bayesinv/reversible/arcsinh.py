r"""`Arcsinh`: ``y = c arsinh(x/c)``, ``x = c sinh(y/c)``, ``logdet = -sum log(1 + (x/c)^2) / 2``."""

from __future__ import annotations

from torch import Tensor

from bayesinv.reversible.base import Condition, Reversible

__all__ = ["Arcsinh"]


class Arcsinh(Reversible):
    """A logarithm of both signs: the identity where ``x`` is small beside ``c``, ``c log(2x/c)`` where it is large.

    First in a chain it draws in the tails of amplitudes over many decades; unlike a logarithm it takes exact zeros.

    Args:
        scale: ``c``, in the unit of ``x``.

    Raises:
        ValueError: if ``scale`` is not positive.

    Source: Johnson, Systems of frequency curves, 1949, doi 10.1093/biomet/36.1-2.149 (the unbounded system).

    Example:
        >>> import torch
        >>> y, logdet = Arcsinh(scale=2.0)(torch.tensor([[0.0, 2e4]]))
        >>> [round(v, 3) for v in y[0].tolist()], round(float(logdet), 3)
        ([0.0, 19.807], -9.21)
    """

    def __init__(self, *, scale: float = 1.0) -> None:
        super().__init__()
        if scale <= 0:
            raise ValueError(f"expected a positive scale, got {scale}")
        self.scale = scale

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        return self.scale * (x / self.scale).asinh(), -_log_cosh(x / self.scale)

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        x = (y / self.scale).sinh()
        return self.scale * x, _log_cosh(x)


def _log_cosh(x: Tensor) -> Tensor:
    """``sum log cosh(arsinh x)`` of each sample."""
    return ((x * x).log1p() / 2).flatten(1).sum(1)
