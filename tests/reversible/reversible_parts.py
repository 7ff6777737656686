"""What the registry of reversible maps is made of: cases, and small maps and networks for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from bayesinv.reversible import (
    ActNorm,
    Chain,
    Concatenated,
    Condition,
    Conditioner,
    Coupling,
    Householder,
    Hyperbolic,
    OnPart,
    Reversible,
    Spline,
    Squeezed,
    Unsqueezed,
    WaveForce,
)

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """A map, the shape ``(channels, *space)`` of its input, and its condition's: none, a tensor's, or a pyramid's.

    ``into`` takes random numbers to where the map and its inverse are both defined, also at twice those values.
    """

    make: Callable[[], Reversible]
    shape: Shape
    cond: Shape | tuple[Shape, ...] | None = None
    into: Callable[[Tensor], Tensor] | None = None

    def layer(self, dtype: torch.dtype = torch.float64, *, perturbed: float = 0.2) -> Reversible:
        """The map away from its initialisation, in training mode; every call gives the same one.

        Random networks with much larger weights make maps with a condition number beyond 1e3, whose inverse float32
        cannot follow; that would be a test of the weights.
        """
        torch.manual_seed(1)
        layer = self.make().to(dtype)
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.add_(perturbed * torch.randn_like(parameter))
        for part in layer.modules():
            if isinstance(part, ActNorm):
                part.initialised.fill_(True)  # else the first call would replace the parameters
        return layer

    def input(self, dtype: torch.dtype = torch.float64, *, batch: int = 3, seed: int = 2) -> Tensor:
        torch.manual_seed(seed)
        x = torch.randn(batch, *self.shape, dtype=dtype)
        return x if self.into is None else self.into(x)

    def condition(self, dtype: torch.dtype = torch.float64, *, batch: int = 3) -> Condition:
        torch.manual_seed(3)
        if self.cond is None:
            return None
        if isinstance(self.cond[0], int):
            return torch.randn(batch, *self.cond, dtype=dtype)
        return tuple(torch.randn(batch, *shape, dtype=dtype) for shape in self.cond)


class Recomputed(Reversible):
    """``y = sinh(exp(w + tanh cond) x)``: a leaf without a `_backward`, so that the base's own is under the laws."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def _scale(self, x: Tensor, cond: Condition) -> Tensor:
        own = cond[0] if isinstance(cond, tuple) else cond
        return self.weight + (0.0 if own is None else torch.tanh(own).mean(1, keepdim=True))

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        scaled = x * self._scale(x, cond).exp()
        log_slope = self._scale(x, cond) + scaled.cosh().log()
        return scaled.sinh(), log_slope.expand_as(x).flatten(1).sum(1)

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        scaled = y.asinh()
        x = scaled * (-self._scale(y, cond)).exp()
        log_slope = self._scale(y, cond) + scaled.cosh().log()
        return x, -log_slope.expand_as(y).flatten(1).sum(1)


def coupling(channels: int, rank: int, *, cond: int = 0, last: bool = False, hidden: int = 5) -> Coupling:
    """A coupling whose passive part is the smaller one where the channels are odd."""
    passive = channels // 2
    network = Conditioner(passive, 2 * (channels - passive), hidden=hidden, rank=rank, cond_channels=cond)
    return Coupling(network, passive=passive, passive_last=last)


def step(channels: int, rank: int, *, cond: int = 0, hidden: int = 5) -> Chain:
    """One step of Glow."""
    return Chain(ActNorm(channels), Householder(channels), coupling(channels, rank, cond=cond, hidden=hidden))


def shared() -> Chain:
    """One ActNorm, one rotation and one coupling, each used twice."""
    norm, rotation, pair = ActNorm(4), Householder(4, reflections=2), coupling(4, 1, cond=2)
    return Chain(norm, rotation, pair, rotation, norm, pair)


def multiscale(rank: int, *, cond: int = 0, kind: str = "haar") -> Chain:
    """Two levels; at the second one a part only goes on. The condition may be one tensor or a pyramid."""
    n = 2**rank
    inner = Chain(step(n, rank, cond=cond), OnPart(Squeezed(step(n, rank, cond=cond), kind=kind), start=0, stop=1))
    return Chain(ActNorm(1), Squeezed(inner, kind=kind))


def small(rank: int, *, cond: int = 0) -> Callable[[int, int], Conditioner]:
    """What makes small conditioners of given channels in and out."""
    return partial(Conditioner, hidden=4, rank=rank, cond_channels=cond)


def spline(rank: int, *, cond: int = 0, last: bool = False, how: Spline | None = None) -> Coupling:
    """A spline coupling of one channel with two; its tail bound is low, so that some of the inputs are beyond."""
    how = Spline(bins=4, tail=1.5) if how is None else how
    return Coupling(small(rank, cond=cond)(1, 2 * how.width), passive=1, passive_last=last, how=how)


def user_network() -> Coupling:
    """A coupling around a network of the user's own, which knows nothing of conditions."""
    network = nn.Sequential(nn.Conv1d(1 + 2, 6, 3, padding=1), nn.Tanh(), nn.Conv1d(6, 4, 1))
    return Coupling(Concatenated(network), passive=1, bound=1.0)


def leapfrog(channels: int, rank: int, *, cond: int = 0, smooth: bool = False) -> Hyperbolic:
    """A step of the wave equation on two states of that many channels each."""
    bend = torch.tanh if smooth else torch.relu
    return Hyperbolic(WaveForce(channels, hidden=5, rank=rank, activation=bend, cond_channels=cond))


def down_and_up(rank: int, *, cond: int = 0) -> Chain:
    """Two states of one channel go down a level, up again within it, and come back; smooth, as its ReLUs are many."""

    def one(channels: int) -> Hyperbolic:
        return leapfrog(channels, rank, cond=cond, smooth=True)

    coarse = Chain(one(2**rank), Unsqueezed(one(1), states=2), one(2**rank))
    return Chain(one(1), Squeezed(coarse, states=2), one(1))


class Constant(nn.Module):
    """A conditioner that sees neither input nor condition: a learned per-channel affine map."""

    def __init__(self, out: int) -> None:
        super().__init__()
        self.out = nn.Parameter(torch.zeros(out))

    def forward(self, a: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.out.view(1, -1, *[1] * (a.ndim - 2)).expand(a.shape[0], -1, *a.shape[2:])
