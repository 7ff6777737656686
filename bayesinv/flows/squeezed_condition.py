"""`SqueezedCondition`: a condition for every level that keeps all numbers, ``(c, Q c, Q Q c, ...)``."""

from __future__ import annotations

from torch import Tensor, nn

from bayesinv.reversible import Squeeze, squeeze

__all__ = ["SqueezedCondition"]


class SqueezedCondition(nn.Module):
    """Squeezes a condition as often as ``x`` is squeezed; its channels grow by ``2^rank`` each time.

    Args:
        levels: how often.
        squeeze: the kind, see `bayesinv.reversible.squeeze`.
        first: what comes before, a reversible map such as an `ActNorm`, whose logdet has no meaning here.

    Source: Witte et al., InvertibleNetworks.jl, 2024, doi 10.21105/joss.06554.

    Example:
        >>> import torch
        >>> [tuple(c.shape) for c in SqueezedCondition(levels=2)(torch.randn(5, 3, 8, 4))]
        [(5, 3, 8, 4), (5, 12, 4, 2), (5, 48, 2, 1)]
    """

    def __init__(self, *, levels: int, squeeze: Squeeze = "haar", first: nn.Module | None = None) -> None:
        super().__init__()
        self.levels, self.squeeze, self.first = levels, squeeze, first

    def forward(self, c: Tensor) -> tuple[Tensor, ...]:
        """The pyramid of ``c (batch, channels, *space)``, from fine to coarse."""
        if self.first is not None:
            c, _ = self.first(c)
        pyramid = [c]
        for _ in range(self.levels):
            pyramid.append(squeeze(pyramid[-1], kind=self.squeeze))
        return tuple(pyramid)
