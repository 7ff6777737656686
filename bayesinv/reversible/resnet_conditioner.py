r"""`ResNetConditioner`: ``h = W*q(a) + V*cond``, ``blocks`` times ``h += W_2*act(W_1*act(h))``, ``W*act(h)``.

``*`` is a convolution of kernel 3 (1 for the condition), or a matrix for dense input; ``W_2`` is small and the end zero
at the start. Receptive field: ``2 blocks + 2`` pixels to each side with kernel 3.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bayesinv.reversible.conditioners import Activation, check_condition, convolution, held, relu, zeroed
from bayesinv.reversible.strips import is_same_size

__all__ = ["ResNetConditioner", "ResidualBlock"]


class ResidualBlock(nn.Module):
    """``h + W_2*act(W_1*act(h))`` with ``W_2`` at 0.3 of torch's initialisation.

    Source: He et al., Identity mappings in deep residual networks, 2016, arXiv 1603.05027.

    Example:
        >>> import torch
        >>> ResidualBlock(4, rank=1)(torch.randn(2, 4, 6)).shape
        torch.Size([2, 4, 6])
    """

    def __init__(self, width: int, *, rank: int, kernel: int = 3, activation: Activation = F.relu) -> None:
        super().__init__()
        self.activation = activation
        self.first = convolution(width, width, kernel=kernel, rank=rank)
        self.second = convolution(width, width, kernel=kernel, rank=rank)
        with torch.no_grad():
            for name, parameter in self.second.named_parameters():
                parameter.mul_(0.0 if name == "bias" else 0.3)

    def forward(self, h: Tensor) -> Tensor:
        """Of the shape of ``h (batch, width, *space)``."""
        hidden = self.first(self.activation(h))
        hidden = relu(hidden) if self.activation is F.relu else self.activation(hidden)
        out: Tensor = self.second(hidden).add_(h)
        return out


class ResNetConditioner(nn.Module):
    """A residual network as the conditioner of a coupling, for space of rank 0 to 3.

    Args:
        channels: channels of the input ``a``.
        out: channels of the output.
        hidden: hidden channels.
        rank: number of spatial axes.
        blocks: number of residual blocks.
        cond_channels: channels of the condition, 0 for none.
        kernel: size of the convolutions.
        activation: a function of tensors.

    Source: Dinh et al., RealNVP, 2017, arXiv 1605.08803 (residual networks in couplings).

    Raises:
        ValueError: if there is no block; in use, if a condition is missing or not expected.

    Example:
        >>> import torch
        >>> network = ResNetConditioner(2, 4, hidden=8, rank=2, cond_channels=1)
        >>> network(torch.randn(1, 2, 5, 7), torch.randn(1, 1, 5, 7)).shape
        torch.Size([1, 4, 5, 7])
    """

    def __init__(
        self,
        channels: int,
        out: int,
        *,
        hidden: int,
        rank: int,
        blocks: int = 2,
        cond_channels: int = 0,
        kernel: int = 3,
        activation: Activation = F.relu,
    ) -> None:
        super().__init__()
        if blocks < 1:
            raise ValueError(f"expected one block or more, got {blocks}")
        self.activation = activation
        self.first = convolution(channels, hidden, kernel=kernel, rank=rank)
        self.inject = convolution(cond_channels, hidden, kernel=1, rank=rank, bias=False) if cond_channels else None
        self.blocks = nn.ModuleList(
            ResidualBlock(hidden, rank=rank, kernel=kernel, activation=activation) for _ in range(blocks)
        )
        self.last = zeroed(convolution(hidden, out, kernel=kernel, rank=rank))
        self.reach = (2 * blocks + 2) * (kernel // 2)  # see `tiles`
        self.footprint = (2 * blocks + 3) * hidden + 2 * out + 2 * channels

    def is_built(self) -> bool:
        """Whether its layers are of the kinds and kernels that it was built with."""
        blocks: list[Any] = list(self.blocks)
        if type(self) is not ResNetConditioner or not all(type(block) is ResidualBlock for block in blocks):
            return False
        wide: list[Any] = [self.first, *[layer for block in blocks for layer in (block.first, block.second)], self.last]
        narrow: list[Any] = [] if self.inject is None else [self.inject]
        rank = len(getattr(self.first, "kernel_size", ()))
        if not all(is_same_size(layer, rank) for layer in (*wide, *narrow)):
            return False
        reach = [sum(layer.kernel_size[axis] // 2 for layer in wide) for axis in range(rank)]
        return all(n == self.reach for n in reach) and all(set(layer.kernel_size) == {1} for layer in narrow if rank)

    def forward(self, a: Tensor, cond: Tensor | None = None) -> Tensor:
        """From ``a`` and the condition, both ``(batch, channels, *space)``, to the raw numbers of the coupling."""
        check_condition(cond, self.inject)
        h = self.first(held(a))
        if self.inject is not None:
            h = h + self.inject(cond)
        for block in self.blocks:
            h = block(h)
        out: Tensor = self.last(self.activation(h))
        return out
