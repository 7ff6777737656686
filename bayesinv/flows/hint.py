"""`hint` and `multiscale_hint`: flows of recursive couplings, whose Jacobians are denser triangles than a coupling's.

A step is (ActNorm, Householder 1x1, HINT); see `bayesinv.reversible.hint_coupling`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from bayesinv.flows.flow import Flow
from bayesinv.flows.levels import CouplingKind, Site, elementwise, multiscale, widths
from bayesinv.reversible import ActNorm, Conditioner, Reversible, Squeeze, hint_coupling

__all__ = ["hint", "multiscale_hint"]


def hint(
    shape: Sequence[int],
    *,
    condition: int | Sequence[int] = 0,
    steps: int = 6,
    hidden: int = 48,
    depth: int | None = None,
    shared: bool = True,
    squeeze: Squeeze = "haar",
    reflections: int | None = None,
    bound: float = 1.0,
    coupling: CouplingKind = "affine",
) -> Flow:
    """A (conditional) HINT of one scale: dense input as it is, images squeezed once.

    Args:
        shape: ``(channels, *space)`` of ``x``, with 0 to 3 spatial axes.
        condition: channels of the condition, or of a pyramid of one level, as for `glow`.
        steps: number of steps.
        hidden: hidden channels of the networks.
        depth: levels of the recursion; by default until parts have 4 channels at most.
        shared: whether the parts of one level of the recursion share their networks.
        squeeze: see `bayesinv.reversible.squeeze`.
        reflections: Householder reflections of each 1x1 convolution.
        bound: largest log-scale of an affine coupling.
        coupling: ``"affine"``, ``"additive"``, ``"spline"``, or an `Elementwise`.

    Returns:
        The `Flow`. Parameters and receptive field are those of `multiscale_hint` with one level.

    Raises:
        ValueError: if a spatial size is odd, or there are too few channels to couple.

    Source: Kruse et al., HINT, 2021, arXiv 1905.10687.

    Example:
        >>> hint((6,), condition=2, steps=2, hidden=8).shape
        (6,)
    """
    return multiscale_hint(
        shape,
        condition=condition,
        levels=1,
        steps=steps,
        hidden=hidden,
        depth=depth,
        shared=shared,
        squeeze=squeeze,
        reflections=reflections,
        bound=bound,
        coupling=coupling,
    )


def multiscale_hint(
    shape: Sequence[int],
    *,
    condition: int | Sequence[int] = 0,
    levels: int = 3,
    steps: int = 4,
    hidden: int | Sequence[int] = 48,
    depth: int | None = None,
    shared: bool = True,
    squeeze: Squeeze = "haar",
    reflections: int | None = None,
    bound: float = 1.0,
    coupling: CouplingKind = "affine",
    split: bool = True,
) -> Flow:
    """A (conditional) HINT of several scales; its latent has the shape of its input.

    A step with ``w`` channels has ``2 w + w min(w, 16)`` parameters, and a network for each size of part at each level
    of the recursion: ``depth`` of them if the halves are even. That of parts of ``v`` channels has, with ``p = v // 2``
    passive ones, ``o = r (v - p)``, and the letters of `glow`, ``(k p + c + h + 2) h + (k h + 1) o``. A step widens the
    receptive field by 4 pixels of its level, whatever its depth: networks see what came in, not what others made.

    Args:
        shape: ``(channels, *space)`` of ``x``, with 0 to 3 spatial axes.
        condition: channels of the condition, or of a pyramid, as for `glow`.
        levels: number of scales; each halves every spatial axis. Dense input is split without squeezing.
        steps: steps a level.
        hidden: hidden channels of the networks, one number or one for each level.
        depth: levels of the recursion; by default until parts have 4 channels at most.
        shared: whether the parts of one level of the recursion share their networks.
        squeeze: see `bayesinv.reversible.squeeze`.
        reflections: Householder reflections of each 1x1 convolution.
        bound: largest log-scale of an affine coupling.
        coupling: ``"affine"``, ``"additive"``, ``"spline"``, or an `Elementwise`.
        split: whether half of the channels leave at each level.

    Returns:
        The `Flow`.

    Raises:
        ValueError: if a spatial size cannot be halved ``levels`` times, or there are too few channels to couple.

    Source: Kruse et al., HINT, 2021, arXiv 1905.10687; several scales: Witte et al., InvertibleNetworks.jl, 2024,
    doi 10.21105/joss.06554.

    Example:
        >>> multiscale_hint((1, 8, 8), levels=2, steps=1, hidden=8).shape
        (1, 8, 8)
    """
    hiddens = widths(hidden, levels)
    if steps < 1:
        raise ValueError(f"expected 1 or more steps, got {steps}")
    how = elementwise(coupling, bound=bound)

    def body(site: Site) -> list[Reversible]:
        network = partial(Conditioner, hidden=hiddens[site.level], rank=site.rank, cond_channels=site.cond)
        maps: list[Reversible] = []
        for _ in range(steps):
            maps.append(ActNorm(site.channels))
            maps.append(
                hint_coupling(
                    site.channels,
                    network,
                    depth=depth,
                    shared=shared,
                    permutation="full",
                    reflections=reflections,
                    how=how,
                )
            )
        return [*maps, ActNorm(site.channels)]

    return multiscale(shape, body, condition=condition, levels=levels, squeeze=squeeze, split=split)
