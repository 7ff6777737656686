r"""The training loss: ``-log q(u | h(c)) / dim + w |u - t|^2``, ``t`` the shift of the summary network's head.

The first term is the forward KL to the posterior up to a constant, minimised over simulated pairs by the posterior
itself (Papamakarios and Murray 2016, arXiv 1605.06376). The second keeps the head a point estimate. Alone, the head is
a Gaussian of independent pixels ``N(t, exp(2 s))``; it is warmed up as such, its scale on residuals that are held fixed
so that it does not weaken the point estimate (Stirn and Knowles 2020, arXiv 2006.04910), and then hands numbers near to
white noise to the flow.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bayesinv.inference.posterior import Posterior
from bayesinv.reversible import Chain, Condition, ShiftScale
from bayesinv.reversible.base import finest

__all__ = ["Objective"]


class Objective(nn.Module):
    """Negative log density in nats per dimension, and mean squared error of the head, of a batch.

    Both are of standardised images ``u`` given scaled summaries ``c``; the density is the head's alone, or the flow's.
    """

    def __init__(self, posterior: Posterior) -> None:
        super().__init__()
        self.flow, self.network = posterior.flow, posterior.summary_network
        first = next(iter(self.flow.map)) if isinstance(self.flow.map, Chain) else self.flow.map
        self.head = first if isinstance(first, ShiftScale) else None

    @property
    def has_head(self) -> bool:
        """Whether the flow begins with a shift and scale by the summary network."""
        return self.head is not None

    def forward(self, u: Tensor, c: Tensor, head_only: bool) -> tuple[Tensor, Tensor]:
        """``(nll, mse)``; without a head the second is zero."""
        condition = self.network(c)
        error = u.new_zeros(())
        own = finest(condition)
        if self.head is None or own is None:
            return self._flow_nll(u, condition), error
        raw, shift = own.chunk(2, 1)
        error = (u - shift).square().mean()
        if not head_only:
            return self._flow_nll(u, condition), error
        z, logdet = self.head(u, torch.cat([raw, shift.detach()], 1))
        per_dim = 0.5 * z.square().mean() - logdet.mean() / math.prod(self.flow.shape)
        return per_dim + 0.5 * math.log(2 * math.pi), error

    def _flow_nll(self, u: Tensor, condition: Condition) -> Tensor:
        return -self.flow.log_prob(u, condition).mean() / math.prod(self.flow.shape)
