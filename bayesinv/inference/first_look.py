"""`first_look`: the pairs from which the linear path of small images is set before a training on fresh ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bayesinv.flows import UNet
from bayesinv.inference.bank import derived_seed, simulate_batch

if TYPE_CHECKING:
    from bayesinv.inference.plan import Plan
    from bayesinv.inference.posterior import Posterior
    from bayesinv.inference.problem import Problem

__all__ = ["first_look", "first_look_size"]

_MOST = 2**18
_BATCH = 512


def first_look_size(posterior: Posterior, plan: Plan) -> int:
    """How many: twice as many as the training sees, at most 262,144; 0 without such a path."""
    network = posterior.summary_network
    if not isinstance(network, UNet) or network.regression is None:
        return 0
    return min(_MOST, 2 * plan.steps * plan.batch_size)


def first_look(
    problem: Problem,
    posterior: Posterior,
    count: int,
    axes: Sequence[int],
    *,
    seed: int,
    advance: Callable[[int], None],
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches ``(x, c)`` of ``count`` pairs and their mirror images along the axes along which they may be reversed."""
    own = derived_seed(seed, "first look")
    for start in range(0, count, _BATCH):
        found = simulate_batch(problem, posterior, min(_BATCH, count - start), own, start=start)
        x, c = found.x, found.c
        for axis in axes:
            x, c = torch.cat([x, x.flip(axis)]), torch.cat([c, c.flip(axis)])
        yield x, c
        advance(len(found))
