"""`glow`: the builder of conditional multiscale Glow for dense, 1-, 2- and 3-D input.

A level squeezes, runs ``steps`` times (ActNorm, Householder 1x1, Coupling), lets the kept half of the channels shift
and scale the leaving half (a conditional Gaussian for what leaves), and hands the kept half to the next level.
"""

from __future__ import annotations

from collections.abc import Sequence

from bayesinv.flows.flow import Flow
from bayesinv.flows.levels import CouplingKind, Site, couple, elementwise, multiscale, widths
from bayesinv.reversible import ActNorm, Householder, Reversible, Squeeze

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
    coupling: CouplingKind = "affine",
    split: bool = True,
    linear_skip: bool = False,
) -> Flow:
    """A (conditional) multiscale Glow; its latent has the shape of its input.

    Of a step with ``w`` channels, half of them ``p = w // 2`` passive, ``o = r (w - p)`` raw numbers (``r = 2`` for
    affine couplings, 1 for additive ones, 23 for splines), ``h`` hidden channels, ``c`` of the condition and kernels of
    ``k = 3^rank`` weights, there are ``2 w + w min(w, 16) + (k p + c + h + 2) h + (k h + 1) o`` parameters. Each
    coupling widens the receptive field by 4 pixels of its level.

    Args:
        shape: ``(channels, *space)`` of ``x``, with 0 to 3 spatial axes.
        condition: 0 for none; the number of channels of one condition tensor at full resolution, which every level
            sees as block means (a Haar low-pass pyramid, so its channels do not grow); or the channels of a pyramid
            ``(2 channels, c_1, ..., c_levels)`` as a summary network returns it: the first shifts and scales ``x`` at
            full resolution (`ShiftScale`), the others feed the levels.
        levels: number of scales; each halves every spatial axis. Dense input is split without squeezing.
        steps: flow steps a level.
        hidden: hidden channels of the coupling networks, one number or one for each level.
        squeeze: see `bayesinv.reversible.squeeze`.
        reflections: Householder reflections of each 1x1 convolution; by default all, up to 16.
        bound: largest log-scale of an affine coupling.
        coupling: ``"affine"``, ``"additive"``, ``"spline"``, or an `Elementwise` such as ``Spline(bins=12)``.
        split: whether half of the channels leave at each level; else all go through all levels, ``2^rank`` times as
            many each time.
        linear_skip: whether every coupling network has a linear convolution beside it (`LinearSkip`), ``k p o`` more
            parameters each.

    Returns:
        The `Flow`.

    Raises:
        ValueError: if a spatial size cannot be halved ``levels`` times (the message names sizes that would do), or
            there are too few channels to couple.

    Source: Kingma and Dhariwal, Glow, 2018, arXiv 1807.03039; conditional: Lu and Huang, 2020, arXiv 1905.13288.

    Example:
        >>> glow((1, 16, 16), condition=3, levels=2, steps=2, hidden=16).shape
        (1, 16, 16)
    """
    hiddens = widths(hidden, levels)
    if steps < 1:
        raise ValueError(f"expected 1 or more steps, got {steps}")
    how = elementwise(coupling, bound=bound)

    def body(site: Site) -> list[Reversible]:
        maps: list[Reversible] = []
        for _ in range(steps):
            rotation = Householder(site.channels, reflections=reflections)
            maps += [ActNorm(site.channels), rotation, couple(site, how, hiddens[site.level], linear_skip=linear_skip)]
        maps.append(ActNorm(site.channels))
        if split and not site.last:
            maps.append(couple(site, how, hiddens[site.level], linear_skip=linear_skip))
        return maps

    return multiscale(shape, body, condition=condition, levels=levels, squeeze=squeeze, split=split)
