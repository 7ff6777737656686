"""Time and memory of drawing 64 images of 3x64x64 without a condition: 3 levels, 8 steps, hidden 64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from side_by_side.cases import TRIAL
from side_by_side.forge import started
from side_by_side.memory import colour
from side_by_side.nets import LINES
from side_by_side.reporting import MIB, Report, Table, options
from side_by_side.rounds import Timing, interleaved, ratio

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def main(arguments: Sequence[str] | None = None) -> dict[str, float | None]:
    """Measures, prints, draws."""
    report = Report("sampling_time", options(__doc__ or "", arguments))
    number, rounds = 64, 9
    case = replace(TRIAL, batch=number)
    if report.options.small:
        number, rounds = 4, 2
        case = replace(TRIAL, batch=number, space=(16, 16), steps=1, hidden=8)
    # checkpointing changes nothing here, and MemCNN draws as the plain net does
    lines = [line for line in report.options.chosen(list(LINES)) if not line.startswith(("checkpoint", "MemCNN"))]
    order: dict[str, Any] = {"case": case.to_json(), "device": report.options.device, "number": number}
    forge = started(memory=False)
    timings = interleaved(
        lines,
        lambda line: forge.once("side_by_side.tasks:sampling_time", line=line, **order),
        rounds=rounds,
        note=report.note,
    )
    forge = started(memory=True)
    memory = {line: forge.once("side_by_side.tasks:sampling_memory", line=line, **order) for line in timings}
    peaks = {line: found["peak"] / MIB for line, found in memory.items() if found is not None}
    tabled(report, f"Drawing {number} images of {case.channels}x{case.space[0]}x{case.space[1]}", timings, peaks)
    return report.finish(drawn(timings, peaks))


def tabled(report: Report, title: str, timings: dict[str, Timing], peaks: dict[str, float]) -> None:
    """Adds the table and the figures."""
    table = Table(title, ["line", "median ms", "least ms", "processor ms", "/ normflows", "/ FrEIA", "peak MiB"])
    for line, timing in timings.items():
        ratios = []
        for peer in ("normflows", "FrEIA"):
            ratios.append(f"{ratio(timing, timings[peer]):.2f}" if peer in timings else "-")
            if peer in timings:
                report.figures[f"time / {peer}, {line}"] = round(ratio(timing, timings[peer]), 4)
        report.figures[f"time ms, {line}"] = round(1e3 * timing.median, 3)
        report.figures[f"peak MiB, {line}"] = round(peaks[line], 3) if line in peaks else None
        table.rows.append(
            [line, f"{1e3 * timing.median:.1f}", f"{1e3 * min(timing.wall):.1f}", f"{1e3 * min(timing.processor):.1f}",
             *ratios, f"{peaks[line]:.1f}" if line in peaks else "-"]
        )  # fmt: skip
    report.tables.append(table)


def drawn(timings: dict[str, Timing], peaks: dict[str, float]) -> Figure:
    """Memory against time, a point for each line."""
    import matplotlib.pyplot as plt

    picture, axis = plt.subplots(figsize=(6.5, 4), layout="constrained")
    for line, timing in timings.items():
        if line in peaks:
            axis.scatter(1e3 * timing.median, peaks[line], color=colour(line), marker="s" if "(glow)" in line else "o",
                         label=line)  # fmt: skip
    axis.set(xlabel="time [ms]", ylabel="memory [MiB]", xlim=(0, None), ylim=(0, None))
    axis.grid(alpha=0.25)
    picture.legend(loc="outside right center", fontsize=8)
    return picture


if __name__ == "__main__":
    main()
