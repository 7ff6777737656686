r"""A trained posterior beside the exact one: gap, means, spreads, coverage, covariances, distance; each with its floor.

Over fresh pairs, ``gap = mean [log p(x | y) - log q(x | y)] / d``, paired, in nats per dimension. Over observations
with ``S`` samples each: the rms over pixels of the error of the mean in exact standard deviations, and of the relative
error of the standard deviation; the relative error of the covariance in the Frobenius norm; the sliced Wasserstein
distance (of order 2, over the rms standard deviation) to as many exact samples. Over observations of which each needs
few samples, but which must be many, since the pixels of an image are right or wrong together: the share of true pixels
inside the 90 % interval by ranks. The floor of a figure is what the exact sampler gets for it with as many samples of
the same observations.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bayesinv.inference import Posterior, Problem
from bayesinv.inference.calibration import coverage, ranks
from bayesinv.inference.exact import ExactPosterior
from bayesinv.seeding import generator, stream

__all__ = ["coverage_figures", "gap", "sample_figures"]

Array = NDArray[np.float64]
SEED, DIRECTIONS = 90_001, 100  # of the held-out pairs; of the slices


@torch.no_grad()
def gap(posterior: Posterior, problem: Problem, *, pairs: int) -> tuple[float, float]:
    """The paired gap in nats per dimension, and its standard error."""
    exact = ExactPosterior(problem.prior, problem.forward)  # type: ignore[arg-type]
    parts = []
    for start in range(0, pairs, 100):
        x, y, sigma = problem.sample(min(100, pairs - start), SEED, start=start)
        parts.append(exact(y, sigma).log_prob(x) - posterior(y, sigma).log_prob(x).double())
    found = torch.cat(parts) / math.prod(problem.forward.model_shape)
    return float(found.mean()), float(found.std()) / math.sqrt(pairs)


@torch.no_grad()
def sample_figures(posterior: Posterior, problem: Problem, *, observations: int, samples: int) -> dict[str, float]:
    """The figures of samples, and ``"... floor"`` beside those that have one."""
    exact = ExactPosterior(problem.prior, problem.forward)  # type: ignore[arg-type]
    _, y, sigma = problem.sample(observations, SEED + 1)
    rows = []
    for i in range(observations):
        known, learnt = exact(y[i : i + 1], sigma[i : i + 1]), posterior(y[i : i + 1], sigma[i : i + 1])
        first, second = (_rows(known.draw(samples, seed=seed)[:, 0]) for seed in (2 * i, 2 * i + 1))
        drawn = learnt.draw(samples, seed=i, batch_size=250)[:, 0]
        law = known.mean().flatten().numpy(), known.covariance()[0].numpy()
        row = _against(_rows(drawn), first, *law, seed=i)
        rows.append(row | {f"{name} floor": value for name, value in _against(second, first, *law, seed=i).items()})
    return {name: float(np.sqrt(np.mean([row[name] for row in rows]))) for name in rows[0]}


@torch.no_grad()
def coverage_figures(
    posterior: Posterior, problem: Problem, *, observations: int, samples: int = 99
) -> dict[str, float]:
    """Coverage of 90 % intervals, its standard error over observations, and that of the exact sampler for the same."""
    exact = ExactPosterior(problem.prior, problem.forward)  # type: ignore[arg-type]
    found: dict[str, float] = {}
    for name, law in {"coverage floor": exact, "coverage": posterior}.items():
        rank = []
        for start in range(0, observations, 20):
            x, y, sigma = problem.sample(min(20, observations - start), SEED + 3, start=start)
            drawn = law(y, sigma).draw(samples, seed=SEED + start)
            rank += [ranks(image.numpy(), drawn[:, i].numpy()) for i, image in enumerate(x)]
        covered = coverage(np.stack(rank), samples)
        found |= {name: covered.value, "coverage error": covered.standard_error}
    return found


def _against(drawn: Array, reference: Array, mean: Array, covariance: Array, *, seed: int) -> dict[str, float]:
    """Squares of the figures of one observation."""
    sd = np.sqrt(covariance.diagonal())
    directions = generator(seed, stream("slices")).standard_normal((len(mean), DIRECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    apart = np.sort(drawn @ directions, 0) - np.sort(reference @ directions, 0)
    return {
        "mean": float((((drawn.mean(0) - mean) / sd) ** 2).mean()),
        "sd": float(((drawn.std(0, ddof=1) / sd - 1) ** 2).mean()),
        "covariance": float(((np.cov(drawn.T) - covariance) ** 2).sum() / (covariance**2).sum()),
        "sliced Wasserstein": float((apart**2).mean() / (sd**2).mean()),
    }


def _rows(images: Tensor) -> Any:
    return images.double().flatten(1).numpy()
