"""`DenseSummary`: from the numbers of data without spatial axes to one condition vector."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["DenseSummary"]


class DenseSummary(nn.Module):
    """The summary network of data without spatial axes: a dense network from numbers to one condition vector.

    Args:
        channels: how many numbers come in.
        features: how many go to the flow.
        hidden: width of the two hidden layers.

    Example:
        >>> import torch
        >>> DenseSummary(5, 8)(torch.randn(2, 5)).shape
        torch.Size([2, 8])
    """

    def __init__(self, channels: int, features: int, *, hidden: int = 64) -> None:
        super().__init__()
        sizes = ((channels, hidden), (hidden, hidden))
        self.body = nn.Sequential(*[part for a, b in sizes for part in (nn.Linear(a, b), nn.ReLU())])
        self.last = nn.Linear(hidden, features)

    def forward(self, c: Tensor) -> Tensor:
        """The condition ``(batch, features)`` of the numbers ``c (batch, channels)``."""
        out: Tensor = self.last(self.body(c))
        return out
