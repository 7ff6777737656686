"""`Residual`: the block ``h + W2*relu(W1*relu(h))`` of the convolutional summary networks, for space of rank 0 to 3."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bayesinv.reversible import convolution

__all__ = ["Residual"]


class Residual(nn.Module):
    """A residual block of two convolutions of kernel 3 that starts near the identity.

    Args:
        width: channels.
        rank: number of spatial axes.

    Source: He et al., Identity mappings in deep residual networks, 2016, arXiv 1603.05027.

    Example:
        >>> Residual(4, 2)(torch.randn(1, 4, 8, 8)).shape
        torch.Size([1, 4, 8, 8])
    """

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.first = convolution(width, width, kernel=3, rank=rank)
        self.second = convolution(width, width, kernel=3, rank=rank)
        with torch.no_grad():
            for name, parameter in self.second.named_parameters():
                parameter.mul_(0.0 if name == "bias" else 0.3)

    def forward(self, h: Tensor) -> Tensor:
        """From ``h (batch, width, *space)`` to the same shape."""
        out: Tensor = h + self.second(F.relu(self.first(F.relu(h)), inplace=True))
        return out
