"""The lines of a verdict on pixels: each names its test, its figure, what was wanted and what to do next."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = [
    "LEVELS",
    "Finding",
    "accuracy_finding",
    "bias_finding",
    "coverage_finding",
    "graded",
    "misfit_finding",
    "outlier_finding",
    "plus_minus",
    "rank_finding",
    "spread_finding",
    "undecided",
]

LEVELS = ("trust", "caution", "do not trust")


@dataclass(frozen=True)
class Finding:
    """One test: its level, its name, and its figure, threshold and, where it failed, next step in a sentence."""

    level: str
    test: str
    text: str


def graded(miss: float, error: float, tight: float, loose: float) -> str:
    """Level of a figure that misses its ideal by `miss`, give or take two standard errors."""
    slack = 0.0 if math.isnan(error) else 2 * error
    excess = miss - slack
    if not excess <= loose:
        return LEVELS[2]
    return LEVELS[1] if excess > tight or slack > loose else LEVELS[0]


def undecided(error: float, loose: float) -> str:
    """A sentence where two standard errors are wider than the fatal miss, else nothing."""
    if not math.isnan(error) and 2 * error > loose:
        return " The standard error is too large to decide; next: diagnose with more simulations."
    return ""


def coverage_finding(
    name: str,
    metrics: Mapping[str, float],
    errors: Mapping[str, float],
    key: str,
    wanted: float,
    tight: float,
    loose: float,
) -> Finding | None:
    """Coverage of the intervals of the pixels, or of those in a region."""
    value, error = metrics.get(key, math.nan), errors.get(key, math.nan)
    if math.isnan(value):
        return None
    grade = graded(abs(value - wanted), error, tight, loose)
    text = (
        f"they hold the target in {value:.1%}{plus_minus(error, 100, '%')} of pixels, nominal {wanted:.1%}; "
        f"wanted within {100 * tight:.0f} points."
    )
    if grade != LEVELS[0] and value < wanted - tight:
        text += " Intervals are too narrow; next: raise the temperature on validation pairs, or train longer."
    elif grade != LEVELS[0] and value > wanted + tight:
        text += " Intervals are too wide; next: lower the temperature, or train longer."
    return Finding(grade, f"Coverage of {name}", text + undecided(error, loose))


def spread_finding(metrics: Mapping[str, float], errors: Mapping[str, float]) -> Finding | None:
    """Predicted spread over error, in the worst of the upper spread bins."""
    bins = [key for key in (f"spread_ratio_bin_{number}" for number in range(2, 100)) if key in metrics]
    bins = [key for key in bins if not math.isnan(metrics[key])]
    if not bins:
        return None

    def excess(key: str) -> float:
        slack = errors.get(key, math.nan)
        return abs(metrics[key] - 1) - (0.0 if math.isnan(slack) else 2 * slack)

    worst = max(bins, key=excess)
    value, error = metrics[worst], errors.get(worst, math.nan)
    grade = graded(abs(value - 1), error, 0.15, 0.30)
    text = (
        f"predicted spread over true error is {value:.2f}{plus_minus(error, 1, '')} in the worst of the upper "
        f"{len(bins)} spread bins (bin {worst.rsplit('_', 1)[1]}); wanted 0.85 to 1.15."
    )
    if grade != LEVELS[0]:
        side = "small" if value < 1 else "large"
        text += f" The standard deviation is too {side} there; next: choose the temperature anew, or train longer."
    return Finding(grade, "Spread against error", text + undecided(error, 0.30))


def rank_finding(metrics: Mapping[str, float], errors: Mapping[str, float]) -> Finding | None:
    """Flatness of the rank histogram of the pixels."""
    value, error = metrics.get("rank_deviation", math.nan), errors.get("rank_deviation", math.nan)
    if math.isnan(value):
        return None
    grade = graded(value, error, 0.25, 0.50)
    shape = "not flat" if grade != LEVELS[0] else "flat" if value <= 0.25 else "flat within its standard error"
    text = f"the histogram is {shape}: its worst bin is off by {value:.0%} of a uniform one; wanted at most 25 %."
    if grade != LEVELS[0]:
        text += " High ends mean intervals too narrow, a high middle too wide, a slope a bias; see the histogram."
    return Finding(grade, "Ranks", text + undecided(error, 0.50))


def bias_finding(metrics: Mapping[str, float], errors: Mapping[str, float]) -> Finding | None:
    """Whether targets lie in the middle of their samples on average."""
    value, error = metrics.get("rank_bias", math.nan), errors.get("rank_bias", math.nan)
    if math.isnan(value):
        return None
    grade = graded(abs(value), error, 0.02, 0.10)
    text = (
        f"the mean rank of the targets is off the middle by {value:+.3f}{plus_minus(error, 1, '')} of the range; "
        "wanted within 0.02 (a shift of 0.07 standard deviations)."
    )
    if grade != LEVELS[0]:
        side = "high" if value < 0 else "low"
        text += f" Samples are too {side} on the whole; next: train longer, with more simulations."
    return Finding(grade, "Bias", text + undecided(error, 0.10))


def misfit_finding(metrics: Mapping[str, float], errors: Mapping[str, float]) -> Finding | None:
    """Whether samples fit the data as well as the targets do."""
    value, left = metrics.get("chi2_refined", math.nan), metrics.get("misfit_left", math.nan)
    if left > 0.25:
        text = (
            f"samples miss the data by {left:.0%} of what images unrelated to the data do; wanted at most 25 %. The "
            "posterior hardly uses the data; next: check the summary and the operator, then train longer."
        )
        return Finding(LEVELS[2], "Data misfit", text)
    if not math.isnan(value):
        grade = graded(max(0.85 - value, value - 1.3), math.nan, 0.0, 0.0)
        if grade == LEVELS[2] and 0.7 <= value <= 2:
            grade = LEVELS[1]
        text = f"chi-square per datum of refined samples is {value:.2f}; wanted 0.85 to 1.3 (1 fits the noise)."
        if grade != LEVELS[0]:
            text += " Next: refine with more steps, and check the noise level and the operator."
        return Finding(grade, "Data misfit", text)
    value, ratio = metrics.get("chi2_raw", math.nan), metrics.get("chi2_ratio", math.nan)
    if math.isnan(value):
        return None
    ratio = value if math.isnan(ratio) else ratio
    slack = 2 * errors.get("chi2_ratio", 0.0)
    good = 0.85 - slack <= ratio <= 1.3 + slack
    text = (
        f"chi-square per datum of samples is {value:.2f}, {ratio:.2f} times that of the targets"
        f"{plus_minus(errors.get('chi2_ratio', math.nan), 1, '')}; wanted 0.85 to 1.3 times."
    )
    if not good:
        text += " The samples do not reproduce the data to the noise; next: sample with refine=8, and train longer."
    grade = LEVELS[0] if good else LEVELS[2] if ratio > 10 + slack else LEVELS[1]  # 10 is three times the noise
    return Finding(grade, "Data misfit", text)


def outlier_finding(metrics: Mapping[str, float], truth_range: float | None) -> Finding | None:
    """Whether some samples explode."""
    value = metrics.get("max_abs_sample", math.nan)
    if math.isnan(value) or not truth_range:
        return None
    ratio = value / truth_range
    grade = LEVELS[0] if ratio <= 2 else LEVELS[1] if ratio <= 5 else LEVELS[2]
    text = f"the largest magnitude of any sample is {value:.3g}, {ratio:.1f} times that of any image; wanted at most 2."
    if grade != LEVELS[0]:
        text += " Some samples explode; next: train longer, or with more noise on the images."
    return Finding(grade, "Outliers", text)


def accuracy_finding(metrics: Mapping[str, float]) -> Finding | None:
    """Whether the posterior mean beats the classical reconstruction.

    No estimate has a smaller expected squared error than the mean of the true posterior: what loses to a classical one
    by more than a decibel is not it.
    """
    mean, baseline = metrics.get("psnr_posterior_mean", math.nan), metrics.get("psnr_baseline", math.nan)
    if math.isnan(mean) or math.isnan(baseline):
        return None
    grade = graded(max(baseline - mean, 0.0), math.nan, 0.0, 1.0)
    text = f"the posterior mean has {mean:.1f} dB PSNR, the classical reconstruction {baseline:.1f} dB; wanted above."
    if grade != LEVELS[0]:
        text += " Training has not paid yet; next: train longer, with more simulations."
    return Finding(grade, "Accuracy", text)


def plus_minus(error: float, scale: float, unit: str) -> str:
    """A standard error in brackets, nothing where it is unknown."""
    return "" if math.isnan(error) else f" (± {scale * error:.2g}{unit})"
