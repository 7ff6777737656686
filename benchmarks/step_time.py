"""Time of a training step: the trial's size and the paper's, with the page faults that users meet, and without them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from side_by_side.cases import PAPER, TRIAL, Case
from side_by_side.forge import Forge, started
from side_by_side.memory import colour
from side_by_side.nets import LINES
from side_by_side.reporting import Report, Table, options
from side_by_side.rounds import Timing, interleaved, ratio

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Found = dict[tuple[str, bool], dict[str, Timing]]


def main(arguments: Sequence[str] | None = None) -> dict[str, float | None]:
    """Measures, prints, draws."""
    report = Report("step_time", options(__doc__ or "", arguments))
    cases = {"64x64": TRIAL, "256x256": TRIAL.sized(256), "paper": PAPER}
    rounds = 15
    if report.options.small:
        cases, rounds = {"16x16": replace(TRIAL, space=(16, 16), steps=1, hidden=8)}, 2
    found: Found = {}
    forge = started(memory=False)
    for name, case in cases.items():
        long = case == PAPER  # a round of it takes minutes on a processor
        for faults in (True, False) if report.options.device == "cpu" and not long else (True,):
            found[name, faults] = timed(report, forge, case, faults, 3 if long else rounds)
    for (name, faults), timings in found.items():
        tabled(report, name, cases[name], faults, timings)
    return report.finish(drawn(found))


def timed(report: Report, forge: Forge, case: Case, faults: bool, rounds: int) -> dict[str, Timing]:
    """Every line in turn."""
    return interleaved(
        report.options.chosen(list(LINES)),
        lambda line: forge.once(
            "side_by_side.tasks:step_time", line=line, case=case.to_json(), device=report.options.device, faults=faults
        ),
        rounds=rounds,
        note=report.note,
    )


def tabled(report: Report, name: str, case: Case, faults: bool, timings: dict[str, Timing]) -> None:
    """Adds the table and the figures of one case."""
    how = "" if faults else ", page faults removed"
    title = f"Time of a step, {name} (batch {case.batch}, {case.steps} steps a level, hidden {case.hidden}){how}"
    references = {"/ plain": "plain ({net})", "/ channels-last": "plain channels-last ({net})",
                  "/ checkpoint": "checkpoint ({net})", "/ MemCNN": "MemCNN ({net})", "/ normflows": "normflows",
                  "/ FrEIA": "FrEIA"}  # fmt: skip
    table = Table(title, ["line", "median ms", "least ms", "processor ms", "page faults", *references])
    for line, timing in timings.items():
        net = "glow" if "(glow)" in line else "relu"
        cells = []
        for column, reference in references.items():
            other = timings.get(reference.format(net=net))
            cells.append("-" if other is None else f"{ratio(timing, other):.2f}")
            if other is not None and (column == "/ plain" or line.startswith("bayesinv")):
                report.figures[f"time {column}, {line}, {name}{how}"] = round(ratio(timing, other), 4)
        report.figures[f"time ms, {line}, {name}{how}"] = round(1e3 * timing.median, 3)
        table.rows.append(
            [line, f"{1e3 * timing.median:.1f}", f"{1e3 * min(timing.wall):.1f}", f"{1e3 * min(timing.processor):.1f}",
             f"{sorted(timing.faults)[len(timing.faults) // 2]:.0f}", *cells]
        )  # fmt: skip
    report.tables.append(table)


def drawn(found: Found) -> Figure:
    """Ratios to plain autograd of the same net, contiguous; those of normflows and FrEIA to the ReLU net."""
    import matplotlib.pyplot as plt

    picture, axes = plt.subplots(
        1, len(found), figsize=(1.6 + 3.2 * len(found), 5), sharey=True, layout="constrained", squeeze=False
    )
    lines = [line for line in LINES if any(line in timings for timings in found.values())][::-1]
    for axis, ((name, faults), timings) in zip(axes[0], found.items(), strict=True):
        for i, line in enumerate(lines):
            reference = timings.get("plain (glow)" if "(glow)" in line else "plain (relu)")
            if line in timings and reference is not None:
                axis.barh(i, ratio(timings[line], reference), color=colour(line))
        axis.axvline(1, color="black", lw=0.8)
        axis.set(title=name if faults else f"{name}, no page faults", xlabel="time / plain autograd")
    axes[0][0].set_yticks(range(len(lines)), lines, fontsize=8)
    return picture


if __name__ == "__main__":
    main()
