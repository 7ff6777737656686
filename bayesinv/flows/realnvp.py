"""`realnvp`: couplings with alternating masks, by pixels of a checkerboard, then by channels, on several levels.

A step is (ActNorm, Coupling, Coupling), each half of the numbers once under the influence of the other. A level runs
``steps`` of them with the even and odd pixels of a checkerboard as halves, then ``steps`` with the first and second
half of the channels, all at half resolution, where a pixel's parity is a matter of channels.
"""

from __future__ import annotations

from collections.abc import Sequence

from bayesinv.flows.flow import Flow
from bayesinv.flows.levels import CouplingKind, Site, couple, elementwise, multiscale, widths
from bayesinv.reversible import ActNorm, Permute, Reversible

__all__ = ["realnvp"]


def realnvp(
    shape: Sequence[int],
    *,
    condition: int | Sequence[int] = 0,
    levels: int = 3,
    steps: int = 2,
    hidden: int | Sequence[int] = 48,
    bound: float = 1.0,
    coupling: CouplingKind = "affine",
    split: bool = True,
) -> Flow:
    """A (conditional) RealNVP; its latent has the shape of its input.

    Its couplings have the parameters that `glow` names, ``(k p + c + h + 2) h + (k h + 1) o`` of them each; two come to
    each ActNorm. Each coupling widens the receptive field by 4 pixels of its level. Dense input has neither squeeze nor
    checkerboard, only ``steps`` steps a level.

    Args:
        shape: ``(channels, *space)`` of ``x``, with 0 to 3 spatial axes.
        condition: channels of the condition, or of a pyramid, as for `glow`.
        levels: number of scales; each halves every spatial axis.
        steps: pairs of couplings with each mask.
        hidden: hidden channels of the coupling networks, one number or one for each level.
        bound: largest log-scale of an affine coupling.
        coupling: ``"affine"``, ``"additive"``, ``"spline"``, or an `Elementwise`.
        split: whether half of the channels leave at each level.

    Returns:
        The `Flow`.

    Raises:
        ValueError: if a spatial size cannot be halved ``levels`` times, or there are too few channels to couple.

    Source: Dinh et al., RealNVP, 2017, arXiv 1605.08803; splines: Durkan et al., 2019, arXiv 1906.04032.

    Example:
        >>> realnvp((1, 8, 8), levels=2, steps=1, hidden=8, coupling="spline").shape
        (1, 8, 8)
    """
    hiddens = widths(hidden, levels)
    if steps < 1:
        raise ValueError(f"expected 1 or more steps, got {steps}")
    how = elementwise(coupling, bound=bound)

    def pairs(site: Site) -> list[Reversible]:
        maps: list[Reversible] = []
        for _ in range(steps):
            maps.append(ActNorm(site.channels))
            maps += [couple(site, how, hiddens[site.level], last=last) for last in (False, True)]
        return maps

    def body(site: Site) -> list[Reversible]:
        if not site.rank:
            return [*pairs(site), ActNorm(site.channels)]
        there, back = _checkerboard(site)
        return [Permute(there), *pairs(site), Permute(back), *pairs(site), ActNorm(site.channels)]

    return multiscale(shape, body, condition=condition, levels=levels, squeeze="checkerboard", split=split)


def _checkerboard(site: Site) -> tuple[list[int], list[int]]:
    """The channels of even pixels first, and the way back; offset-major, as the squeeze ``"checkerboard"`` has them."""
    blocks = range(2**site.rank)
    count = site.channels // len(blocks)
    parity = sorted(blocks, key=lambda offset: offset.bit_count() % 2)
    there = [offset * count + channel for offset in parity for channel in range(count)]
    return there, sorted(range(len(there)), key=there.__getitem__)
