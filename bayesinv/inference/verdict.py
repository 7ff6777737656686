r"""From figures to words: trust, caution or do not trust, each with its figure, its threshold and what to do next.

Each test allows a miss that does not matter in practice, and two standard errors more; of functionals the ranks must
also differ from uniform beyond chance, all functionals counted (Bonferroni, 1 %). So an exact posterior passes all but
about once in a hundred diagnoses, and faults of the size that matters are found with 200 observations:
``benchmarks/planted_faults.py`` measures both. Where two standard errors are wider than the miss that would be fatal,
the test cannot decide, which is a caution of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bayesinv.inference.findings import (
    LEVELS,
    Finding,
    accuracy_finding,
    bias_finding,
    coverage_finding,
    misfit_finding,
    outlier_finding,
    rank_finding,
    spread_finding,
)
from bayesinv.inference.more_findings import functional_findings, gate_finding, weight_finding

__all__ = ["LEVELS", "Finding", "Verdict", "judge"]


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
    found = [coverage_finding(f"{level:.0%} intervals", metrics, errors, key, wanted, 0.02, 0.05)]
    for name in regions:
        where = f"{level:.0%} intervals where the posterior mean lies in {name}"
        found.append(coverage_finding(where, metrics, errors, f"{key}_{name}_predicted", wanted, 0.03, 0.07))
    found += [spread_finding(metrics, errors), rank_finding(metrics, errors), bias_finding(metrics, errors)]
    found += [*functional_findings(metrics, errors, wanted), misfit_finding(metrics, errors)]
    found += [outlier_finding(metrics, truth_range), accuracy_finding(metrics)]
    found += [weight_finding(metrics), gate_finding(metrics, errors)]
    present = [finding for finding in found if finding is not None]
    return Verdict(tuple(sorted(present, key=lambda finding: -LEVELS.index(finding.level))))
