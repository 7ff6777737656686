r"""`hint_coupling`: the recursive coupling, which couples the channels of both halves among themselves, too.

    HINT([xa; xb]) = [ya; yb],   ya = HINT(xa),   yt = HINT(xb),   yb = S(xa) yt + T(xa),

with ``xa`` as it came in. The halves of an odd number of channels are uneven, ``xa`` the smaller one. The last level
of the recursion is an ordinary coupling, ``ya = xa``, ``yt = xb``. ``logdet`` is the sum over all couplings.

As a chain: HINT on the part ``b``, then the coupling, then HINT on the part ``a``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import nn

from bayesinv.reversible.base import Reversible
from bayesinv.reversible.chain import Chain
from bayesinv.reversible.coupling import Coupling
from bayesinv.reversible.elementwise import Affine, Elementwise
from bayesinv.reversible.householder import Householder
from bayesinv.reversible.inverted import Inverted
from bayesinv.reversible.on_part import OnPart

__all__ = ["MakeNetwork", "Permutation", "hint_coupling"]

MakeNetwork = Callable[[int, int], nn.Module]
Permutation = Literal["none", "lower", "full", "both"]


def hint_coupling(
    channels: int,
    network: MakeNetwork,
    *,
    depth: int | None = None,
    shared: bool = True,
    permutation: Permutation = "none",
    reflections: int | None = None,
    how: Elementwise | None = None,
) -> Chain:
    """The HINT coupling for any number of channels from two on.

    Args:
        channels: number of channels.
        network: makes the networks of the couplings: ``network(channels of xa, how.width * channels of xb)``, for
            example ``functools.partial(Conditioner, hidden=32, rank=2)``, with ``cond_channels=`` for a condition.
        depth: levels of the recursion, which ends early at parts of one channel; by default until parts have 4 channels
            at most, as in InvertibleNetworks.jl. With depth 1 it is an ordinary coupling; with ``log2(channels)`` or
            more the Jacobian is a full triangle.
        shared: whether parts of one level share their networks; they do so where they have the same number of
            channels. With uneven halves a level has parts of two sizes, and two networks. Else each part has its own.
        permutation: where an orthogonal 1x1 convolution (`Householder`) goes: ``"none"``; ``"lower"``, on ``xb``
            before; ``"full"``, on all channels before; ``"both"``, on all channels before, and its inverse after.
        reflections: of that convolution.
        how: the map of each number; by default `Affine()`.

    Returns:
        The chain; the condition, if any, goes to every network.

    Source: Kruse et al., HINT, 2021, arXiv 1905.10687.

    Raises:
        ValueError: if there are less than two channels or one level, or the permutation is unknown.

    Example:
        >>> import torch
        >>> from functools import partial
        >>> from bayesinv.reversible import Conditioner, hint_coupling
        >>> layer = hint_coupling(7, partial(Conditioner, hidden=8, rank=1), permutation="full")
        >>> layer(torch.randn(2, 7, 5))[0].shape
        torch.Size([2, 7, 5])
    """
    if channels < 2 or (depth is not None and depth < 1):
        raise ValueError(f"expected two channels or more and a positive depth, got {channels} and {depth}")
    if permutation not in ("none", "lower", "full", "both"):
        raise ValueError(f"expected permutation 'none', 'lower', 'full' or 'both', got {permutation!r}")
    levels = 1 + ((channels - 1) // 4).bit_length() if depth is None else depth
    tree = _tree(channels, levels, network, Affine() if how is None else how, {} if shared else None)
    if permutation == "none":
        return tree
    if permutation == "lower":
        half = channels // 2
        return Chain(OnPart(Householder(channels - half, reflections=reflections), start=half, stop=channels), *tree)
    rotation = Householder(channels, reflections=reflections)
    return Chain(rotation, *tree, *([Inverted(rotation)] if permutation == "both" else []))


def _tree(
    channels: int, levels: int, network: MakeNetwork, how: Elementwise, made: dict[tuple[int, int], Chain] | None
) -> Chain:
    """HINT of a part of two channels or more; ``made`` holds those of equal level and size, to be shared."""
    key = levels, channels
    if made is not None and key in made:
        return made[key]
    half = channels // 2
    maps: list[Reversible] = [Coupling(network(half, how.width * (channels - half)), passive=half, how=how)]
    if levels > 1 and channels > 2:
        lower = _tree(channels - half, levels - 1, network, how, made)
        maps.insert(0, OnPart(lower, start=half, stop=channels))
    if levels > 1 and half > 1:
        maps.append(OnPart(_tree(half, levels - 1, network, how, made), start=0, stop=half))
    found = Chain(*maps)
    if made is not None:
        made[key] = found
    return found
