r"""`Conditioner`: the residual network of a coupling, ``h = act(W1*q(a) + V*cond)``, ``h += act(W2*h)``, ``W3*h``.

``*`` is a convolution of kernel 3 (``W1``, ``W3``) or 1 (``W2``, ``V``), or a matrix for dense input. ``W3`` starts at
zero, so that the coupling starts as the identity. The condition enters by a 1x1 convolution that is added to the first
hidden layer: a third of the cost of concatenating it before a 3x3 one.

``q(a) = a / (1 + (a/r)^4)^(1/4)`` with ``r = 2.5``: numbers of order one pass, outliers are softly held. Without it an
outlier in the inverse pass is answered by a larger shift and scale, layer after layer: the largest of 4,950
photoacoustic samples was 7.1, and below 2 with it, at the same held-out loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bayesinv.reversible.by_hand import REACH, evaluated
from bayesinv.reversible.strips import is_same_size, is_touched

if TYPE_CHECKING:
    from bayesinv.reversible.replay import Pull
    from bayesinv.reversible.tiles import Tile

__all__ = ["Activation", "Concatenated", "Conditioner", "convolution"]

Activation = Callable[[Tensor], Tensor]


def convolution(channels: int, out: int, *, kernel: int, rank: int, bias: bool = True) -> nn.Module:
    """A same-size convolution of the rank of the space (0 to 3); rank 0 is a linear layer.

    Example:
        >>> convolution(2, 3, kernel=3, rank=1)
        Conv1d(2, 3, kernel_size=(3,), stride=(1,), padding=(1,))
    """
    if rank not in (0, 1, 2, 3):
        raise ValueError(f"expected a spatial rank of 0 to 3, got {rank}")
    if kernel % 2 == 0:
        raise ValueError(f"expected an odd kernel, which keeps the size, got {kernel}")
    if rank == 0:
        return nn.Linear(channels, out, bias=bias)
    kinds = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
    layer: nn.Module = kinds[rank](channels, out, kernel, padding=kernel // 2, bias=bias)
    return layer.to(memory_format=torch.channels_last) if rank == 2 else layer  # type: ignore[call-overload]


def held(a: Tensor) -> Tensor:
    """``q(a)``: ``a`` where it is of order one, at most ``r`` in magnitude."""
    return a * (1 + (a / REACH).square().square()).sqrt().rsqrt()


def relu(hidden: Tensor) -> Tensor:
    """ReLU in the place of what the layer before has just made."""
    return F.relu(hidden, inplace=True)


def zeroed(layer: nn.Module) -> nn.Module:
    """The layer with all its parameters zero."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def check_condition(cond: Tensor | None, inject: nn.Module | None) -> None:
    """Refuses a condition where there is no place for one, and its absence where there is."""
    if (cond is None) != (inject is None):
        raise ValueError(f"expected {'no condition' if inject is None else 'a condition'}, got the contrary")


class Conditioner(nn.Module):
    """Residual conditioner network of a coupling, for space of rank 0 to 3.

    Args:
        channels: channels of the input ``a``.
        out: channels of the output, twice those of the transformed part.
        hidden: hidden channels.
        rank: number of spatial axes.
        cond_channels: channels of the condition, 0 for none.
        kernel: size of the first and the last convolution.
        activation: ``act``, a function of tensors; a smooth one (``torch.nn.functional.silu``) makes the flow smooth.

    Source: Kingma and Dhariwal, Glow, 2018, arXiv 1807.03039 (zero-initialised end); He et al., 2016,
    arXiv 1512.03385 (residual block).

    Example:
        >>> import torch
        >>> Conditioner(2, 4, hidden=8, rank=2, cond_channels=3)(torch.randn(1, 2, 8, 8), torch.randn(1, 3, 8, 8)).shape
        torch.Size([1, 4, 8, 8])
    """

    def __init__(
        self,
        channels: int,
        out: int,
        *,
        hidden: int,
        rank: int,
        cond_channels: int = 0,
        kernel: int = 3,
        activation: Activation = relu,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.first = convolution(channels, hidden, kernel=kernel, rank=rank)
        self.inject = convolution(cond_channels, hidden, kernel=1, rank=rank, bias=False) if cond_channels else None
        self.middle = convolution(hidden, hidden, kernel=1, rank=rank)
        self.last = zeroed(convolution(hidden, out, kernel=kernel, rank=rank))
        self.reach, self.footprint = 2 * (kernel // 2), 5 * hidden // 2 + 2 * out + 2 * channels  # see `tiles`

    def by_hand(
        self, a: Tensor, cond: Tensor | None = None, *, tile: Tile, wanted: bool = False
    ) -> tuple[Tensor, Pull]:
        """The output on a tile, and the function from its gradient to all others; see `by_hand`."""
        check_condition(cond, self.inject)
        return evaluated(self, a, cond, tile, wanted=wanted)

    def is_as_written(self) -> bool:
        """Whether `by_hand` computes what `forward` does: nobody has put other layers or hooks into it."""
        layers = (self, self.first, self.middle, self.last, *([] if self.inject is None else [self.inject]))
        plainly = type(self) is Conditioner and self.activation is relu and self.is_built()
        return plainly and not any(map(is_touched, layers))

    def is_built(self) -> bool:
        """Whether its layers are of the kinds and kernels that it was built with."""
        outer: tuple[Any, ...] = (self.first, self.last)
        inner: tuple[Any, ...] = (self.middle, *([] if self.inject is None else [self.inject]))
        rank = len(getattr(self.first, "kernel_size", ()))
        if not all(is_same_size(layer, rank) for layer in (*outer, *inner)):
            return False
        if rank == 0:
            return True
        halves = {k // 2 for layer in outer for k in layer.kernel_size}
        return halves == {self.reach // 2} and all(set(layer.kernel_size) == {1} for layer in inner)

    def forward(self, a: Tensor, cond: Tensor | None = None) -> Tensor:
        """From ``a`` and the condition, both ``(batch, channels, *space)``, to raw log-scales and shifts."""
        check_condition(cond, self.inject)
        hidden = self.first(held(a))
        if self.inject is not None:
            hidden = hidden + self.inject(cond)
        hidden = self.activation(hidden)
        hidden = hidden + self.activation(self.middle(hidden))
        out: Tensor = self.last(hidden)
        return out


class Concatenated(nn.Module):
    """Makes a conditioner of any network with one input: ``network(cat([a, cond]))``.

    Example:
        >>> import torch
        >>> Concatenated(torch.nn.Linear(5, 4))(torch.randn(2, 3), torch.randn(2, 2)).shape
        torch.Size([2, 4])
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, a: Tensor, cond: Tensor | None = None) -> Tensor:
        """The network's output on the channels of both."""
        out: Tensor = self.network(a if cond is None else torch.cat([a, cond], 1))
        return out
