"""`iunet`: the invertible U-Net, additive couplings at every resolution between learned orthogonal squeezes.

On the way down half of the channels are squeezed and go on, the others wait; on the way up they meet again. The way up
is the transpose of the way down, ``Q^T f(Q x)``, so that every level gives back what it got.
"""

from __future__ import annotations

from collections.abc import Sequence

from bayesinv.flows.levels import Site, check_sizes, couple, widths
from bayesinv.reversible import Additive, Chain, LearnedSqueezed, OnPart, Reversible

__all__ = ["iunet"]


def iunet(
    shape: Sequence[int],
    *,
    condition: int = 0,
    levels: int = 3,
    steps: int = 1,
    hidden: int | Sequence[int] = 32,
) -> Reversible:
    """An invertible U-Net for space of rank 1 to 3; the identity at the start.

    A step is a pair of additive couplings, with the parameters that `glow` names; each coupling widens the receptive
    field by 4 pixels of its level. A learned squeeze of ``s`` channels has ``s 2^d (2^d - 1) / 2`` parameters.

    Args:
        shape: ``(channels, *space)`` of ``x``; one channel is squeezed before anything else.
        condition: channels of the condition at full resolution, which deeper levels see as block means.
        levels: how often it goes down.
        steps: pairs of couplings at each resolution on the way down, and up; at the deepest, both at once.
        hidden: hidden channels of the networks, one number or one for each of ``levels + 1`` resolutions.

    Returns:
        The map; its logdet is 0.

    Raises:
        ValueError: if there is no space, or a spatial size cannot be halved ``levels`` times.

    Source: Etmann, Ke and Schoenlieb, iUNets, 2020, arXiv 2005.05220.

    Example:
        >>> import torch
        >>> network, x = iunet((2, 8, 8), levels=2, hidden=8), torch.randn(3, 2, 8, 8)
        >>> torch.allclose(network(x)[0], x, atol=1e-5)
        True
    """
    rank = len(shape) - 1
    if not rank or steps < 1:
        raise ValueError(f"expected a spatial axis and a step or more, got {tuple(shape)} and {steps}")
    check_sizes(shape, levels)
    hiddens = widths(hidden, levels + 1)

    def level(at: int, channels: int) -> Reversible:
        if channels == 1:
            return LearnedSqueezed(level(at + 1, 2**rank), channels=1, rank=rank)
        site = Site(at, channels, rank, condition, at == levels)

        def some() -> list[Reversible]:
            return [couple(site, Additive(), hiddens[at], last=last) for _ in range(steps) for last in (False, True)]

        if at == levels:
            return Chain(*some(), *some())
        part = channels // 2
        below = LearnedSqueezed(level(at + 1, part * 2**rank), channels=part, rank=rank)
        return Chain(*some(), OnPart(below, start=0, stop=part), *some())

    return level(0, shape[0])
