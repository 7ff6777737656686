"""`multiscale`: levels one in another, each at half the resolution of the one around it; what the builders share.

A level squeezes, runs its own maps, and hands the first half of its channels, or all of them, to the next level. Every
level gives back what it got, so that the latent has the shape of the input.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from torch import nn

from bayesinv.flows.flow import Flow
from bayesinv.reversible import (
    Additive,
    Affine,
    Chain,
    Conditioner,
    Coupling,
    Elementwise,
    LinearSkip,
    OnPart,
    Reversible,
    ShiftScale,
    Spline,
    Squeeze,
    Squeezed,
)

__all__ = ["CouplingKind", "Site", "check_sizes", "couple", "elementwise", "multiscale", "nested", "widths"]

CouplingKind = Literal["affine", "additive", "spline"] | Elementwise


class Site(NamedTuple):
    """Where the maps of a level are: what they see."""

    level: int
    channels: int
    rank: int
    cond: int
    last: bool


Body = Callable[[Site], list[Reversible]]


def elementwise(coupling: CouplingKind, *, bound: float) -> Elementwise:
    """What the couplings do to each number, by name.

    Raises:
        ValueError: for an unknown name.

    Example:
        >>> elementwise("spline", bound=1.0).width
        23
    """
    if isinstance(coupling, Elementwise):
        return coupling
    kinds: dict[str, Elementwise] = {"affine": Affine(bound=bound), "additive": Additive(), "spline": Spline()}
    if coupling not in kinds:
        raise ValueError(f"expected coupling 'affine', 'additive', 'spline' or an Elementwise, got {coupling!r}")
    return kinds[coupling]


def couple(site: Site, how: Elementwise, hidden: int, *, last: bool = False, linear_skip: bool = False) -> Coupling:
    """A coupling of a level with the `Conditioner`; the first half of the channels is passive, or the last part.

    With a `LinearSkip` beside the network if so wanted.

    Example:
        >>> couple(Site(0, 5, 2, 0, True), Affine(), 8).passive
        2
    """
    passive = site.channels // 2
    free = site.channels - passive
    if last:
        passive, free = free, passive
    out = how.width * free
    network: nn.Module = Conditioner(passive, out, hidden=hidden, rank=site.rank, cond_channels=site.cond)
    if linear_skip:
        network = LinearSkip(network, passive, out, rank=site.rank)
    return Coupling(network, passive=passive, passive_last=last, how=how)


def multiscale(
    shape: Sequence[int],
    body: Body,
    *,
    condition: int | Sequence[int],
    levels: int,
    squeeze: Squeeze,
    split: bool,
) -> Flow:
    """The flow of a builder: checks the sizes, nests the levels, and puts the head of a pyramid before them.

    Raises:
        ValueError: if a spatial size cannot be halved ``levels`` times, there are less than two channels to couple, or
            the conditions are not as many as the levels.

    Example:
        >>> from bayesinv.reversible import ActNorm
        >>> body = lambda site: [ActNorm(site.channels)]
        >>> multiscale((1, 8), body, condition=0, levels=2, squeeze="haar", split=True).shape
        (1, 8)
    """
    channels, space = shape[0], tuple(shape[1:])
    if levels < 1:
        raise ValueError(f"expected 1 or more levels, got {levels}")
    check_sizes(shape, levels)
    at_levels = _conditions(condition, levels)
    pyramid = not isinstance(condition, int)
    made = nested(channels, len(space), at_levels, body, squeeze=squeeze, split=split, pyramid=pyramid)
    if isinstance(condition, int):
        return Flow(made, shape)
    if condition[0] != 2 * channels:
        raise ValueError(f"expected a pyramid that begins with {2 * channels} channels, got {condition[0]}")
    return Flow(Chain(ShiftScale(centre=-1.5, bound=2.0), made), shape)


def nested(
    channels: int,
    rank: int,
    conditions: Sequence[int],
    body: Body,
    *,
    squeeze: Squeeze,
    split: bool,
    pyramid: bool = False,
    level: int = 0,
) -> Reversible:
    """The levels from ``level`` on; dense ones are squeezed only to go down a pyramid of conditions with them.

    Example:
        >>> nested(1, 1, [0], lambda site: [], squeeze="haar", split=True).kind
        'haar'
    """
    wide = channels * 2**rank
    if wide < 2:
        raise ValueError("expected at least two channels to couple; dense input needs two numbers or more")
    last = level == len(conditions) - 1
    maps = body(Site(level, wide, rank, conditions[level], last))
    if not last:
        kept = wide // 2 if split else wide
        inner = nested(
            kept, rank, conditions, body, squeeze=squeeze, split=split, pyramid=pyramid, level=level + 1
        )  # fmt: skip
        maps.append(OnPart(inner, start=0, stop=kept) if split else inner)
    return Squeezed(Chain(*maps), kind=squeeze) if rank or pyramid else Chain(*maps)


def check_sizes(shape: Sequence[int], levels: int) -> None:
    """Refuses a shape of too many axes or sizes that ``levels`` levels cannot halve.

    Raises:
        ValueError: with sizes that would do.

    Example:
        >>> check_sizes((1, 8, 8), 3)
    """
    channels, space = shape[0], tuple(shape[1:])
    if len(space) > 3 or channels < 1 or levels < 0:
        raise ValueError(
            f"expected shape (channels, up to 3 axes) and 0 or more levels, got {tuple(shape)} and {levels}"
        )
    block = 2**levels
    if any(size % block for size in space):
        near = [max(block, block * math.floor(size / block)) for size in space]
        far = [block * math.ceil(size / block) for size in space]
        raise ValueError(
            f"expected sizes that {levels} levels can halve (multiples of {block}), got {tuple(space)}; "
            f"{tuple(near)} or {tuple(far)} would do, or fewer levels"
        )


def widths(hidden: int | Sequence[int], levels: int) -> tuple[int, ...]:
    """Hidden channels at each level.

    Example:
        >>> widths(8, 2), widths((8, 4), 2)
        ((8, 8), (8, 4))
    """
    found = (hidden,) * levels if isinstance(hidden, int) else tuple(hidden)
    if len(found) != levels:
        raise ValueError(f"expected one hidden width for each of {levels} levels, got {found}")
    return found


def _conditions(condition: int | Sequence[int], levels: int) -> tuple[int, ...]:
    """The channels of the condition at each level."""
    if isinstance(condition, int):
        return (condition,) * levels
    found = tuple(condition)[1:]
    if len(found) != levels:
        raise ValueError(f"expected a head and one condition for each of {levels} levels, got {tuple(condition)}")
    return found
