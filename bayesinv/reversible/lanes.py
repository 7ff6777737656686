r"""`hint_lanes`: HINT of two lanes, for ``p(y, x)`` and ``p(x|y)`` from the same parameters.

One step, with ``C`` an ActNorm and an orthogonal 1x1 convolution of each lane and ``S, T`` from one network:

    y' = C_y(y),   zy = HINT_y(y'),   x' = HINT_x(C_x(x)),   zx = S(y') x' + T(y').

The y lane never sees x: ``log p(y, x) = log p(y) + log p(x|y)``, each term from a lane of its own.
"""

from __future__ import annotations

from typing import NamedTuple

from bayesinv.reversible.actnorm import ActNorm
from bayesinv.reversible.base import Reversible
from bayesinv.reversible.chain import Chain
from bayesinv.reversible.coupling import Coupling
from bayesinv.reversible.elementwise import Affine, Elementwise
from bayesinv.reversible.hint import MakeNetwork, hint_coupling
from bayesinv.reversible.householder import Householder
from bayesinv.reversible.lane import Lane
from bayesinv.reversible.on_part import OnPart

__all__ = ["Lanes", "hint_lanes"]


class Lanes(NamedTuple):
    """Three maps that share their parameters; train any of them, and use all."""

    joint: Chain
    """``[y; x] -> [zy; zx]``, all channels of y first."""
    x: Lane
    """``x -> zx`` with ``y`` as the condition; its logdet is that of ``log p(x|y)``."""
    y: Chain
    """``y -> zy``."""


def hint_lanes(
    x_channels: int,
    y_channels: int,
    network: MakeNetwork,
    *,
    steps: int = 1,
    depth: int | None = None,
    shared: bool = True,
    permuted: bool = True,
    how: Elementwise | None = None,
) -> Lanes:
    """HINT on ``[y; x]`` with lanes of any number of channels on the same space.

    Args:
        x_channels: channels of ``x``.
        y_channels: channels of ``y``.
        network: makes the networks of all couplings, as for `hint_coupling`.
        steps: number of steps, each with networks of its own.
        depth: levels of recursion in each lane, as for `hint_coupling`.
        shared: whether the parts of one level share networks, as for `hint_coupling`.
        permuted: whether each step begins with a `Householder` convolution in each lane.
        how: the map of each number; by default `Affine()`.

    Returns:
        The maps of ``(y, x)``, of ``x`` given ``y``, and of ``y``. A lane of one channel has no coupling of its own.

    Source: Kruse et al., HINT, 2021, arXiv 1905.10687.

    Raises:
        ValueError: if there is no channel in a lane, or no step.

    Example:
        >>> import torch
        >>> from functools import partial
        >>> from bayesinv.reversible import Conditioner, hint_lanes
        >>> joint, x_lane, y_lane = hint_lanes(2, 3, partial(Conditioner, hidden=8, rank=1), steps=2)
        >>> x, y = torch.randn(4, 2, 6), torch.randn(4, 3, 6)
        >>> both = joint.eval()(torch.cat([y, x], 1))[1]
        >>> torch.allclose(x_lane.eval()(x, y)[1] + y_lane.eval()(y)[1], both, atol=1e-4)
        True
    """
    if x_channels < 1 or y_channels < 1 or steps < 1:
        raise ValueError(f"expected channels of x and of y and a step, got {x_channels}, {y_channels} and {steps}")
    how, total = Affine() if how is None else how, y_channels + x_channels

    def own(channels: int) -> list[Reversible]:
        """HINT of one lane."""
        return [hint_coupling(channels, network, depth=depth, shared=shared, how=how)] if channels > 1 else []

    def before(channels: int) -> list[Reversible]:
        """ActNorm and rotation of one lane."""
        return [ActNorm(channels), *([Householder(channels)] if permuted and channels > 1 else [])]

    joint: list[Reversible] = []
    y_maps: list[list[Reversible]] = [[]]
    x_maps: list[Reversible] = []
    crossings: list[Coupling] = []
    for _ in range(steps):
        first, last = before(y_channels), own(y_channels)
        x_map = Chain(*before(x_channels), *own(x_channels))
        crossing = Coupling(network(y_channels, how.width * x_channels), passive=y_channels, how=how)
        joint += [OnPart(Chain(*first), start=0, stop=y_channels), OnPart(x_map, start=y_channels, stop=total)]
        joint += [crossing, *[OnPart(one, start=0, stop=y_channels) for one in last]]
        y_maps[-1] += first
        y_maps.append(list(last))
        x_maps.append(x_map)
        crossings.append(crossing)
    y_lane = Chain(*[one for maps in y_maps for one in maps])
    return Lanes(Chain(*joint), Lane([Chain(*maps) for maps in y_maps[:-1]], x_maps, crossings), y_lane)
