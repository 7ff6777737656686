"""The figures of a diagnosis: from what was kept of each observation's samples to metrics and labelled arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayesinv.inference.accuracy import error_spread_correlation, psnr, snr, spread_bins
from bayesinv.inference.calibration import (
    contraction,
    coverage,
    coverage_by_region,
    coverage_curve,
    interval_ranks,
    rank_histogram,
)
from bayesinv.inference.ecdf import ecdf_difference
from bayesinv.inference.gate import LEVEL
from bayesinv.inference.importance import khat_limit
from bayesinv.inference.samples import labelled

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Scores", "label_images", "model_axes", "score", "score_misfit", "score_ranks", "score_weights"]

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class Scores:
    """Metrics, their standard errors over observations, and the labelled arrays behind them."""

    metrics: dict[str, float]
    errors: dict[str, float]
    dataset: xr.Dataset

    def joined(self, other: Scores) -> Scores:
        """Both together."""
        return Scores(self.metrics | other.metrics, self.errors | other.errors, self.dataset.merge(other.dataset))


def score(
    x: Array,
    target: Array,
    drawn: Mapping[str, Array],
    *,
    samples: int,
    level: float = 0.9,
    peak: float | None = 1.0,
    regions: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
) -> Scores:
    """All figures of a diagnosis.

    Args:
        x: clean images, ``(N, channels, *space)``.
        target: images with the noise of training, same shape.
        drawn: per observation, stacked: ``rank``, ``mean``, ``std``, ``std_even``, ``std_odd`` (of every second
            sample), ``baseline``, ``refined`` (images), ``chi2_raw``, ``chi2_refined``,
            ``heldout_nats_per_dim``, ``max_abs_sample`` (numbers). Baseline and refined ones may be absent.
        samples: number of samples behind ``rank``, ``mean`` and ``std``.
        level: level of the intervals.
        peak: peak value of the PSNR; ``None`` takes the range of each image.
        regions: name -> membership of each pixel.
    """
    per = _per_observation(x, drawn, peak)
    metrics = {name: float(values.mean()) for name, values in per.items()}
    errors = {name: float(values.std(ddof=1) / math.sqrt(len(x))) for name, values in per.items()}
    per["max_abs_sample"] = drawn["max_abs_sample"]
    metrics["max_abs_sample"] = float(drawn["max_abs_sample"].max())
    metrics["error_spread_correlation"] = error_spread_correlation(x, drawn["mean"], drawn["std"])
    prior = x.var(0, ddof=1)
    metrics["contraction"] = float(1 - (drawn["std"] ** 2).mean() / prior.mean()) if prior.mean() > 0 else math.nan
    arrays: dict[str, tuple[str, Array]] = {}

    key = f"coverage_{round(100 * level)}"
    overall = coverage(drawn["rank"], samples, level=level)
    per["coverage"] = overall.per_observation
    found = {key: overall}
    for suffix, image in (("", x), ("_predicted", drawn["mean"])):
        inside = coverage_by_region(drawn["rank"], samples, _masks(regions or {}, image), level=level)
        found |= {f"{key}_{name}{suffix}": value for name, value in inside.items()}
    metrics |= {name: value.value for name, value in found.items()}
    errors |= {name: value.standard_error for name, value in found.items()}
    metrics["coverage_nominal"] = overall.nominal
    nominal, covered, covered_error = coverage_curve(drawn["rank"], samples)
    arrays |= {"curve_found": ("curve_nominal", covered), "curve_error": ("curve_nominal", covered_error)}

    bins = spread_bins(target, drawn["mean"], drawn["std_odd"], samples, by=drawn["std_even"])
    for number, (ratio, error) in enumerate(zip(bins.ratio, bins.standard_error, strict=True), start=1):
        metrics[f"spread_ratio_bin_{number}"], errors[f"spread_ratio_bin_{number}"] = float(ratio), float(error)
    arrays |= {"spread": ("spread_bin", bins.spread), "error": ("spread_bin", bins.error)}
    arrays |= {"spread_ratio": ("spread_bin", bins.ratio), "spread_ratio_error": ("spread_bin", bins.standard_error)}

    coarse = rank_histogram(drawn["rank"], samples, bins=10)
    worst = int(np.argmax(np.abs(coarse.density - 1)))
    metrics["rank_deviation"] = float(abs(coarse.density[worst] - 1))
    errors["rank_deviation"] = float(coarse.standard_error[worst])
    centre = (drawn["rank"].reshape(len(x), -1).mean(1) + 0.5) / (samples + 1) - 0.5
    metrics["rank_bias"] = float(centre.mean())
    errors["rank_bias"] = float(centre.std(ddof=1) / math.sqrt(len(x)))
    fine = rank_histogram(drawn["rank"], samples)
    arrays |= {"rank_density": ("rank_bin", fine.density), "rank_error": ("rank_bin", fine.standard_error)}
    arrays |= {"rank_band": ("rank_bin", fine.band), "rank_edges": ("rank_edge", fine.edges)}

    arrays |= {name: ("observation", values) for name, values in per.items()}
    dataset = xr.Dataset(arrays, coords={"curve_nominal": nominal, "spread_bin": np.arange(1, len(bins.ratio) + 1)})
    return Scores(metrics, errors, dataset)


def _per_observation(x: Array, drawn: Mapping[str, Array], peak: float | None) -> dict[str, Array]:
    per: dict[str, Array] = {}
    for name, stored in (("posterior_mean", "mean"), ("baseline", "baseline"), ("refined", "refined")):
        if stored in drawn:
            per[f"psnr_{name}"] = psnr(x, drawn[stored], peak=peak)
            per[f"snr_{name}"] = snr(x, drawn[stored])
    return per | {name: drawn[name] for name in ("chi2_raw", "chi2_refined", "heldout_nats_per_dim") if name in drawn}


def score_ranks(table: Mapping[str, Array], samples: int, *, level: float = 0.9) -> Scores:
    """Coverage and uniformity of the ranks ``(N, q)`` of each functional.

    Metrics: ``functional_coverage_NAME``, ``functional_deviation_NAME`` (largest difference of the ECDF from uniform)
    and ``functional_p_NAME``. Standard errors of a coverage count observations; they are not smaller than those of
    independent trials at the nominal level.
    """
    metrics, errors, curves = {}, {}, []
    for name, rank in table.items():
        found, curve = coverage(rank, samples, level=level), ecdf_difference(rank, samples)
        least = math.sqrt(found.nominal * (1 - found.nominal) / rank.size)
        metrics[f"functional_coverage_{name}"] = found.value
        errors[f"functional_coverage_{name}"] = max(found.standard_error, least)
        metrics[f"functional_deviation_{name}"] = curve.largest
        metrics[f"functional_p_{name}"] = curve.p_value
        curves.append(curve)
    dataset = xr.Dataset(
        {
            "functional_ecdf": (("functional", "rank_point"), np.stack([curve.difference for curve in curves])),
            "functional_band": (("functional", "rank_point"), np.stack([curve.band for curve in curves])),
        },
        coords={"functional": list(table), "rank_point": curves[0].points},
    )
    return Scores(metrics, errors, dataset)


def score_misfit(drawn: Mapping[str, Array]) -> Scores:
    """Data misfit of samples over that of targets, ``chi2_ratio`` (1 if exact), and ``misfit_left``.

    ``misfit_left = (chi2 of samples - of targets) / (chi2 of other images - of targets)``: 0 if samples know the data
    as the targets do, 1 if they ignore them.
    """
    raw, target, prior = (np.asarray(drawn[name], float) for name in ("chi2_raw", "chi2_target", "chi2_prior"))
    ratio = raw.sum() / target.sum()
    error = math.sqrt(len(raw) * (raw - ratio * target).var(ddof=1)) / target.sum()
    room = (prior - target).sum()
    metrics = {"chi2_target": float(target.mean()), "chi2_ratio": float(ratio)}
    metrics["misfit_left"] = float((raw - target).sum() / room) if room > 0 else math.nan
    dataset = xr.Dataset({"chi2_target": ("observation", target), "chi2_prior": ("observation", prior)})
    return Scores(metrics, {"chi2_ratio": float(error)}, dataset)


def score_weights(drawn: Mapping[str, Array], samples: int) -> Scores:
    """Of importance weights ``khat`` (median), ``khat_limit`` and ``ess_share``; of the gate ``gate_stopped``.

    ``gate_stopped`` is the share of observations with a p-value below 1 %. Either is absent where it was not made.
    """
    metrics: dict[str, float] = {}
    errors: dict[str, float] = {}
    kept = {name: np.asarray(drawn[name], float) for name in ("khat", "ess_share", "gate_p_value") if name in drawn}
    if "khat" in kept:
        metrics |= {"khat": float(np.median(kept["khat"])), "khat_limit": khat_limit(samples)}
        metrics["ess_share"] = float(kept["ess_share"].mean())
        errors["ess_share"] = float(kept["ess_share"].std(ddof=1) / math.sqrt(len(kept["ess_share"])))
    if "gate_p_value" in kept:
        stopped = kept["gate_p_value"] < LEVEL
        metrics["gate_stopped"] = float(stopped.mean())
        errors["gate_stopped"] = math.sqrt(LEVEL * (1 - LEVEL) * (1 / len(stopped) + 1 / 200))
    return Scores(metrics, errors, xr.Dataset({name: ("observation", value) for name, value in kept.items()}))


def _masks(regions: Mapping[str, Callable[[Tensor], Tensor]], image: Array) -> dict[str, Array]:
    import torch

    return {name: member(torch.from_numpy(image)).numpy() for name, member in regions.items()}


def label_images(
    forward: Any, x: Array, drawn: Mapping[str, Array], *, samples: int, level: float = 0.9, examples: int = 4
) -> xr.Dataset:
    """Maps over pixels (coverage, contraction) and the images of the first `examples` observations, labelled."""
    axes = model_axes(forward, x.shape[1:])
    quantity, unit = getattr(forward, "quantity", "x"), getattr(forward, "unit", "1")
    first, last, _ = interval_ranks(samples, level)
    inside = ((drawn["rank"] >= first) & (drawn["rank"] <= last)).mean(0)
    learnt = contraction(np.sqrt((drawn["std"] ** 2).mean(0)), x.var(0, ddof=1))
    maps = {
        "coverage_map": labelled(inside, axes, quantity=f"coverage of the {level:.0%} interval"),
        "contraction_map": labelled(learnt, axes, quantity="contraction"),
    }
    for name in ("truth", "mean", "std", "baseline", "refined", "sample"):
        values = x if name == "truth" else drawn.get(name)
        if values is None:
            continue
        maps[f"example_{name}"] = labelled(values[:examples], axes, leading=("example",), quantity=quantity, unit=unit)
    return xr.Dataset(maps)


def model_axes(forward: Any, shape: Sequence[int]) -> list[Any]:
    """The axes of an image ``(channels, *space)``: the forward model's, or pixels."""
    given = list(getattr(forward, "model_axes", ()) or ())
    if given:
        return given
    names = {1: ["x"], 2: ["z", "x"], 3: ["z", "y", "x"]}.get(len(shape) - 1, [])
    return [
        SimpleNamespace(name=name, unit="pixel", coordinates=np.arange(size))
        for name, size in zip(names, shape[1:], strict=True)
    ]
