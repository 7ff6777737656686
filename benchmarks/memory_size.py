"""Memory of a training step against the size of the image: 3 channels, batch 2, 3 levels, 8 steps, hidden 64."""

from __future__ import annotations

from collections.abc import Sequence

from side_by_side.cases import TRIAL
from side_by_side.memory import drawn, measured, tabled
from side_by_side.nets import LINES
from side_by_side.reporting import Report, options


def main(arguments: Sequence[str] | None = None) -> dict[str, float | None]:
    """Measures, prints, draws."""
    report = Report("memory_size", options(__doc__ or "", arguments))
    case, sizes = (TRIAL.deep(1), (16, 32)) if report.options.small else (TRIAL, (32, 64, 128, 256))
    cases = {size: case.sized(size) for size in sizes}
    found = measured(report, list(LINES), cases)
    title = f"Memory against size: batch {case.batch}, {case.steps} steps a level, hidden {case.hidden}"
    tabled(report, title, found, cases, unit="size")
    return report.finish(drawn(found, cases, label="pixels along each axis"))


if __name__ == "__main__":
    main()
