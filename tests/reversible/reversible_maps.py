"""The registry of reversible maps. To put a layer under all laws, add one line to `MAPS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
    OnPart,
    Reversible,
    ShiftScale,
    Squeezed,
)

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """A map, the shape ``(channels, *space)`` of its input, and its condition's: none, a tensor's, or a pyramid's."""

    make: Callable[[], Reversible]
    shape: Shape
    cond: Shape | tuple[Shape, ...] | None = None

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
        return torch.randn(batch, *self.shape, dtype=dtype)

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


def user_network() -> Coupling:
    """A coupling around a network of the user's own, which knows nothing of conditions."""
    network = nn.Sequential(nn.Conv1d(1 + 2, 6, 3, padding=1), nn.Tanh(), nn.Conv1d(6, 4, 1))
    return Coupling(Concatenated(network), passive=1, bound=1.0)


MAPS: dict[str, Case] = {
    "actnorm-dense": Case(lambda: ActNorm(4), (4,)),
    "actnorm-1d": Case(lambda: ActNorm(3), (3, 5)),
    "actnorm-2d": Case(lambda: ActNorm(3), (3, 3, 4)),
    "actnorm-3d": Case(lambda: ActNorm(2), (2, 2, 3, 2)),
    "householder-dense": Case(lambda: Householder(5), (5,)),
    "householder-one-channel": Case(lambda: Householder(1), (1, 4)),
    "householder-one-reflection": Case(lambda: Householder(4, reflections=1), (4, 5)),
    "householder-2d": Case(lambda: Householder(4, reflections=3), (4, 3, 2)),
    "householder-surplus-reflections-3d": Case(lambda: Householder(3, reflections=7), (3, 2, 2, 2)),
    "coupling-dense": Case(lambda: coupling(5, 0), (5,)),
    "coupling-dense-cond": Case(lambda: coupling(4, 0, cond=3), (4,), (3,)),
    "coupling-1d-last": Case(lambda: coupling(3, 1, last=True), (3, 6)),
    "coupling-2d-cond": Case(lambda: coupling(4, 2, cond=2), (4, 4, 3), (2, 4, 3)),
    "coupling-2d-pyramid": Case(lambda: coupling(4, 2, cond=2), (4, 4, 2), ((2, 4, 2), (1, 2, 1))),
    "coupling-3d-cond": Case(lambda: coupling(2, 3, cond=1, last=True), (2, 2, 3, 2), (1, 2, 3, 2)),
    "coupling-user-network": Case(user_network, (3, 5), (2, 5)),
    "coupling-constant-network": Case(lambda: Coupling(Constant(4), passive=1), (3, 5)),
    "shift-scale-dense": Case(lambda: ShiftScale(centre=0.4), (3,), (6,)),
    "shift-scale-1d": Case(lambda: ShiftScale(bound=1.0), (2, 5), (4, 5)),
    "shift-scale-2d-pyramid": Case(lambda: ShiftScale(centre=-0.7), (1, 4, 4), ((2, 4, 4), (3, 2, 2))),
    "shift-scale-3d": Case(lambda: ShiftScale(), (1, 2, 3, 2), (2, 2, 3, 2)),
    "chain-empty": Case(lambda: Chain(), (2, 3)),
    "chain-dense-cond": Case(lambda: Chain(step(4, 0, cond=2), step(4, 0, cond=2)), (4,), (2,)),
    "chain-1d": Case(lambda: Chain(step(2, 1), step(2, 1)), (2, 6)),
    "chain-2d-cond": Case(lambda: Chain(step(4, 2, cond=2), step(4, 2, cond=2)), (4, 3, 3), (2, 3, 3)),
    "chain-2d-pyramid": Case(lambda: Chain(step(2, 2, cond=1), step(2, 2, cond=1)), (2, 4, 2), ((1, 4, 2), (3, 2, 1))),
    "chain-3d-cond": Case(lambda: step(2, 3, cond=1), (2, 2, 2, 3), (1, 2, 2, 3)),
    "chain-shared": Case(shared, (4, 5), (2, 5)),
    "chain-head": Case(lambda: Chain(ShiftScale(), multiscale(1, cond=2)), (1, 8), (2, 8)),
    "on-part-dense": Case(lambda: OnPart(coupling(3, 0), start=1, stop=4), (5,)),
    "on-part-first-2d-cond": Case(lambda: OnPart(step(2, 2, cond=1), start=0, stop=2), (4, 2, 3), (1, 2, 3)),
    "on-part-all-1d": Case(lambda: OnPart(step(4, 1), start=0, stop=4), (4, 3)),
    "on-part-nested-3d": Case(lambda: OnPart(OnPart(ActNorm(1), start=1, stop=2), start=1, stop=4), (4, 2, 2, 2)),
    "squeezed-1d": Case(lambda: Squeezed(step(4, 1)), (2, 6)),
    "squeezed-1d-depth": Case(lambda: Squeezed(step(2, 1, cond=3), kind="space-to-depth"), (1, 6), (3, 6)),
    "squeezed-2d-cond": Case(lambda: Squeezed(step(4, 2, cond=2)), (1, 4, 6), (2, 4, 6)),
    "squeezed-2d-depth-pyramid": Case(
        lambda: Squeezed(step(4, 2, cond=2), kind="space-to-depth"), (1, 4, 6), ((1, 4, 6), (2, 2, 3))
    ),
    "squeezed-3d": Case(lambda: Squeezed(step(8, 3, cond=1)), (1, 2, 2, 4), (1, 2, 2, 4)),
    "squeezed-3d-depth": Case(lambda: Squeezed(step(8, 3), kind="space-to-depth"), (1, 2, 2, 4)),
    "multiscale-1d-cond": Case(lambda: multiscale(1, cond=2), (1, 8), (2, 8)),
    "multiscale-2d-cond": Case(lambda: multiscale(2, cond=1), (1, 4, 8), (1, 4, 8)),
    "multiscale-2d-pyramid": Case(
        lambda: multiscale(2, cond=2, kind="space-to-depth"), (1, 4, 4), ((1, 4, 4), (2, 2, 2), (2, 1, 1))
    ),
    "multiscale-3d": Case(lambda: multiscale(3), (1, 4, 4, 4)),
    "recomputed": Case(lambda: Chain(Recomputed(), coupling(2, 1, cond=1), Recomputed()), (2, 4), (1, 4)),
    "recomputed-pyramid": Case(lambda: Squeezed(Recomputed()), (1, 4, 4), ((1, 4, 4), (2, 2, 2))),
}


class Constant(nn.Module):
    """A conditioner that sees neither input nor condition: a learned per-channel affine map."""

    def __init__(self, out: int) -> None:
        super().__init__()
        self.out = nn.Parameter(torch.zeros(out))

    def forward(self, a: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.out.view(1, -1, *[1] * (a.ndim - 2)).expand(a.shape[0], -1, *a.shape[2:])
