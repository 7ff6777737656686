"""`first_look`: the pairs from which the linear path of small images is set before a training on fresh ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from bayesinv.flows import UNet
from bayesinv.inference.bank import Bank, derived_seed, simulate_bank

if TYPE_CHECKING:
    from bayesinv.inference.plan import Plan
    from bayesinv.inference.posterior import Posterior
    from bayesinv.inference.problem import Problem

__all__ = ["first_look", "first_look_size"]

_MOST = 2**17


def first_look_size(posterior: Posterior, plan: Plan, axes: Sequence[int]) -> int:
    """How many: two thirds of the training's pairs, fewer where mirror images come on top; 0 without such a path."""
    network = posterior.summary_network
    if not isinstance(network, UNet) or network.regression is None:
        return 0
    count = min(_MOST, 2 * _MOST >> len(axes), plan.steps * plan.batch_size * 2 // 3)
    return count if count >= plan.validation else 0


def first_look(
    problem: Problem,
    posterior: Posterior,
    count: int,
    axes: Sequence[int],
    *,
    seed: int,
    advance: Callable[[int], None],
) -> Bank:
    """``count`` pairs, and their mirror images along the axes along which a pair may be reversed."""
    found = simulate_bank(
        problem, posterior.summary, count, derived_seed(seed, "first look"),
        fiducial=posterior.fiducial, affine=posterior.affine, keep_data=False, advance=advance,
    )  # fmt: skip
    x, c = found.x, found.c
    for axis in axes:
        x, c = torch.cat([x, x.flip(axis)]), torch.cat([c, c.flip(axis)])
    return Bank(x, found.y, found.sigma, c)
