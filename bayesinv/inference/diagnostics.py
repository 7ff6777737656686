r"""Diagnose a posterior on held-out simulations: ranks, coverage, contraction, error against spread, data misfit.

For each pair ``(x, y)`` of the problem the posterior draws S samples given ``y``. The target of ranks and coverage is
``x + target_noise * e`` with keyed normal ``e``, where ``target_noise`` is the noise that the images bore in training:
the law that the posterior has learnt. Accuracies are against the clean ``x``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bayesinv.inference.calibration import interval_ranks, ranks
from bayesinv.inference.checks import Checks
from bayesinv.inference.samples import Samples
from bayesinv.inference.scores import label_images, score
from bayesinv.inference.verdict import judge
from bayesinv.seeding import generator, normal, stream

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["diagnose"]

Array: TypeAlias = NDArray[Any]


class _Conditioned(Protocol):
    def sample(self, n: int, *, seed: int, refine: int = 0) -> Samples: ...
    def log_prob(self, x: Tensor) -> Tensor: ...


class _Posterior(Protocol):
    @property
    def target_noise(self) -> float: ...
    def __call__(self, y: Tensor, sigma: Tensor | None = None) -> _Conditioned: ...
    def baseline(self, y: Tensor) -> Tensor: ...


class _Problem(Protocol):
    @property
    def forward(self) -> Any: ...
    @property
    def regions(self) -> Mapping[str, Callable[[Tensor], Tensor]]: ...
    def sample(self, n: int, seed: int) -> tuple[Tensor, Tensor, Tensor]: ...


def diagnose(
    posterior: _Posterior,
    problem: _Problem,
    *,
    simulations: int = 100,
    samples: int = 99,
    level: float = 0.9,
    seed: int = 1,
    refine: int = 0,
    refine_samples: int = 32,
    pairs: tuple[Tensor, Tensor, Tensor] | None = None,
    peak: float | None = 1.0,
    examples: int = 4,
    name: str = "held-out simulations",
    progress: Callable[[int, int], None] | None = None,
) -> Checks:
    """Check a posterior against pairs that it was not trained on.

    Coverage inside a region is counted twice: ``coverage_90_NAME`` where the *true* image lies in it, which even an
    exact posterior need not meet (the pixels are chosen by what the data do not tell), and
    ``coverage_90_NAME_predicted`` where the *posterior mean* lies in it, which is nominal for an exact posterior; the
    verdict rests on the latter.

    Args:
        posterior: the posterior to check.
        problem: simulator of the pairs; its regions get a coverage of their own.
        simulations: number of pairs to simulate.
        samples: samples per observation; 99 makes the 90 % interval by ranks exact.
        level: level of the intervals.
        seed: of the pairs and the samples; choose another than in training.
        refine: data-consistency steps of the refined figures (0: none are made).
        refine_samples: refined samples per observation.
        pairs: ``(x, y, sigma)`` to check instead of simulated pairs, such as real or shifted ones.
        peak: peak value of the PSNR; ``None`` takes the range of each image.
        examples: number of observations whose images are kept.
        name: what the pairs are, for the report, such as ``"retinal vessels, simulated data"``.
        progress: called with the number of observations done and of all.

    Returns:
        The checks. Every number depends on `seed` and the observation only, not on any batch size.

    Raises:
        ValueError: if there are fewer than two pairs, or fewer than four samples.
    """
    began = time.perf_counter()
    x, y, sigma = problem.sample(simulations, seed) if pairs is None else pairs
    if len(x) < 2 or not len(x) == len(y) == len(sigma):
        raise ValueError(f"expected 2 or more pairs, as many x as y and sigma, got {len(x)}, {len(y)}, {len(sigma)}")
    if samples < 4:
        raise ValueError(f"expected at least 4 samples, got {samples}")
    noise = float(posterior.target_noise)
    target = np.stack([_target(image, noise, seed, index) for index, image in enumerate(x)])
    rows = []
    for index in range(len(x)):
        pair = (y[index : index + 1], sigma[index : index + 1])
        own = int(generator(seed, stream("diagnose"), index).integers(2**31))
        rows.append(_observe(posterior, problem.forward, pair, target[index], samples, own, refine, refine_samples))
        if progress is not None:
            progress(index + 1, len(x))
    drawn = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    clean, regions = x.cpu().numpy(), dict(problem.regions or {})
    scores = score(clean, target, drawn, samples=samples, level=level, peak=peak, regions=regions)
    temperature = getattr(posterior, "temperature", None)
    metrics = scores.metrics | ({} if temperature is None else {"temperature": float(temperature)})
    images = label_images(problem.forward, clean, drawn, samples=samples, level=level, examples=examples)
    dataset = scores.dataset.merge(images)
    dataset["sigma"] = ("observation", sigma.cpu().numpy().reshape(len(x), -1).mean(1))
    nominal = interval_ranks(samples, level)[2]
    verdict = judge(
        metrics,
        scores.errors,
        level=level,
        nominal=nominal,
        regions=list(regions),
        truth_range=float(np.abs(clean).max()),
    )
    provenance = {
        "name": name,
        "pairs": "simulated" if pairs is None else "given",
        "observations": len(x),
        "samples": samples,
        "level": level,
        "seed": seed,
        "refine": refine,
        "refine_samples": refine_samples if refine else 0,
        "target_noise": noise,
        "seconds": round(time.perf_counter() - began, 2),
    }
    return Checks(dataset, metrics, verdict, scores.errors, provenance)


def _target(image: Tensor, noise: float, seed: int, index: int) -> Array:
    clean = image.cpu().numpy()
    if noise == 0:
        return np.asarray(clean)
    return np.asarray(clean + noise * normal(clean.shape, seed, stream("target noise"), index).numpy())


def _observe(
    posterior: _Posterior,
    forward: Any,
    pair: tuple[Tensor, Tensor],
    target: Array,
    samples: int,
    seed: int,
    refine: int,
    refine_samples: int,
) -> dict[str, Array]:
    """What is kept of the samples of one observation: its own seed, little memory."""
    import torch

    y, sigma = pair
    with torch.no_grad():
        conditioned = posterior(y, sigma)
        values = _numbers(conditioned.sample(samples, seed=seed))
        log_prob = conditioned.log_prob(torch.from_numpy(target)[None].to(y.device))
        kept = {
            "rank": ranks(target, values),
            "mean": values.mean(0),
            "std": values.std(0, ddof=1),
            "std_even": values[::2].std(0, ddof=1),
            "std_odd": values[1::2].std(0, ddof=1),
            "sample": values[0],
            "max_abs_sample": np.abs(values).max(),
            "chi2_raw": _misfit(forward, values[:refine_samples], y, sigma),
            "baseline": posterior.baseline(y)[0].cpu().numpy(),
            "heldout_nats_per_dim": -log_prob.cpu().numpy()[0] / target.size,
        }
        if refine:
            refined = _numbers(conditioned.sample(refine_samples, seed=seed, refine=refine))
            kept |= {"refined": refined.mean(0), "chi2_refined": _misfit(forward, refined, y, sigma)}
    return kept


def _numbers(samples: Samples) -> Array:
    return np.asarray(samples.observation(0).values.to_numpy())


def _misfit(forward: Any, values: Array, y: Tensor, sigma: Tensor) -> Array:
    """Chi-square per datum, ``||y - A x||^2 / (sigma^2 n)``, averaged over samples."""
    import torch

    residual = forward.operator(torch.from_numpy(values).to(device=y.device, dtype=y.real.dtype)) - y
    return np.asarray((residual.abs() ** 2).mean().cpu().numpy() / sigma.cpu().numpy().mean() ** 2)
