"""`conditional_hint`: densities of ``(y, x)`` jointly, of ``x`` given ``y``, and of ``y``, from the same parameters."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from bayesinv.flows.flow import Flow
from bayesinv.flows.levels import CouplingKind, check_sizes, elementwise
from bayesinv.flows.squeezed_condition import SqueezedCondition
from bayesinv.reversible import Chain, Conditioner, Permute, Reversible, Squeeze, Squeezed, hint_lanes

__all__ = ["LaneFlows", "conditional_hint"]


class LaneFlows(NamedTuple):
    """Three densities that share their parameters; train any of them, and use all."""

    joint: Flow
    """``p(y, x)`` of ``[y; x]``, the channels of y first."""
    x: Flow
    """``p(x|y)``, with ``y`` as the condition."""
    y: Flow
    """``p(y)``."""


def conditional_hint(
    shape: Sequence[int],
    *,
    condition: int,
    steps: int = 6,
    hidden: int = 48,
    depth: int | None = None,
    shared: bool = True,
    squeeze: Squeeze = "haar",
    bound: float = 1.0,
    coupling: CouplingKind = "affine",
) -> LaneFlows:
    """HINT of two lanes, ``log p(y, x) = log p(y) + log p(x|y)``; images are squeezed once.

    Data of another space than ``x`` come in through a summary network. A step with lanes of ``v`` and ``w`` channels
    (squeezed ones) has the parameters of a step of HINT (see `multiscale_hint`) for each, and one network from ``v``
    channels to ``r w`` raw numbers. It widens the receptive field by 4 pixels, or 8 of an image, which is squeezed.

    Args:
        shape: ``(channels, *space)`` of ``x``, with 0 to 3 spatial axes.
        condition: channels of ``y``, on the same space.
        steps: number of steps.
        hidden: hidden channels of the networks.
        depth: levels of the recursion in each lane.
        shared: whether the parts of one level of the recursion share their networks.
        squeeze: see `bayesinv.reversible.squeeze`.
        bound: largest log-scale of an affine coupling.
        coupling: ``"affine"``, ``"additive"``, ``"spline"``, or an `Elementwise`.

    Returns:
        The flows of ``(y, x)``, of ``x`` given ``y``, and of ``y``.

    Raises:
        ValueError: if a spatial size is odd, or there is no channel in a lane, or no step.

    Source: Kruse et al., HINT, 2021, arXiv 1905.10687.

    Example:
        >>> import torch
        >>> flows = conditional_hint((2,), condition=3, steps=2, hidden=8)
        >>> x, y = torch.randn(5, 2), torch.randn(5, 3)
        >>> both = flows.joint.eval().log_prob(torch.cat([y, x], 1))
        >>> torch.allclose(flows.y.eval().log_prob(y) + flows.x.eval().log_prob(x, y), both, atol=1e-4)
        True
    """
    channels, space = shape[0], tuple(shape[1:])
    rank = len(space)
    check_sizes(shape, 1)
    if condition < 1:
        raise ValueError(f"expected one channel of y or more, got {condition}")
    joint, of_x, of_y = hint_lanes(
        channels * 2**rank,
        condition * 2**rank,
        partial(Conditioner, hidden=hidden, rank=rank),
        steps=steps,
        depth=depth,
        shared=shared,
        how=elementwise(coupling, bound=bound),
    )
    both = (condition + channels, *space)
    if not rank:
        return LaneFlows(Flow(joint, both), Flow(of_x, shape), Flow(of_y, (condition,)))
    there, back = _lanes_first(condition, channels, 2**rank)
    inner: Reversible = joint if squeeze == "space-to-depth" else Chain(Permute(there), joint, Permute(back))
    return LaneFlows(
        Flow(Squeezed(inner, kind=squeeze), both),
        Flow(Squeezed(of_x, kind=squeeze), shape, summary=SqueezedCondition(levels=1, squeeze=squeeze)),
        Flow(Squeezed(of_y, kind=squeeze), (condition, *space)),
    )


def _lanes_first(first: int, second: int, blocks: int) -> tuple[list[int], list[int]]:
    """From the channels of a squeezed ``[y; x]``, block by block, to those of squeezed y, then x; and the way back."""
    width = first + second
    there = [block * width + channel for block in range(blocks) for channel in range(first)]
    there += [block * width + channel for block in range(blocks) for channel in range(first, width)]
    return there, sorted(range(len(there)), key=there.__getitem__)
