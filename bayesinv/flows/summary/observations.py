"""What the summaries of sets share: observations by themselves, and which of them count."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["counted"]


def counted(c: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Padding put to zero, whatever stood there, and the mask ``(batch, observations)`` of what counts.

    Raises:
        ValueError: if the mask is not a boolean one of the first two axes.

    Example:
        >>> c, mask = counted(torch.tensor([[[1.0], [float("nan")]]]), torch.tensor([[True, False]]))
        >>> c.flatten().tolist(), mask.tolist()
        ([1.0, 0.0], [[True, False]])
    """
    if c.ndim < 3:
        raise ValueError(f"expected (batch, observations, channels, *space), got a tensor of shape {tuple(c.shape)}")
    if mask is None:
        return c, torch.ones(c.shape[:2], dtype=torch.bool, device=c.device)
    if mask.dtype != torch.bool or mask.shape != c.shape[:2]:
        raise ValueError(f"expected a boolean mask {tuple(c.shape[:2])}, got {mask.dtype} of shape {tuple(mask.shape)}")
    return torch.where(mask.view(*mask.shape, *[1] * (c.ndim - 2)), c, 0.0), mask
