r"""`LinearSkip`: ``net(a, cond) + S*a``: a linear path beside the network of a coupling, zero at the start.

Where neighbours are strongly correlated, most of what a coupling has to do is linear; a network of few rectified units
learns that slowly, and not beyond the largest numbers that it has seen.
"""

from __future__ import annotations

from torch import Tensor, nn

from bayesinv.reversible.conditioners import convolution, zeroed

__all__ = ["LinearSkip"]


class LinearSkip(nn.Module):
    """A conditioner with a convolution beside it, or a matrix for dense input.

    Args:
        network: called as ``network(a)`` or ``network(a, cond)``.
        channels: channels of the input ``a``.
        out: channels of the network's output.
        rank: number of spatial axes.
        kernel: size of the convolution.

    Example:
        >>> import torch
        >>> from bayesinv.reversible import Conditioner
        >>> network = LinearSkip(Conditioner(2, 4, hidden=8, rank=2), 2, 4, rank=2)
        >>> network(torch.randn(1, 2, 8, 8)).shape
        torch.Size([1, 4, 8, 8])
    """

    def __init__(self, network: nn.Module, channels: int, out: int, *, rank: int, kernel: int = 3) -> None:
        super().__init__()
        self.network = network
        self.skip = zeroed(convolution(channels, out, kernel=kernel, rank=rank, bias=False))

    def forward(self, a: Tensor, cond: Tensor | None = None) -> Tensor:
        """From ``a`` and the condition to the raw numbers of the coupling."""
        own = self.network(a) if cond is None else self.network(a, cond)
        out: Tensor = own + self.skip(a)
        return out
