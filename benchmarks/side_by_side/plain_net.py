r"""`PlainGlow`: the same flows as ordinary modules, under torch's own autograd; it shares no code with bayesinv.

A step is ``y = exp(s) x + b``, ``y = W x``, ``[a; c] -> [a; exp(s(r)) c + t]`` with ``(r, t) = net(a)``. ``W`` is
``P L (U + diag d)``, or a product of reflections ``I - V T V^T``. Latents come as a list, one of each level.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Net", "PlainGlow", "PlainStep", "Wrap", "relu_network"]

Net = Literal["glow", "relu"]
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
PRODUCTS = (F.conv1d, F.conv2d, F.conv3d)
LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def relu_network(channels: int, out: int, *, hidden: int, rank: int) -> nn.Sequential:
    """The network of the peers: 3x3, ReLU, 1x1, ReLU, 3x3; the last one starts at zero."""
    kind = CONVOLUTIONS[rank - 1]
    last = kind(hidden, out, 3, padding=1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    first, middle = kind(channels, hidden, 3, padding=1), kind(hidden, hidden, 1)
    return nn.Sequential(first, nn.ReLU(inplace=True), middle, nn.ReLU(inplace=True), last)


class ResidualNetwork(nn.Module):
    """``h = relu(W1*q(a))``, ``h += relu(W2*h)``, ``W3*h``, with ``q(a) = a / (1 + (a/2.5)^4)^(1/4)``."""

    def __init__(self, channels: int, out: int, *, hidden: int, rank: int) -> None:
        super().__init__()
        self.first, _, self.middle, _, self.last = relu_network(channels, out, hidden=hidden, rank=rank)

    def forward(self, a: Tensor) -> Tensor:
        h = F.relu(self.first(a / (1 + (a / 2.5) ** 4) ** 0.25))
        out: Tensor = self.last(h + F.relu(self.middle(h)))
        return out


class PlainStep(nn.Module):
    """ActNorm, then if wanted a 1x1 convolution, then if wanted a coupling; takes and returns ``(x, logdet)``."""

    order: Tensor
    sign: Tensor

    def __init__(self, channels: int, net: Net, *, hidden: int, rank: int, mixed: bool, coupled: bool) -> None:
        super().__init__()
        self.net, self.mixed, self.coupled, self.narrow = net, mixed, coupled, False
        self.log_scale, self.bias = nn.Parameter(torch.zeros(channels)), nn.Parameter(torch.zeros(channels))
        if mixed and net == "glow":
            self.vectors = nn.Parameter(torch.randn(channels, min(channels, 16)) / channels**0.5)
        elif mixed:
            permutation, lower, upper = torch.linalg.lu(torch.linalg.qr(torch.randn(channels, channels)).Q)
            factors = lower.tril(-1) + upper.triu(1) + upper.diagonal().abs().log().diag()
            self.factors = nn.Parameter(factors)
            self.register_buffer("order", permutation.argmax(1))
            self.register_buffer("sign", upper.diagonal().sign())
        if coupled:
            self.passive = channels // 2
            make = ResidualNetwork if net == "glow" else relu_network
            self.network = make(self.passive, 2 * (channels - self.passive), hidden=hidden, rank=rank)

    def forward(self, x: Tensor, logdet: Tensor) -> tuple[Tensor, Tensor]:
        x, logdet = x * _wide(self.log_scale.exp(), x) + _wide(self.bias, x), logdet + self._constant(x)
        if self.mixed:
            x = _product(x, self._weight())
        if self.coupled:
            a, b = x[:, : self.passive], x[:, self.passive :]
            log_scale, shift = self._scale_and_shift(a)
            x, logdet = torch.cat([a, b * log_scale.exp() + shift], 1), logdet + log_scale.flatten(1).sum(1)
        return x, logdet

    def inverse(self, y: Tensor, logdet: Tensor) -> tuple[Tensor, Tensor]:
        """Undoes `forward`, also on ``logdet``."""
        if self.coupled:
            a, b = y[:, : self.passive], y[:, self.passive :]
            log_scale, shift = self._scale_and_shift(a)
            y, logdet = torch.cat([a, (b - shift) * (-log_scale).exp()], 1), logdet - log_scale.flatten(1).sum(1)
        if self.mixed:
            weight = self._weight()
            y = _product(y, weight.T if self.net == "glow" else torch.linalg.inv(weight))
        return (y - _wide(self.bias, y)) * _wide((-self.log_scale).exp(), y), logdet - self._constant(y)

    def _constant(self, x: Tensor) -> Tensor:
        """The log-determinant of all but the coupling."""
        per_pixel = self.log_scale.sum()
        if self.mixed and self.net == "relu":
            per_pixel = per_pixel + self.factors.diagonal().sum()
        return math.prod(x.shape[2:]) * per_pixel

    def _weight(self) -> Tensor:
        if self.net == "glow":
            gram = self.vectors.T @ self.vectors
            unit = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
            inner = torch.linalg.solve_triangular(gram.triu(1) + (gram.diagonal() / 2).diag(), unit, upper=True)
            whole = torch.eye(len(self.vectors), dtype=gram.dtype, device=gram.device)
            return whole - self.vectors @ inner @ self.vectors.T
        unit = torch.eye(len(self.sign), dtype=self.factors.dtype, device=self.factors.device)
        upper = self.factors.triu(1) + (self.sign * self.factors.diagonal().exp()).diag()
        return ((self.factors.tril(-1) + unit) @ upper)[self.order]

    def _scale_and_shift(self, a: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(a.device.type, dtype=torch.bfloat16, enabled=self.narrow):
            out = self.network(a)
        raw, shift = out.to(a.dtype).chunk(2, 1)
        return torch.tanh(raw) if self.net == "glow" else F.logsigmoid(raw + 2), shift


Wrap = Callable[[PlainStep], Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]]


class PlainGlow(nn.Module):
    """The multiscale flow of plain steps.

    Args:
        shape: of one image.
        net: ``"glow"``, that of `bayesinv.flows.glow`; or ``"relu"``, that of the peers.
        levels: scales.
        steps: flow steps a level.
        hidden: hidden channels.
        wrap: what calls a step in the forward map, such as a checkpoint.
        channels_last: the memory layout.
        narrow: whether the networks work in bfloat16.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        net: Net,
        levels: int,
        steps: int,
        hidden: int,
        wrap: Wrap = lambda step: step,
        channels_last: bool = False,
        narrow: bool = False,
    ) -> None:
        super().__init__()
        channels, rank = shape[0], len(shape) - 1
        self.shape, self.net, self.channels_last = shape, net, channels_last
        self.levels = nn.ModuleList()
        for level in range(levels):
            channels *= 2**rank
            kinds = [(True, True)] * steps
            if net == "glow":  # the builder's end of a level: an ActNorm, and what stays decides on what leaves
                kinds.append((False, level < levels - 1))
            made = [PlainStep(channels, net, hidden=hidden, rank=rank, mixed=m, coupled=c) for m, c in kinds]
            self.levels.append(nn.ModuleList(made))
            channels //= 2
        for step in self.modules():
            if isinstance(step, PlainStep):
                step.narrow = narrow
        self.calls = [[wrap(step) for step in level] for level in self.levels]
        if channels_last:
            self.to(memory_format=LAST[rank + 2])

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Latents of all levels, fine to coarse, and the log-determinant."""
        latents, logdet = [], x.new_zeros(x.shape[0])
        for i, calls in enumerate(self.calls):
            x = self._laid_out(_haar(x) if self.net == "glow" else _space_to_depth(x))
            for call in calls:
                x, logdet = call(x, logdet)
            if i < len(self.calls) - 1:
                x, leaving = x.chunk(2, 1)
                latents.append(leaving)
        return [*latents, x], logdet

    def inverse(self, latents: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Undoes `forward`."""
        x = latents[-1]
        logdet = x.new_zeros(x.shape[0])
        for i in reversed(range(len(self.levels))):
            if i < len(self.levels) - 1:
                x = torch.cat([x, latents[i]], 1)
            x = self._laid_out(x)
            for step in reversed(list(self.levels[i])):
                x, logdet = step.inverse(x, logdet)
            x = _haar_inverse(x) if self.net == "glow" else _depth_to_space(x)
        return x, logdet

    def log_prob(self, x: Tensor) -> Tensor:
        """The log density in nats."""
        latents, logdet = self(x)
        square = sum(z.flatten(1).square().sum(1) for z in latents)
        return -0.5 * square - 0.5 * math.prod(self.shape) * math.log(2 * math.pi) + logdet

    def sample(self, n: int) -> Tensor:
        """Draws ``n`` images."""
        like, (channels, *space) = next(self.parameters()), self.shape
        latents = []
        for i in range(len(self.levels)):
            channels, space = channels * 2 ** len(space), [size // 2 for size in space]
            if i < len(self.levels) - 1:
                channels //= 2
            latents.append(torch.randn(n, channels, *space, device=like.device, dtype=like.dtype))
        with torch.no_grad():
            return self.inverse(latents)[0]

    def _laid_out(self, x: Tensor) -> Tensor:
        return x.contiguous(memory_format=LAST[x.ndim]) if self.channels_last else x


def _wide(values: Tensor, x: Tensor) -> Tensor:
    return values.view(1, -1, *[1] * (x.ndim - 2))


def _product(x: Tensor, weight: Tensor) -> Tensor:
    """The 1x1 convolution."""
    return PRODUCTS[x.ndim - 3](x, weight.view(*weight.shape, *[1] * (x.ndim - 2)))


def _space_to_depth(x: Tensor) -> Tensor:
    if x.ndim == 4:
        return F.pixel_unshuffle(x, 2)
    batch, channels, *space = x.shape
    d = len(space)
    x = x.reshape(batch, channels, *[n for size in space for n in (size // 2, 2)])
    x = x.permute(0, 1, *range(3, 3 + 2 * d, 2), *range(2, 2 + 2 * d, 2))
    return x.reshape(batch, channels * 2**d, *[size // 2 for size in space])


def _depth_to_space(x: Tensor) -> Tensor:
    if x.ndim == 4:
        return F.pixel_shuffle(x, 2)
    batch, channels, *space = x.shape
    d = len(space)
    x = x.reshape(batch, channels // 2**d, *[2] * d, *space)
    x = x.permute(0, 1, *[axis for i in range(d) for axis in (2 + d + i, 2 + i)])
    return x.reshape(batch, channels // 2**d, *[2 * size for size in space])


def _haar(x: Tensor) -> Tensor:
    for axis in range(2, x.ndim):
        even, odd = x.unflatten(axis, (-1, 2)).unbind(axis + 1)
        x = torch.cat([even + odd, even - odd], 1) * 2**-0.5
    return x


def _haar_inverse(x: Tensor) -> Tensor:
    for axis in reversed(range(2, x.ndim)):
        low, high = x.chunk(2, 1)
        x = torch.stack([low + high, low - high], axis + 1).flatten(axis, axis + 1) * 2**-0.5
    return x
