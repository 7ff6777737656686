r"""The training loss: ``-log q(u | h(c)) / dim + w |u - t|^2``, ``t`` the shift of the summary network's head.

The first term is the forward KL to the posterior up to a constant, minimised over simulated pairs by the posterior
itself (Papamakarios and Murray 2016, arXiv 1605.06376). The second keeps the head a point estimate; alone, it warms the
summary network up.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bayesinv.inference.posterior import Posterior
from bayesinv.reversible import Chain, ShiftScale
from bayesinv.reversible.base import finest

__all__ = ["Objective"]


class Objective(nn.Module):
    """Negative log density in nats per dimension, and mean squared error of the head, of a batch.

    Both are of standardised images ``u`` given scaled summaries ``c``.
    """

    def __init__(self, posterior: Posterior) -> None:
        super().__init__()
        self.flow, self.network = posterior.flow, posterior.summary_network
        first = next(iter(self.flow.map)) if isinstance(self.flow.map, Chain) else self.flow.map
        self.has_head = isinstance(first, ShiftScale)

    def forward(self, u: Tensor, c: Tensor, head_only: bool) -> tuple[Tensor, Tensor]:
        """``(nll, mse)``; the first is NaN where only the head is trained."""
        condition = self.network(c)
        error = u.new_zeros(())
        if self.has_head:
            error = (u - finest(condition).chunk(2, 1)[1]).square().mean()
        if head_only:
            return torch.full_like(error, math.nan), error
        return -self.flow.log_prob(u, condition).mean() / math.prod(self.flow.shape), error
