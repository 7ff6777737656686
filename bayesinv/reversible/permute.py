"""`Permute`: the channels in another fixed order, ``y_i = x_{order(i)}``; logdet 0."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bayesinv.reversible.base import Condition, Reversible

__all__ = ["Permute"]


class Permute(Reversible):
    """Puts the channels into an order that is not learned; alternating masks are made of it.

    Args:
        order: for each channel of the output, which one of the input it is.

    Raises:
        ValueError: if it is no permutation, or the input has another number of channels.

    Source: Dinh et al., RealNVP, 2017, arXiv 1605.08803 (section 3.5, alternating patterns).

    Example:
        >>> Permute([2, 0, 1])(torch.tensor([[5.0, 6.0, 7.0]]))[0].tolist()
        [[7.0, 5.0, 6.0]]
    """

    order: Tensor

    def __init__(self, order: Sequence[int]) -> None:
        super().__init__()
        if not order or sorted(order) != list(range(len(order))):
            raise ValueError(f"expected a permutation of 0 to {len(order) - 1}, got {list(order)}")
        self.register_buffer("order", torch.tensor(list(order)), persistent=False)

    def _moved(self, x: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
        if x.shape[1] != len(order):
            raise ValueError(f"expected {len(order)} channels, got a tensor of shape {tuple(x.shape)}")
        return x.index_select(1, order), x.new_zeros(x.shape[0])

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        return self._moved(x, self.order)

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        return self._moved(y, self.order.argsort())
