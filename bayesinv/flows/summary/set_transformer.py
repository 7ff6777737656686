r"""`SetTransformer`: attention among the observations of a set, then attention of a few learned seeds to them.

``MAB(q, k) = H + W2 relu(W1 H)``, ``H = q + Attention(q, k, k)``; a block is ``MAB(X, X)``, or, with
``m`` inducing points ``I``, ``MAB(X, MAB(I, X))`` at cost ``m n`` instead of ``n^2``; the end is ``MAB(S, X)`` for the
seeds ``S``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bayesinv.flows.summary.observations import counted

__all__ = ["SetTransformer"]


class SetTransformer(nn.Module):
    """The permutation-invariant summary of a set of vectors in which observations are compared with each other.

    As attention is a mean, the number ``n`` of observations is handed to the last matrix as ``log(1 + n)``.

    Args:
        channels: length of one observation.
        features: length of the condition vector.
        hidden: width; a multiple of ``heads``.
        heads: attention heads.
        blocks: blocks of attention among the observations.
        inducing: inducing points of each block; 0 for full attention.
        seeds: seed vectors at the end, their results laid side by side.

    Raises:
        ValueError: if ``hidden`` is no multiple of ``heads``, or a number is not positive.

    Source: Lee et al., Set Transformer, 2019, arXiv 1810.00825; as a summary: Radev et al., 2020, arXiv 2003.06281.

    Example:
        >>> network = SetTransformer(2, 4, hidden=8, heads=2, inducing=3)
        >>> y = torch.randn(3, 5, 2)
        >>> network(y).shape, torch.allclose(network(y.flip(1)), network(y), atol=1e-5)
        (torch.Size([3, 4]), True)
    """

    def __init__(
        self,
        channels: int,
        features: int,
        *,
        hidden: int = 64,
        heads: int = 4,
        blocks: int = 2,
        inducing: int = 0,
        seeds: int = 1,
    ) -> None:
        super().__init__()
        if heads < 1 or hidden % heads or blocks < 1 or inducing < 0 or seeds < 1:
            raise ValueError(
                f"expected a width that is a multiple of the heads, and positive numbers, got hidden={hidden}, "
                f"heads={heads}, blocks={blocks}, inducing={inducing}, seeds={seeds}"
            )
        self.enter = nn.Linear(channels, hidden)
        self.blocks = nn.ModuleList(_Block(hidden, heads, inducing) for _ in range(blocks))
        self.seeds = nn.Parameter(torch.randn(seeds, hidden) / hidden**0.5)
        self.gather = _Attention(hidden, heads)
        self.last = nn.Linear(seeds * hidden + 1, features)

    def forward(self, c: Tensor, mask: Tensor | None = None) -> Tensor:
        """The condition ``(batch, features)`` of ``c (batch, observations, channels)``.

        The boolean mask ``(batch, observations)`` says which observations count; without it all do.
        """
        if c.ndim != 3:
            raise ValueError(f"expected (batch, observations, channels), got a tensor of shape {tuple(c.shape)}")
        c, mask = counted(c, mask)
        count = mask.sum(1, keepdim=True).to(c.dtype)
        seen = mask | (count == 0)  # an empty set attends to its padding, all zeros, lest softmax be 0/0
        h = self.enter(c)
        for block in self.blocks:
            h = block(h, seen)
        gathered = self.gather(self.seeds.expand(len(c), -1, -1), h, seen).flatten(1)
        out: Tensor = self.last(torch.cat([gathered, count.log1p()], 1))
        return out


class _Block(nn.Module):
    """Attention among the observations, directly or by way of inducing points."""

    def __init__(self, width: int, heads: int, inducing: int) -> None:
        super().__init__()
        self.points = nn.Parameter(torch.randn(inducing, width) / width**0.5) if inducing else None
        self.collect = _Attention(width, heads) if inducing else None
        self.spread = _Attention(width, heads)

    def forward(self, h: Tensor, mask: Tensor) -> Tensor:
        keys, seen = h, mask
        if self.points is not None and self.collect is not None:
            keys = self.collect(self.points.expand(len(h), -1, -1), h, mask)
            seen = mask.new_ones(keys.shape[:2])
        out: Tensor = self.spread(h, keys, seen)
        return out


class _Attention(nn.Module):
    """``MAB(q, k)``, normalised before each part: ``h = q + A(norm q, norm k)``, ``h + W2 relu(W1 norm h)``."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_queries, self.norm_keys, self.norm = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries, self.join = nn.Linear(width, width), nn.Linear(width, width)
        self.keys_values = nn.Linear(width, 2 * width)
        self.dense = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

    def forward(self, queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        q = self.queries(self.norm_queries(queries))
        k, v = self.keys_values(self.norm_keys(keys)).chunk(2, 2)
        q, k, v = (t.unflatten(2, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        h = queries + self.join(found.transpose(1, 2).flatten(2))
        out: Tensor = h + self.dense(self.norm(h))
        return out
