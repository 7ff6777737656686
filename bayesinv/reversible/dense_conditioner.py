r"""`DenseConditioner`: ``W_n act(... act(W_1 q([a, cond]) + b_1))`` on all numbers of a sample at once.

Of images it sees every pixel with every other one, for a price: the space is fixed, and the matrices are as large.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from bayesinv.reversible.conditioners import Activation, held, relu, zeroed

__all__ = ["DenseConditioner"]


class DenseConditioner(nn.Module):
    """A dense network as the conditioner of a coupling, by default for dense input.

    Args:
        channels: channels of the input ``a``.
        out: channels of the output.
        hidden: width of the hidden layers.
        layers: their number.
        space: sizes of the spatial axes, which are flattened; none by default.
        cond_channels: channels of the condition, of the same space, 0 for none.
        activation: a function of tensors.

    Source: Dinh et al., NICE, 2014, arXiv 1410.8516.

    Raises:
        ValueError: if there is no hidden layer; in use, if ``a`` or the condition has another shape.

    Example:
        >>> import torch
        >>> DenseConditioner(2, 4, hidden=8)(torch.randn(5, 2)).shape
        torch.Size([5, 4])
    """

    def __init__(
        self,
        channels: int,
        out: int,
        *,
        hidden: int,
        layers: int = 2,
        space: Sequence[int] = (),
        cond_channels: int = 0,
        activation: Activation = relu,
    ) -> None:
        super().__init__()
        if layers < 1:
            raise ValueError(f"expected one hidden layer or more, got {layers}")
        self.out, self.space, self.cond_channels, self.activation = out, tuple(space), cond_channels, activation
        pixels = math.prod(self.space)
        widths = [(channels + cond_channels) * pixels, *[hidden] * layers]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.last = zeroed(nn.Linear(hidden, out * pixels))
        self.channels = channels

    def forward(self, a: Tensor, cond: Tensor | None = None) -> Tensor:
        """From ``a`` and the condition, both ``(batch, channels, *space)``, to the raw numbers of the coupling."""
        self._check(a, self.channels, "an input")
        self._check(cond, self.cond_channels, "a condition")
        h = held(a).flatten(1)
        if cond is not None:
            h = torch.cat([h, cond.flatten(1)], 1)
        for layer in self.hidden:
            h = self.activation(layer(h))
        out: Tensor = self.last(h)
        return out.view(a.shape[0], self.out, *self.space)

    def _check(self, given: Tensor | None, channels: int, what: str) -> None:
        shape = (channels, *self.space) if channels else None
        got = None if given is None else tuple(given.shape[1:])
        if got != shape:
            wanted = f"{what} of shape {shape}" if shape else f"no {what[2:]}"
            raise ValueError(f"expected {wanted}, got {got}")
