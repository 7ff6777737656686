r"""`WaveForce`: ``F(x) = alpha K^T act(K x + C c + b)``; for ``act = relu`` with gradients written out, and no graph.

    h = relu(K x + C c + b),  F = alpha K^T h
    dh = alpha K g,  dp = dh [h > 0],  dK = alpha g h^T + dp x^T,  db = sum dp,  dc = C^T dp,  dx = K^T dp

A strip of ``n`` output rows needs ``n + 2 m`` rows of ``h`` and ``n + 4 m`` of ``x``, ``m = kernel // 2``. Beyond the
image's edge both are zero.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bayesinv.reversible.conditioners import convolution
from bayesinv.reversible.gradients import Gradients, add_gradients
from bayesinv.reversible.replay import Pull
from bayesinv.reversible.strips import (
    applied,
    cleared,
    compute_dtype,
    convolution_of,
    is_same_size,
    is_touched,
    masked,
    missing,
    of_input,
    of_weight,
    padded,
    pulled,
    trimmed,
)
from bayesinv.reversible.tiles import Tile

__all__ = ["WaveForce"]


class WaveForce(nn.Module):
    r"""``alpha K^T act(K X + C cond + b)``, ``K^T`` the adjoint of ``K`` with the same weights.

    ``K`` is a convolution from ``channels`` to ``hidden`` channels (a matrix for dense input), ``C`` one of kernel 1.
    For ``act = relu`` the force is the gradient of the convex energy ``alpha |relu(K X + b)|^2 / 2``. ``K`` starts as
    ``[1; -1]`` but for 5 percent of noise, so that ``K^T relu(K X) = X``: then a leapfrog step is a turn by the angle
    ``t`` with ``cos t = 1 - alpha/2``, of 60 degrees for ``alpha = 1``, in the plane of the two states, and a chain of
    any depth keeps their size. An activation that bends both ways, such as tanh, asks for a smaller ``alpha``.

    Args:
        channels: channels of one state.
        hidden: hidden channels, twice ``channels`` by default; fewer leave some of the states without a force.
        rank: number of spatial axes.
        kernel: odd size of ``K``.
        alpha: the square of the time step.
        activation: elementwise and increasing.
        cond_channels: channels of the condition, 0 for none.

    Raises:
        ValueError: if the rank is not 0 to 3 or not the state's, the kernel even, or a condition missing or one too
            many.

    Source: Ruthotto and Haber, Deep neural networks motivated by partial differential equations, 2018,
    arXiv 1804.04272.

    Example:
        >>> import torch
        >>> WaveForce(3, rank=1)(torch.randn(2, 3, 16)).shape
        torch.Size([2, 3, 16])
    """

    def __init__(
        self,
        channels: int,
        *,
        hidden: int | None = None,
        rank: int,
        kernel: int = 3,
        alpha: float = 1.0,
        activation: Callable[[Tensor], Tensor] = torch.relu,
        cond_channels: int = 0,
    ) -> None:
        super().__init__()
        if rank not in (0, 1, 2, 3):
            raise ValueError(f"expected a spatial rank of 0 to 3, got {rank}")
        if kernel % 2 == 0:
            raise ValueError(f"expected an odd kernel, which keeps the size, got {kernel}")
        self.alpha, self.activation = alpha, activation
        hidden = 2 * channels if hidden is None else hidden
        noise = 0.05 / (hidden * kernel**rank) ** 0.5
        weight = noise * torch.randn(hidden, channels, *[kernel] * rank)
        unit = torch.eye(channels)
        weight[(..., *[kernel // 2] * rank)] += torch.cat([unit, -unit, torch.zeros(hidden, channels)])[:hidden]
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.inject = convolution(cond_channels, hidden, kernel=1, rank=rank, bias=False) if cond_channels else None
        self.reach, self.footprint = 2 * (kernel // 2), 3 * hidden + 3 * channels  # see `tiles`

    def by_hand(
        self, a: Tensor, cond: Tensor | None = None, *, tile: Tile, wanted: bool = False
    ) -> tuple[Tensor, Pull]:
        """The force on a tile, and the function from its gradient to all others, for ``act = relu``."""
        self._check(a, cond)
        return _evaluated(self, a, cond, tile, wanted=wanted)

    def is_as_written(self) -> bool:
        """Whether `by_hand` computes what `forward` does: it is a ReLU, and nobody has put layers or hooks into it."""
        layers = (self, *([] if self.inject is None else [self.inject]))
        return self.activation is torch.relu and self.is_built() and not any(map(is_touched, layers))

    def is_built(self) -> bool:
        """Whether its layers are of the kinds and kernels that it was built with."""
        space, inject = self.weight.shape[2:], self.inject
        added = inject is None or (is_same_size(inject, len(space)) and inject.weight[0, 0].numel() == 1)  # type: ignore[index]
        return type(self) is WaveForce and added and all(2 * (size // 2) == self.reach for size in space)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """From the state and the condition, both ``(batch, channels, *space)``, to the force, of the state's shape."""
        self._check(x, cond)
        padding = self.weight.shape[-1] // 2
        if self.weight.ndim == 2:
            hidden = F.linear(x, self.weight, self.bias)
        else:
            hidden = _FORWARD[x.ndim - 2](x, self.weight, self.bias, padding=padding)
        if self.inject is not None:
            hidden = hidden + self.inject(cond)
        hidden = self.activation(hidden)
        if self.weight.ndim == 2:
            return self.alpha * (hidden @ self.weight)
        return self.alpha * _ADJOINT[x.ndim - 2](hidden, self.weight, padding=padding)

    def _check(self, x: Tensor, cond: Tensor | None) -> None:
        if (cond is None) != (self.inject is None):
            raise ValueError(f"expected {'no condition' if self.inject is None else 'a condition'}, got the contrary")
        if x.ndim != self.weight.ndim:
            raise ValueError(f"expected a state with {self.weight.ndim - 2} axes of space, got shape {tuple(x.shape)}")


def _evaluated(net: WaveForce, a: Tensor, cond: Tensor | None, tile: Tile, *, wanted: bool) -> tuple[Tensor, Pull]:
    """By the formulas at the head of the file; the function may be called once."""
    dtype, margin = compute_dtype(a), net.reach // 2
    edges = missing(net.reach, tile)  # rows of x beyond the image
    beyond = (max(0, edges[0] - margin), max(0, edges[1] - margin))  # the same of h
    unseen = (max(0, tile.before - margin), max(0, tile.after - margin))  # rows of c that h does not see
    pads = [0 if tile.is_strip else margin, *[margin] * (a.ndim - 3)] if a.ndim > 2 else []
    weight, bias = net.weight.detach().to(dtype), net.bias.detach().to(dtype)
    turned = _turned(weight)

    x = padded(a, edges).to(dtype)
    h, c = convolution_of(x, weight, bias, pads), None
    if net.inject is not None and cond is not None:
        c = trimmed(cond, unseen).to(dtype)
        trimmed(h, beyond).add_(applied(net.inject, c, 0))
    h = cleared(h.relu_(), beyond)
    hidden = [h]  # which the function below takes, so that it goes when it is done with it

    def pull(grad: Tensor) -> tuple[Tensor, Tensor | None, Gradients]:
        grads: Gradients = {}
        g, h = net.alpha * grad.to(dtype), hidden.pop()
        if net.weight.requires_grad:
            add_gradients(grads, {net.weight: _turned(of_weight(h, turned, g, pads)).to(net.weight.dtype)})
        dp = of_input(h, turned, g, pads)
        dp = masked(dp, h, into=dp)
        del h
        if net.weight.requires_grad:
            add_gradients(grads, {net.weight: of_weight(x, weight, dp, pads).to(net.weight.dtype)})
        if net.bias.requires_grad:
            add_gradients(grads, {net.bias: dp.sum([0, *range(2, dp.ndim)]).to(net.bias.dtype)})
        dc = None
        if c is not None:
            dc = pulled(net.inject, c, trimmed(dp, beyond), 0, grads, wanted=wanted)
            dc = padded(dc, unseen).to(a.dtype) if wanted else None
        return trimmed(of_input(x, weight, dp, pads), edges).to(a.dtype), dc, grads

    return convolution_of(h, turned, None, pads).mul_(net.alpha), pull


def _turned(weight: Tensor) -> Tensor:
    """``K^T`` as the kernel of a convolution, and back."""
    return weight.transpose(0, 1).flip(list(range(2, weight.ndim)))


_FORWARD = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_ADJOINT = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
