"""Sentences of the report: what the second input says, and how far its intervals fall short."""

from __future__ import annotations

import math

from bayesinv.inference.checks import Checks
from bayesinv.inference.gate import LEVEL
from bayesinv.inference.samples import Samples

__all__ = ["familiarity", "is_shifted", "shortfall"]

_DENSITY = "heldout_nats_per_dim"


def familiarity(samples: Samples) -> dict[str, str] | None:
    """Whether the data of the samples are like the simulated ones, a level and a sentence; None without a gate."""
    p_values = samples.provenance.get("gate_p_value")
    if not p_values:
        return None
    p = float(p_values[0])
    says = f"p = {p:.2g}; the gate stops 1 % of data like the simulated ones"
    if p < LEVEL:
        text = f"The observed data are unlike the simulated ones ({says}): the calibration below is not theirs."
        return {"level": "do-not-trust", "text": text}
    return {"level": "trust", "text": f"The observed data are like the simulated ones ({says})."}


def is_shifted(second: Checks, first: Checks) -> bool:
    """Whether the second input is out of distribution for the posterior.

    It is if its intervals cover less than those of the first by more than .02 and two standard errors, or if the data
    misfit of raw samples or the negative log density of the images is larger by more than three standard errors of the
    difference and, for the misfit, by more than a quarter.
    """
    key = _coverage_key(first)
    drop = first.metrics[key] - second.metrics[key]
    if drop > 0.02 + 2 * _error(key, first, second):
        return True
    if second.metrics[_DENSITY] - first.metrics[_DENSITY] > 3 * _error(_DENSITY, first, second):
        return True
    misfit = second.metrics["chi2_raw"] - first.metrics["chi2_raw"]
    return misfit > max(0.25 * first.metrics["chi2_raw"], 3 * _error("chi2_raw", first, second))


def shortfall(second: Checks, first: Checks) -> list[str]:
    """In words: is the second input out of distribution, and by how much do its intervals fall short."""
    key = _coverage_key(first)
    nominal, found, held = second.metrics["coverage_nominal"], second.metrics[key], first.metrics[key]
    name = str(second.provenance.get("name", "the second input"))
    lines = []
    if is_shifted(second, first):
        lines.append(
            f"This input, {name}, is out of distribution: it differs from what the posterior was trained on, and the "
            "calibration on held-out simulations does not carry over to it."
        )
    else:
        lines.append(f"This input, {name}, behaves like the held-out simulations: no sign of a shift.")
    gap = nominal - found
    error = second.errors.get(key, math.nan)
    margin = "" if math.isnan(error) else f" ± {error:.3f}"
    if gap > 0.02:
        verb = f"they fall short by {gap:.2f}. Read every interval as narrower than it claims."
    elif gap < -0.02:
        verb = f"they are wider than they claim by {-gap:.2f}."
    else:
        verb = "they hold what they claim."
    lines.append(
        f"Intervals of nominal level {nominal:.2f} hold the target in {found:.3f}{margin} of the pixels (held-out "
        f"simulations: {held:.3f}): {verb}"
    )
    for region in _regions(second, key):
        inside = second.metrics[region]
        if not math.isnan(inside):
            where = region.removeprefix(f"{key}_")
            lines.append(f"Inside {where}: {inside:.3f}, {_short(nominal - inside)}.")
    raw, before = second.metrics["chi2_raw"], first.metrics["chi2_raw"]
    misfit = f"Samples miss the data with a chi-square per datum of {raw:.2f} (held-out simulations: {before:.2f})"
    refined = second.metrics.get("chi2_refined", math.nan)
    lines.append(misfit + ("." if math.isnan(refined) else f", after refinement {refined:.2f}; 1 fits the noise."))
    gain = second.metrics["psnr_posterior_mean"] - second.metrics["psnr_baseline"]
    side = "above" if gain >= 0 else "below"
    line = f"The posterior mean is {abs(gain):.1f} dB PSNR {side} the classical reconstruction"
    if "psnr_refined" in second.metrics:
        better = second.metrics["psnr_refined"] - second.metrics["psnr_baseline"]
        line += f", the mean of refined samples {better:+.1f} dB"
    lines.append(line + ".")
    return lines


def _short(gap: float) -> str:
    return f"short by {gap:.2f}" if gap > 0 else f"above nominal by {-gap:.2f}"


def _coverage_key(checks: Checks) -> str:
    return f"coverage_{round(100 * float(checks.provenance.get('level', 0.9)))}"


def _regions(checks: Checks, key: str) -> list[str]:
    return [name for name in checks.metrics if name.startswith(f"{key}_") and not name.endswith("_predicted")]


def _error(name: str, *both: Checks) -> float:
    squares = [checks.errors.get(name, 0.0) ** 2 for checks in both]
    return math.sqrt(sum(square for square in squares if not math.isnan(square)))
