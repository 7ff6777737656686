"""`Bank`: simulated pairs as the training loop needs them, images ``x`` and unscaled summary images ``c``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bayesinv.inference.problem import Problem
from bayesinv.inference.summaries import Summary, summarise
from bayesinv.seeding import generator, stream

if TYPE_CHECKING:
    from bayesinv.inference.posterior import Posterior

__all__ = ["Bank", "derived_seed", "mirrored", "simulate_bank", "simulate_batch"]

_CHUNK = 64


@dataclass(frozen=True)
class Bank:
    """Images ``x (n, channels, *space)``, data ``y``, noise levels ``sigma (n,)``, summaries ``c (n, k, *space)``."""

    x: Tensor
    y: Tensor
    sigma: Tensor
    c: Tensor

    def __len__(self) -> int:
        return len(self.x)


def derived_seed(seed: int, purpose: str) -> int:
    """A seed for a purpose: training, validation and the rest never share a draw."""
    return int(generator(seed, stream(purpose)).integers(2**31))


def simulate_bank(
    problem: Problem,
    summary: Summary,
    n: int,
    seed: int,
    *,
    fiducial: Tensor | None = None,
    affine: Tensor | None = None,
    pairs: tuple[Tensor, Tensor, Tensor] | None = None,
    keep_data: bool = True,
    advance: Callable[[int], None] | None = None,
) -> Bank:
    """Simulates ``n`` pairs, or takes the given ones, and computes their summaries chunk by chunk.

    Args:
        problem: the simulator.
        summary: which summary.
        n: how many pairs.
        seed: of the pairs.
        fiducial: the image at which the summary is computed, if it is at one.
        affine: the map of the summary ``"tikhonov"``.
        pairs: ``(x, y, sigma)`` that were simulated before.
        keep_data: whether ``y`` is kept; training needs only ``x`` and ``c``.
        advance: called with the number of pairs done.
    """
    parts: list[tuple[Tensor, ...]] = []
    for start in range(0, n, _CHUNK):
        count = min(_CHUNK, n - start)
        if pairs is None:
            x, y, sigma = problem.sample(count, seed, start=start)
        else:
            x, y, sigma = (part[start : start + count] for part in pairs)
        c = summarise(summary, problem.forward, y, sigma, fiducial=fiducial, affine=affine)
        parts.append((x, y if keep_data else y[:, :0].clone(), sigma, c))
        if advance is not None:
            advance(count)
    return Bank(*[torch.cat(column) for column in zip(*parts, strict=True)])


def simulate_batch(problem: Problem, posterior: Posterior, n: int, seed: int, *, start: int) -> Bank:
    """Pairs ``start`` to ``start + n`` of the stream of a seed, with the summaries of a posterior."""
    x, y, sigma = problem.sample(n, seed, start=start)
    c = summarise(posterior.summary, problem.forward, y, sigma, fiducial=posterior.fiducial, affine=posterior.affine)
    return Bank(x, y, sigma, c)


def mirrored(x: Tensor, c: Tensor, axes: tuple[int, ...], seed: int, step: int) -> tuple[Tensor, Tensor]:
    """Reverses each pair of a batch along each axis with probability one half, keyed by the step.

    Right only for axes whose reversal commutes with the operator (`ForwardModel.mirror`).
    """
    if not axes:
        return x, c
    coins = generator(seed, stream("mirror"), step).integers(0, 2, (len(axes), len(x))).astype(bool)
    for axis, coin in zip(axes, coins, strict=True):
        chosen = torch.from_numpy(coin).to(x.device).view(-1, *[1] * (x.ndim - 1))
        x, c = torch.where(chosen, x.flip(axis), x), torch.where(chosen, c.flip(axis), c)
    return x, c
