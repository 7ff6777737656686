r"""From figures to words: trust, caution or do not trust, each with its figure, its threshold and what to do next.

Each test allows a miss that does not matter in practice, and two standard errors more; of functionals the ranks must
also differ from uniform beyond chance, all functionals counted (Bonferroni, 1 %). So an exact posterior passes all but
about once in a hundred diagnoses, and faults of the size that matters are found with 200 observations:
``benchmarks/planted_faults.py`` measures both. Where two standard errors are wider than the miss that would be fatal,
the test cannot decide, which is a caution of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["LEVELS", "Finding", "Verdict", "judge"]

LEVELS = ("trust", "caution", "do not trust")


@dataclass(frozen=True)
class Finding:
    """One test: its level, its name, and its figure, threshold and, where it failed, next step in a sentence."""

    level: str
    test: str
    text: str


@dataclass(frozen=True)
class Verdict:
    """The findings, worst first; `level` is the worst of them."""

    findings: tuple[Finding, ...]

    @property
    def level(self) -> str:
        """``"trust"``, ``"caution"`` or ``"do not trust"``."""
        return max((finding.level for finding in self.findings), key=LEVELS.index, default="caution")

    @property
    def reasons(self) -> list[str]:
        """The findings as lines of text, worst first."""
        return [f"{finding.test}: {finding.text}" for finding in self.findings]


def judge(
    metrics: Mapping[str, float],
    errors: Mapping[str, float],
    *,
    level: float = 0.9,
    nominal: float | None = None,
    regions: Sequence[str] = (),
    truth_range: float | None = None,
) -> Verdict:
    """The verdict on a posterior from its figures.

    Args:
        metrics: figures under their stable names, such as ``coverage_90`` (see :class:`bayesinv.inference.Checks`).
        errors: standard errors of some of them, under the same names.
        level: level of the intervals that `metrics` counts.
        nominal: level that the intervals by ranks have exactly (`level` by default).
        regions: names of regions with a coverage of their own.
        truth_range: largest magnitude of the true images, to find exploding samples.

    Returns:
        All findings, worst first.

    Example:
        >>> judge({"coverage_90": 0.80}, {"coverage_90": 0.002}).level
        'do not trust'
    """
    wanted = level if nominal is None else nominal
    key = f"coverage_{round(100 * level)}"
    found = [_coverage(f"{level:.0%} intervals", metrics, errors, key, wanted, 0.02, 0.05)]
    for name in regions:
        where = f"{level:.0%} intervals where the posterior mean lies in {name}"
        found.append(_coverage(where, metrics, errors, f"{key}_{name}_predicted", wanted, 0.03, 0.07))
    found += [_spread(metrics, errors), _ranks(metrics, errors), *_functionals(metrics, errors, wanted)]
    found += [_misfit(metrics, errors), _explosion(metrics, truth_range), _baseline(metrics)]
    present = [finding for finding in found if finding is not None]
    return Verdict(tuple(sorted(present, key=lambda finding: -LEVELS.index(finding.level))))


def _grade(miss: float, error: float, tight: float, loose: float) -> str:
    """Level of a figure that misses its ideal by `miss`, give or take two standard errors."""
    slack = 0.0 if math.isnan(error) else 2 * error
    excess = miss - slack
    if not excess <= loose:
        return LEVELS[2]
    return LEVELS[1] if excess > tight or slack > loose else LEVELS[0]


def _undecided(error: float, loose: float) -> str:
    if not math.isnan(error) and 2 * error > loose:
        return " The standard error is too large to decide; next: diagnose with more simulations."
    return ""


def _coverage(
    name: str,
    metrics: Mapping[str, float],
    errors: Mapping[str, float],
    key: str,
    wanted: float,
    tight: float,
    loose: float,
) -> Finding | None:
    value, error = metrics.get(key, math.nan), errors.get(key, math.nan)
    if math.isnan(value):
        return None
    grade = _grade(abs(value - wanted), error, tight, loose)
    text = (
        f"they hold the target in {value:.1%}{_plus_minus(error, 100, '%')} of pixels, nominal {wanted:.1%}; "
        f"wanted within {100 * tight:.0f} points."
    )
    if grade != LEVELS[0] and value < wanted - tight:
        text += " Intervals are too narrow; next: raise the temperature on validation pairs, or train longer."
    elif grade != LEVELS[0] and value > wanted + tight:
        text += " Intervals are too wide; next: lower the temperature, or train longer."
    return Finding(grade, f"Coverage of {name}", text + _undecided(error, loose))


def _spread(metrics: Mapping[str, float], errors: Mapping[str, float]) -> Finding | None:
    bins = [key for key in (f"spread_ratio_bin_{number}" for number in range(2, 100)) if key in metrics]
    bins = [key for key in bins if not math.isnan(metrics[key])]
    if not bins:
        return None

    def excess(key: str) -> float:
        slack = errors.get(key, math.nan)
        return abs(metrics[key] - 1) - (0.0 if math.isnan(slack) else 2 * slack)

    worst = max(bins, key=excess)
    value, error = metrics[worst], errors.get(worst, math.nan)
    grade = _grade(abs(value - 1), error, 0.15, 0.30)
    text = (
        f"predicted spread over true error is {value:.2f}{_plus_minus(error, 1, '')} in the worst of the upper "
        f"{len(bins)} spread bins (bin {worst.rsplit('_', 1)[1]}); wanted 0.85 to 1.15."
    )
    if grade != LEVELS[0]:
        side = "small" if value < 1 else "large"
        text += f" The standard deviation is too {side} there; next: choose the temperature anew, or train longer."
    return Finding(grade, "Spread against error", text + _undecided(error, 0.30))


def _ranks(metrics: Mapping[str, float], errors: Mapping[str, float]) -> Finding | None:
    value, error = metrics.get("rank_deviation", math.nan), errors.get("rank_deviation", math.nan)
    if math.isnan(value):
        return None
    grade = _grade(value, error, 0.25, 0.50)
    shape = "not flat" if grade != LEVELS[0] else "flat" if value <= 0.25 else "flat within its standard error"
    text = f"the histogram is {shape}: its worst bin is off by {value:.0%} of a uniform one; wanted at most 25 %."
    if grade != LEVELS[0]:
        text += " High ends mean intervals too narrow, a high middle too wide, a slope a bias; see the histogram."
    return Finding(grade, "Ranks", text + _undecided(error, 0.50))


def _functionals(metrics: Mapping[str, float], errors: Mapping[str, float], wanted: float) -> list[Finding]:
    """The functional whose intervals miss most, and the one whose ranks stray most."""
    start = "functional_coverage_"
    names = [key.removeprefix(start) for key in metrics if key.startswith(start)]
    names = [name for name in names if name not in ("pixels", "predictions", "misfit", "density")]
    if not names:
        return []
    tight, loose = 0.03, 0.07

    def excess(name: str) -> float:
        return abs(metrics[start + name] - wanted) - 2 * errors[start + name]

    worst = max(names, key=excess)
    value, error = metrics[start + worst], errors[start + worst]
    grade = _grade(abs(value - wanted), error, tight, loose)
    text = (
        f"of {len(names)} functionals of the image the worst, {worst}, lies in its interval in {value:.1%}"
        f"{_plus_minus(error, 100, '%')}, nominal {wanted:.1%}; wanted within {100 * tight:.0f} points."
    )
    if grade != LEVELS[0]:
        side = "too narrow" if value < wanted else "too wide"
        text += f" What pixels do together is wrong (intervals {side}); next: a deeper flow, or more simulations."
    found = [Finding(grade, "Functionals", text + _undecided(error, loose))]

    def stray(name: str) -> tuple[bool, float]:
        return metrics[f"functional_p_{name}"] * len(names) < 0.01, metrics[f"functional_deviation_{name}"]

    worst = max(names, key=stray)
    beyond_chance, deviation = stray(worst)
    grade = LEVELS[0]
    if beyond_chance and deviation > 0.05:
        grade = LEVELS[2] if deviation > 0.15 else LEVELS[1]
    text = (
        f"the share of ranks below any value differs from uniform by at most {deviation:.2f}, in {worst} "
        f"(p = {metrics[f'functional_p_{worst}']:.2g}, {len(names)} functionals); wanted at most 0.05, or what chance "
        "allows."
    )
    if grade != LEVELS[0]:
        text += " A bias or a wrong spread of what pixels do together; next: see the ECDF figure, then train longer."
    return [*found, Finding(grade, "Ranks of functionals", text)]


def _misfit(metrics: Mapping[str, float], errors: Mapping[str, float]) -> Finding | None:
    value, left = metrics.get("chi2_refined", math.nan), metrics.get("misfit_left", math.nan)
    if left > 0.25:
        text = (
            f"samples miss the data by {left:.0%} of what images unrelated to the data do; wanted at most 25 %. The "
            "posterior hardly uses the data; next: check the summary and the operator, then train longer."
        )
        return Finding(LEVELS[2], "Data misfit", text)
    if not math.isnan(value):
        grade = _grade(max(0.85 - value, value - 1.3), math.nan, 0.0, 0.0)
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
        f"{_plus_minus(errors.get('chi2_ratio', math.nan), 1, '')}; wanted 0.85 to 1.3 times."
    )
    if not good:
        text += " The samples do not reproduce the data to the noise; next: sample with refine=8."
    return Finding(LEVELS[0] if good else LEVELS[1], "Data misfit", text)


def _explosion(metrics: Mapping[str, float], truth_range: float | None) -> Finding | None:
    value = metrics.get("max_abs_sample", math.nan)
    if math.isnan(value) or not truth_range:
        return None
    ratio = value / truth_range
    grade = LEVELS[0] if ratio <= 2 else LEVELS[1] if ratio <= 5 else LEVELS[2]
    text = f"the largest magnitude of any sample is {value:.3g}, {ratio:.1f} times that of any image; wanted at most 2."
    if grade != LEVELS[0]:
        text += " Some samples explode; next: train longer, or with more noise on the images."
    return Finding(grade, "Outliers", text)


def _baseline(metrics: Mapping[str, float]) -> Finding | None:
    mean, baseline = metrics.get("psnr_posterior_mean", math.nan), metrics.get("psnr_baseline", math.nan)
    if math.isnan(mean) or math.isnan(baseline):
        return None
    good = mean >= baseline
    text = f"the posterior mean has {mean:.1f} dB PSNR, the classical reconstruction {baseline:.1f} dB; wanted above."
    if not good:
        text += " Training has not paid yet; next: train longer, with more simulations."
    return Finding(LEVELS[0] if good else LEVELS[1], "Accuracy", text)


def _plus_minus(error: float, scale: float, unit: str) -> str:
    return "" if math.isnan(error) else f" (± {scale * error:.2g}{unit})"
