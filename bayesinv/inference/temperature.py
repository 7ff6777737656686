r"""The temperature: the latent standard deviation at which validation pairs are best covered.

A flow trained by maximum likelihood on a finite budget is somewhat over-confident where the data say little. The
latent is scaled by the ``T`` of least worst miss among: coverage of the 90 % interval over all pixels (in units of
0.02) and in each region of the posterior mean (0.03), and the ratio of error to spread in the upper four of five spread
bins (0.15). Vectors have too few numbers for that, and small images can have a density that is followed closely: theirs
is the ``T`` of largest likelihood of the validation pairs, ``T^2 = mean z^2``, which is known to half a percent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from bayesinv.inference.accuracy import spread_bins
from bayesinv.inference.architecture import is_small
from bayesinv.inference.calibration import coverage, ranks
from bayesinv.inference.posterior import Posterior
from bayesinv.seeding import normal, stream

__all__ = ["choose_temperature"]

_SAMPLES = 19  # the least number of which the 90 % interval by ranks is exact
_PAIRS = 60
_START = 1.04  # most are over-confident by a little
_GRID = (0.9, 0.93, 0.96, 0.98, 1.0, 1.02, 1.04, 1.06, 1.08, 1.1, 1.13, 1.16, 1.2)


def choose_temperature(
    posterior: Posterior,
    x: Tensor,
    c: Tensor,
    *,
    seed: int,
    regions: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
    advance: Callable[[int], None] | None = None,
) -> float:
    """Sets nothing; returns the temperature for validation images ``x`` with scaled summaries ``c``.

    Of large images the first 60 are used: a coarse walk over the grid, from 1.04 to the better side, with the same
    latents throughout.
    """
    by_likelihood = x.ndim == 2 or is_small(tuple(x.shape[1:]))
    if not by_likelihood:
        x, c = x[:_PAIRS], c[:_PAIRS]
    noise = posterior.target_noise
    key = stream("target noise")
    target = torch.stack([image + noise * normal(image.shape, seed, key, i) for i, image in enumerate(x.cpu())])
    if by_likelihood:
        return _likeliest(posterior, target.to(x), c)
    regions = dict(regions or {})
    misses: dict[float, float] = {}

    def miss(temperature: float) -> float:
        if temperature not in misses:
            misses[temperature] = _miss(posterior, x, target, c, temperature, seed, regions)
            if advance is not None:
                advance(1)
        return misses[temperature]

    at = _GRID.index(_START)
    step = 1 if miss(_GRID[at + 1]) < miss(_GRID[at]) else -1
    while 0 <= at + step < len(_GRID) and miss(_GRID[at + step]) < miss(_GRID[at]):
        at += step
    return _GRID[at]


@torch.no_grad()
def _likeliest(posterior: Posterior, x: Tensor, c: Tensor) -> float:
    """``T`` from ``log q_T = a - d log T - |z|^2 / (2 T^2)`` at two temperatures, held between the ends of the grid."""
    dimension, u = x[0].numel(), posterior.standardised(x.to(posterior.image_mean))
    condition = posterior.summary_network(c)
    one, two = (float(posterior.flow.log_prob(u, condition, temperature=t).double().mean()) for t in (1.0, 2.0))
    squares = (dimension * math.log(2) - one + two) * 8 / 3
    return min(max(math.sqrt(max(squares, 0.0) / dimension), _GRID[0]), _GRID[-1])


def _miss(
    posterior: Posterior,
    x: Tensor,
    target: Tensor,
    c: Tensor,
    temperature: float,
    seed: int,
    regions: Mapping[str, Callable[[Tensor], Tensor]],
) -> float:
    means, spreads, rank = [], [], []
    with torch.no_grad():
        for i in range(len(x)):
            condition = posterior.summary_network(c[i : i + 1])
            drawn = posterior.flow.sample(_SAMPLES, condition, seed=seed + i, temperature=temperature)[:, 0]
            values = posterior.restored(drawn).cpu().numpy()
            means.append(values.mean(0))
            spreads.append([values[part::2].std(0, ddof=1) for part in (0, 1)])
            rank.append(ranks(target[i].numpy(), values))
    mean, (spread, order), ranked = np.stack(means), np.stack(spreads, 1), np.stack(rank)
    whole = coverage(ranked, _SAMPLES)
    figures = [abs(whole.value - whole.nominal) / 0.02]
    for inside in regions.values():
        for image in (torch.from_numpy(mean), x.cpu()):
            part = coverage(ranked, _SAMPLES, where=inside(image).numpy())
            figures.append(abs(part.value - part.nominal) / 0.03)
    bins = spread_bins(target.numpy(), mean, spread, _SAMPLES, by=order)
    figures += [abs(float(ratio) - 1) / 0.15 for ratio in bins.ratio[1:]]
    return float(max(figures))
