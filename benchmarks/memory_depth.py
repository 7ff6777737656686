"""Memory of a training step against depth: 3 channels, 64x64, batch 2, 3 levels, hidden 64, 4 to 64 steps a level."""

from __future__ import annotations

from collections.abc import Sequence

from side_by_side.cases import TRIAL
from side_by_side.memory import drawn, measured, tabled
from side_by_side.nets import IN_BACKWARD, LINES
from side_by_side.reporting import Report, options


def main(arguments: Sequence[str] | None = None) -> dict[str, float | None]:
    """Measures, prints, draws."""
    report = Report("memory_depth", options(__doc__ or "", arguments))
    case, depths = (TRIAL.sized(16), (1, 2)) if report.options.small else (TRIAL, (4, 8, 16, 32, 64))
    cases = {steps: case.deep(steps) for steps in depths}
    found = measured(report, [*LINES, *IN_BACKWARD], cases)
    title = f"Memory against depth: batch {case.batch}, {case.space[0]}x{case.space[1]}, hidden {case.hidden}"
    tabled(report, title, found, cases, unit="steps")
    return report.finish(drawn(found, cases, label="flow steps a level"))


if __name__ == "__main__":
    main()
