r"""`RegressedSummary`: a dense summary with a linear estimate for a head, ``((r(f), t(c)), f(c))``.

``t(c) = W c + b``. Set by least squares it is the posterior mean of a linear-Gaussian problem, and all else that is
learnt starts from there: with few pairs that is worth more than any network.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from bayesinv.flows.summary.dense import DenseSummary
from bayesinv.flows.summary.regression import least_squares
from bayesinv.reversible.conditioners import zeroed

__all__ = ["RegressedSummary"]

_RIDGE = 1e-3


class RegressedSummary(nn.Module):
    """The summary network of vectors: a head for `ShiftScale`, and one condition vector for the couplings.

    Args:
        channels: how many numbers come in.
        out: how many numbers are to be inferred; the head has as many log-scales, then as many shifts, all zero at
            first.
        features: how many go to the couplings.

    Example:
        >>> [tuple(part.shape) for part in RegressedSummary(5, 3, 8)(torch.randn(2, 5))]
        [(2, 6), (2, 8)]
    """

    def __init__(self, channels: int, out: int, features: int) -> None:
        super().__init__()
        self.dense = DenseSummary(channels, features)
        self.log_scale, self.shift = nn.Linear(features, out), nn.Linear(channels, out)
        zeroed(self.log_scale)
        zeroed(self.shift)

    def forward(self, c: Tensor) -> tuple[Tensor, Tensor]:
        """``(batch, 2 out)`` and ``(batch, features)`` of the numbers ``c (batch, channels)``."""
        features = self.dense(c)
        return torch.cat([self.log_scale(features), self.shift(c)], 1), features

    @torch.no_grad()
    def regress(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Sets the shift to the least-squares estimate of ``x (n, out)`` from ``c (n, channels)``, both of order one.

        A ridge of a thousandth of the variance keeps it finite where numbers of ``c`` depend on each other.

        Args:
            pairs: batches ``(c, x)``.

        Example:
            >>> network, c = RegressedSummary(2, 1, 4), torch.randn(100, 2)
            >>> network.regress([(c, 3 + c[:, :1])])
            >>> [abs(round(value, 1)) for value in [*network.shift.weight[0].tolist(), *network.shift.bias.tolist()]]
            [1.0, 0.0, 3.0]
        """
        weight, bias, _ = least_squares(pairs, ridges=[_RIDGE])
        self.shift.weight.copy_(weight)
        self.shift.bias.copy_(bias)
