r"""`DeepSet`: a summary of any number of observations in any order, ``rho(mean_i phi(y_i), log(1 + n))``.

The mean keeps the scale of the numbers whatever ``n``, and ``n`` itself is handed on beside it, as it decides how wide
a posterior is.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from bayesinv.flows.summary.observations import counted
from bayesinv.reversible import convolution

__all__ = ["DeepSet"]


class DeepSet(nn.Module):
    """The permutation-invariant summary of a set of vectors, traces, images or volumes.

    ``phi`` and ``rho`` have two hidden layers, of kernel 3 in ``phi`` and of kernel 1 in ``rho``; with rank 0 they are
    dense. Observations with space give a condition of that space, for a flow with ``condition=features``.
    Receptive field: 7 pixels a side.

    Args:
        channels: channels of one observation.
        features: channels of the condition.
        rank: number of spatial axes of one observation, 0 to 3.
        hidden: width of the hidden layers and of the mean.

    Source: Zaheer et al., Deep Sets, 2017, arXiv 1703.06114; as a summary: Radev et al., BayesFlow, 2020,
    arXiv 2003.06281.

    Example:
        >>> network = DeepSet(2, 4, hidden=8)
        >>> y, mask = torch.randn(3, 5, 2), torch.rand(3, 5) < 0.7
        >>> network(y, mask).shape, torch.allclose(network(y.flip(1)), network(y), atol=1e-6)
        (torch.Size([3, 4]), True)
    """

    def __init__(self, channels: int, features: int, *, rank: int = 0, hidden: int = 64) -> None:
        super().__init__()
        self.inner = _Layers((channels, hidden, hidden, hidden), kernel=3, rank=rank)
        self.outer = _Layers((hidden + 1, hidden, hidden, features), kernel=1, rank=rank)

    def forward(self, c: Tensor, mask: Tensor | None = None) -> Tensor:
        """The condition ``(batch, features, *space)`` of ``c (batch, observations, channels, *space)``.

        The boolean mask ``(batch, observations)`` says which observations count; without it all do.
        """
        c, mask = counted(c, mask)
        each = self.inner(c.flatten(0, 1)).unflatten(0, c.shape[:2])
        weight = mask.to(each.dtype).view(*mask.shape, *[1] * (each.ndim - 2))
        count = weight.sum(1)
        mean = (each * weight).sum(1) / count.clamp(min=1)
        out: Tensor = self.outer(torch.cat([mean, count.log1p().expand_as(mean[:, :1])], 1))
        return out


class _Layers(nn.Sequential):
    def __init__(self, sizes: tuple[int, ...], *, kernel: int, rank: int) -> None:
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [convolution(before, after, kernel=kernel, rank=rank), nn.ReLU()]
        super().__init__(*layers[:-1])
