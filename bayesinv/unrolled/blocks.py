r"""`DilatedBlock`: a residual network on a grid ``d`` times coarser.

    h = act(W_1 * a),   out = W_3^T * act(h + act(W_2 * h))

``W_1`` is a convolution of kernel and stride ``d`` (kernel 3 for ``d = 1``), ``W_3^T`` a transposed one of the same
kind: one output sees ``3 d`` pixels (7 for ``d = 1``) at the price of ``d^rank`` times fewer ones.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from bayesinv.reversible import convolution

__all__ = ["DilatedBlock"]


class DilatedBlock(nn.Module):
    """The network of the couplings of an i-RIM, for space of rank 0 to 3 and of any size; starts at zero.

    Args:
        channels: channels of the input.
        out: channels of the output.
        hidden: hidden channels.
        rank: number of spatial axes; of rank 0, where there is no grid, the dilation is 1.
        dilation: ``d``.

    Source: Putzky and Welling, Invert to learn to invert, 2019, arXiv 1911.10914, without the gate at the end.

    Raises:
        ValueError: if the dilation is not positive, or not 1 for dense input.

    Example:
        >>> import torch
        >>> DilatedBlock(2, 3, hidden=8, rank=2, dilation=4)(torch.randn(1, 2, 10, 7)).shape
        torch.Size([1, 3, 10, 7])
    """

    def __init__(self, channels: int, out: int, *, hidden: int, rank: int, dilation: int = 1) -> None:
        super().__init__()
        if dilation < 1 or (rank == 0 and dilation > 1):
            raise ValueError(f"expected a positive dilation, 1 for dense input, got {dilation} at rank {rank}")
        self.dilation, self.rank = dilation, rank
        self.middle = convolution(hidden, hidden, kernel=3, rank=rank)
        if dilation == 1:
            self.first = convolution(channels, hidden, kernel=3, rank=rank)
            self.last = convolution(hidden, out, kernel=3, rank=rank)
        else:
            there: Any = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[rank]
            back: Any = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[rank]
            self.first = there(channels, hidden, dilation, stride=dilation)
            self.last = back(hidden, out, dilation, stride=dilation)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, a: Tensor) -> Tensor:
        """From ``(batch, channels, *space)`` to ``(batch, out, *space)``; sizes are padded to multiples of ``d``."""
        space = a.shape[2:]
        padding = [p for n in reversed(space) for p in (0, -n % self.dilation)]
        hidden = F.relu(self.first(F.pad(a, padding) if any(padding) else a))
        hidden = F.relu(hidden + F.relu(self.middle(hidden)))
        out: Tensor = self.last(hidden)
        for axis, n in enumerate(space, 2):
            out = out.narrow(axis, 0, n)
        return out
