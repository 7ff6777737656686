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

from bayesinv.inference.calibration import interval_ranks
from bayesinv.inference.checks import Checks
from bayesinv.inference.functionals import Functional, standard_functionals
from bayesinv.inference.gate import gate_unheard
from bayesinv.inference.heldout import HeldOut, Observation
from bayesinv.inference.importance import TAIL_SAMPLES, log_importance, weight_quality
from bayesinv.inference.sbc import functional_ranks
from bayesinv.inference.scores import label_images, score, score_misfit, score_ranks, score_weights
from bayesinv.inference.verdict import judge

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["diagnose"]

Array: TypeAlias = NDArray[Any]


class _Posterior(Protocol):
    @property
    def target_noise(self) -> float: ...
    def __call__(self, y: Tensor, sigma: Tensor | None = None) -> Any: ...


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
    pairs: tuple[Any, Any, Any] | None = None,
    peak: float | None = 1.0,
    examples: int = 4,
    functionals: Mapping[str, Functional] | None = None,
    name: str = "held-out simulations",
    progress: Callable[[int, int], None] | None = None,
) -> Checks:
    """Check a posterior against pairs that it was not trained on.

    Coverage inside a region is counted twice: ``coverage_90_NAME`` where the *true* image lies in it, which even an
    exact posterior need not meet (the pixels are chosen by what the data do not tell), and
    ``coverage_90_NAME_predicted`` where the *posterior mean* lies in it, which is nominal for an exact posterior; the
    verdict rests on the latter.

    Args:
        posterior: the posterior to check: called with ``(y, sigma)`` it gives ``sample`` and ``log_prob``. The baseline
            is compared with where it has one.
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
        functionals: from images ``(n, channels, *space)`` to rows ``(n, q)`` whose ranks are judged;
            `bayesinv.inference.functionals.standard_functionals` by default.
        name: what the pairs are, for the report, such as ``"retinal vessels, simulated data"``.
        progress: called with the number of observations done and of all.

    Returns:
        The checks. Every number depends on `seed` and the observation only, not on any batch size.

    Raises:
        ValueError: if there are fewer than two pairs or four samples, or pairs or samples hold NaN or infinity.
    """
    began = time.perf_counter()
    held = HeldOut(posterior, problem, simulations=simulations, samples=samples, seed=seed, pairs=pairs)
    chosen = standard_functionals(held.shape) if functionals is None else dict(functionals)
    rows, ranked = [], []
    for one in held:
        kept, rank = _observe(held, one, chosen, refine, refine_samples, getattr(problem, "prior", None))
        rows.append(kept)
        ranked.append(rank)
        if progress is not None:
            progress(one.index + 1, len(held))
    drawn = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    table = {name: np.stack([row[name] for row in ranked]) for name in ranked[0]}
    clean, target = held.x.cpu().numpy(), np.stack([held.target(index) for index in range(len(held))])
    regions = dict(problem.regions or {})
    scores = score(clean, target, drawn, samples=samples, level=level, peak=peak, regions=regions)
    for more in (score_ranks(table, samples, level=level), score_misfit(drawn), score_weights(drawn, samples)):
        scores = scores.joined(more)
    temperature = getattr(posterior, "temperature", None)
    metrics = scores.metrics | ({} if temperature is None else {"temperature": float(temperature)})
    images = label_images(problem.forward, clean, drawn, samples=samples, level=level, examples=examples)
    dataset = scores.dataset.merge(images)
    dataset["sigma"] = ("observation", held.sigma.cpu().numpy().reshape(len(held), -1).mean(1))
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
        "observations": len(held),
        "samples": samples,
        "level": level,
        "seed": seed,
        "refine": refine,
        "refine_samples": refine_samples if refine else 0,
        "target_noise": held.target_noise,
        "seconds": round(time.perf_counter() - began, 2),
    }
    return Checks(dataset, metrics, verdict, scores.errors, provenance)


def _observe(
    held: HeldOut, one: Observation, functionals: Mapping[str, Functional], refine: int, refine_samples: int, prior: Any
) -> tuple[dict[str, Array], dict[str, Array]]:
    """What is kept of the samples of one observation, and the ranks of its target."""
    import torch

    values = one.values
    with torch.no_grad():
        log_prob = one.conditioned.log_prob(torch.from_numpy(one.target)[None].to(one.y.device))
    rank = functional_ranks(one, functionals)
    other = held.x[(one.index + 1) % len(held)].cpu().numpy()
    kept = {
        "rank": rank["pixels"].reshape(held.shape),
        "mean": values.mean(0),
        "std": values.std(0, ddof=1),
        "std_even": values[::2].std(0, ddof=1),
        "std_odd": values[1::2].std(0, ddof=1),
        "sample": values[0],
        "max_abs_sample": np.abs(values).max(),
        "chi2_raw": one.misfit().mean(),
        "chi2_target": one.misfit_target(),
        "chi2_prior": one.misfit(other[None])[0],
        "heldout_nats_per_dim": -log_prob.cpu().numpy()[0] / one.target.size,
    }
    baseline = getattr(held.posterior, "baseline", None)
    if baseline is not None:
        kept["baseline"] = baseline(one.y)[0].cpu().numpy()
    familiar = one.conditioned.gate_p_value() if hasattr(one.conditioned, "gate_p_value") else None
    if familiar is not None:
        kept["gate_p_value"] = familiar[0]
    if hasattr(prior, "log_prob") and len(values) >= TAIL_SAMPLES:
        images = torch.from_numpy(np.ascontiguousarray(values))
        log_weights = log_importance(one.conditioned, images, prior, one.forward, one.sigma)
        kept["khat"], kept["ess_share"] = weight_quality(log_weights)
    if refine:
        with gate_unheard():
            drawn = one.conditioned.sample(refine_samples, seed=one.seed, refine=refine)
        refined = np.asarray(drawn.observation(0).values.to_numpy())
        kept |= {"refined": refined.mean(0), "chi2_refined": one.misfit(refined).mean()}
    return kept, rank
