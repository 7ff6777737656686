"""`glow`: the builder of conditional multiscale Glow for dense, 1-, 2- and 3-D input.

A level squeezes, runs ``steps`` times (ActNorm, Householder 1x1, Coupling), lets the kept half of the channels shift
and scale the leaving half (a conditional Gaussian for what leaves), and hands the kept half to the next level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from bayesinv.flows.flow import Flow
from bayesinv.reversible import (
    ActNorm,
    Chain,
    Conditioner,
    Coupling,
    Householder,
    OnPart,
    Reversible,
    ShiftScale,
    Squeeze,
    Squeezed,
)

__all__ = ["glow"]


def glow(
    shape: Sequence[int],
    *,
    condition: int | Sequence[int] = 0,
    levels: int = 3,
    steps: int = 6,
    hidden: int | Sequence[int] = 48,
    squeeze: Squeeze = "haar",
    reflections: int | None = None,
    bound: float = 1.0,
) -> Flow:
    """A (conditional) multiscale Glow; its latent has the shape of its input.

    Args:
        shape: ``(channels, *space)`` of ``x``, with 0 to 3 spatial axes.
        condition: 0 for none; the number of channels of one condition tensor at full resolution, which every level
            sees as block means (a Haar low-pass pyramid, so its channels do not grow); or the channels of a pyramid
            ``(2 channels, c_1, ..., c_levels)`` as a summary network returns it: the first shifts and scales ``x`` at
            full resolution (`ShiftScale`), the others feed the levels.
        levels: number of scales; each halves every spatial axis. Dense input is split without squeezing.
        steps: flow steps a level.
        hidden: hidden channels of the coupling networks, one number or one for each level.
        squeeze: ``"haar"`` or ``"space-to-depth"``.
        reflections: Householder reflections of each 1x1 convolution; by default all, up to 16.
        bound: largest log-scale of a coupling.

    Returns:
        The `Flow`. Receptive field of one step: 5 pixels of its level.

    Raises:
        ValueError: if a spatial size cannot be halved ``levels`` times (the message names sizes that would do), or
            there are too few channels to couple.

    Source: Kingma and Dhariwal, Glow, 2018, arXiv 1807.03039; conditional: Lu and Huang, 2020, arXiv 1905.13288.

    Example:
        >>> glow((1, 16, 16), condition=3, levels=2, steps=2, hidden=16).shape
        (1, 16, 16)
    """
    channels, space = shape[0], tuple(shape[1:])
    if len(space) > 3 or channels < 1 or levels < 1 or steps < 1:
        raise ValueError(f"expected shape (channels, up to 3 axes), levels and steps of 1 or more, got {tuple(shape)}")
    _check_sizes(space, levels)
    hiddens = (hidden,) * levels if isinstance(hidden, int) else tuple(hidden)
    conditions = (condition,) * levels if isinstance(condition, int) else tuple(condition)[1:]
    if len(hiddens) != levels or len(conditions) != levels:
        raise ValueError(f"expected one hidden width and one condition for each of {levels} levels")
    rank = len(space)
    body = _levels(channels, rank, conditions, steps, hiddens, squeeze, reflections, bound)
    if isinstance(condition, int):
        return Flow(body, shape)
    if condition[0] != 2 * channels:
        raise ValueError(f"expected a pyramid that begins with {2 * channels} channels, got {condition[0]}")
    return Flow(Chain(ShiftScale(centre=-1.5, bound=2.0), body), shape)


def _levels(
    channels: int,
    rank: int,
    conditions: Sequence[int],
    steps: int,
    hiddens: Sequence[int],
    squeeze: Squeeze,
    reflections: int | None,
    bound: float,
) -> Reversible:
    wide = channels * 2**rank
    if wide < 2:
        raise ValueError("expected at least two channels to couple; dense input needs two numbers or more")
    passive = wide // 2

    def coupling() -> Coupling:
        network = Conditioner(passive, 2 * (wide - passive), hidden=hiddens[0], rank=rank, cond_channels=conditions[0])
        return Coupling(network, passive=passive, bound=bound)

    maps: list[Reversible] = []
    for _ in range(steps):
        maps += [ActNorm(wide), Householder(wide, reflections=reflections), coupling()]
    if len(hiddens) > 1:
        rest = (rank, conditions[1:], steps, hiddens[1:], squeeze, reflections, bound)
        maps += [ActNorm(wide), coupling(), OnPart(_levels(passive, *rest), start=0, stop=passive)]
    else:
        maps += [ActNorm(wide)]
    body = Chain(*maps)
    return Squeezed(body, kind=squeeze) if rank else body


def _check_sizes(space: Sequence[int], levels: int) -> None:
    block = 2**levels
    if any(size % block for size in space):
        near = [max(block, block * math.floor(size / block)) for size in space]
        far = [block * math.ceil(size / block) for size in space]
        raise ValueError(
            f"expected sizes that {levels} levels can halve (multiples of {block}), got {tuple(space)}; "
            f"{tuple(near)} or {tuple(far)} would do, or fewer levels"
        )
