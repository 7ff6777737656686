"""Memory of a training step on volumes: 1 channel, 96x96x96, batch 1, 3 levels, 8 steps, hidden 32."""

from __future__ import annotations

from collections.abc import Sequence

from side_by_side.cases import Case
from side_by_side.memory import drawn, measured, tabled
from side_by_side.nets import LINES
from side_by_side.reporting import Report, options


def main(arguments: Sequence[str] | None = None) -> dict[str, float | None]:
    """Measures, prints, draws."""
    report = Report("volumes", options(__doc__ or "", arguments))
    case = Case(batch=1, channels=1, space=(96, 96, 96), steps=8, hidden=32)
    sizes = (16, 24) if report.options.small else (48, 96)
    cases = {size: (case.deep(1) if report.options.small else case).sized(size) for size in sizes}
    lines = [line for line in LINES if line not in ("normflows", "FrEIA")]  # they have images only
    found = measured(report, lines, cases)
    title = f"Memory of a step on volumes: batch 1, {cases[sizes[0]].steps} steps a level, hidden {case.hidden}"
    tabled(report, title, found, cases, unit="size")
    return report.finish(drawn(found, cases, label="voxels along each axis"))


if __name__ == "__main__":
    main()
