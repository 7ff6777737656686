"""The lines of a verdict on what pixels do together, on importance weights, and on how familiar the data are."""

from __future__ import annotations

import math
from collections.abc import Mapping

from bayesinv.inference.findings import LEVELS, Finding, graded, plus_minus, undecided

__all__ = ["functional_findings", "gate_finding", "weight_finding"]


def functional_findings(metrics: Mapping[str, float], errors: Mapping[str, float], wanted: float) -> list[Finding]:
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
    grade = graded(abs(value - wanted), error, tight, loose)
    text = (
        f"of {len(names)} functionals of the image the worst, {worst}, lies in its interval in {value:.1%}"
        f"{plus_minus(error, 100, '%')}, nominal {wanted:.1%}; wanted within {100 * tight:.0f} points."
    )
    if grade != LEVELS[0]:
        side = "too narrow" if value < wanted else "too wide"
        text += f" What pixels do together is wrong (intervals {side}); next: a deeper flow, or more simulations."
    found = [Finding(grade, "Functionals", text + undecided(error, loose))]

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


def weight_finding(metrics: Mapping[str, float]) -> Finding | None:
    """Whether importance weights could correct what is left; only where the prior's density is known."""
    khat, limit, share = (metrics.get(name, math.nan) for name in ("khat", "khat_limit", "ess_share"))
    if math.isnan(khat):
        return None
    good = khat <= limit
    text = (
        f"k-hat of p(x) p(y|x) / q(x|y) is {khat:.2f} (median), the effective share of samples {share:.0%}; wanted a "
        f"k-hat of at most {limit:.2f}."
    )
    if not good:
        text += " The samples are too far from the posterior for weights to correct them; next: train longer."
    return Finding(LEVELS[0] if good else LEVELS[1], "Importance weights", text)


def gate_finding(metrics: Mapping[str, float], errors: Mapping[str, float]) -> Finding | None:
    """Whether the data are like those of training; only for a posterior with a gate."""
    stopped, error = metrics.get("gate_stopped", math.nan), errors.get("gate_stopped", math.nan)
    if math.isnan(stopped):
        return None
    level = graded(stopped - 0.01, error, 0.03, 0.2)
    text = f"the gate takes {stopped:.1%} of the records for foreign; 1 % are expected of data like the simulated ones."
    if level != LEVELS[0]:
        text += " These data are out of distribution; next: check noise level, units and operator, or widen the prior."
    return Finding(level, "Familiar data", text)
