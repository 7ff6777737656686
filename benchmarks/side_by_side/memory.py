"""Memory of a step, for many lines and cases: measured, put into a table against the floor, and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from side_by_side.cases import Case
from side_by_side.forge import started
from side_by_side.reporting import MIB, Report, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Found", "colour", "drawn", "logarithmic", "measured", "peak_of", "tabled"]

Found = dict[str, dict[Any, dict[str, Any]]]
COLOURS = {
    "bayesinv tight": "#0b3c8c",
    "bayesinv bf16": "#6fa8dc",
    "bayesinv in backward": "#6a3d9a",
    "bayesinv": "#1f77b4",
    "plain channels-last": "#8c8c8c",
    "plain bf16": "#c0c0c0",
    "plain": "#404040",
    "checkpoint": "#e69f00",
    "MemCNN": "#cc5500",
    "normflows": "#a01050",
    "FrEIA": "#2a8c4a",
}


def measured(report: Report, lines: Sequence[str], cases: Mapping[Any, Case], *, cap: float | None = None) -> Found:
    """``{line: {key of the case: result}}``; a line ends where it runs out of memory."""
    found: Found = {line: {} for line in report.options.chosen(lines)}
    forge = started(memory=True)
    for key, case in cases.items():
        for line, results in found.items():
            if any(result is None or "out_of_memory" in result for result in results.values()):
                continue
            result = forge.once(
                "side_by_side.tasks:step_memory",
                line=line, case=case.to_json(), device=report.options.device, cap=cap,
            )  # fmt: skip
            if result is not None and "missing" in result:
                report.note(f"skipped {line}: {result['missing']}")
                continue
            results[key] = {"out_of_memory": "the process died"} if result is None else result
    return {line: results for line, results in found.items() if results}


def tabled(report: Report, title: str, found: Found, cases: Mapping[Any, Case], *, unit: str) -> None:
    """Adds the table of peaks in MiB, each with its multiple of the floor, and the figures."""
    table = Table(title, ["MiB at the peak (multiple of the floor)", *[f"{unit} {key}" for key in cases]])
    for line, results in found.items():
        cells = []
        for key, case in cases.items():
            peak = peak_of(results, key)
            if peak is None:
                cells.append("out of memory" if key in results else "-")
                continue
            cells.append(f"{peak / MIB:.1f} ({peak / case.floor(results[key]['gradients']):.2f})")
            report.figures[f"peak MiB, {line}, {unit} {key}"] = round(peak / MIB, 3)
            report.figures[f"kept MiB, {line}, {unit} {key}"] = round(results[key]["kept"] / MIB, 3)
            if results[key]["gradients"]:
                report.figures[f"gradients MiB, {line}, {unit} {key}"] = round(results[key]["gradients"] / MIB, 3)
        table.rows.append([line, *cells])
    for line, results in found.items():
        for reference in ("normflows", f"plain {_net(line)}", f"MemCNN {_net(line)}"):
            for key in cases:
                peak, theirs = peak_of(results, key), peak_of(found.get(reference, {}), key)
                if peak and theirs and line.startswith("bayesinv"):
                    name = f"peak / {reference.split(' (')[0]}, {line}, {unit} {key}"
                    report.figures[name] = round(peak / theirs, 5)
    report.tables.append(table)


def peak_of(results: Mapping[Any, dict[str, Any]], key: Any) -> int | None:
    """Bytes, or None where there is no such run or it ran out of memory."""
    peak: int | None = results.get(key, {}).get("peak")
    return peak


def _net(line: str) -> str:
    """``(glow)`` or ``(relu)``, which the nets of the peers are too."""
    return "(glow)" if "(glow)" in line else "(relu)"


def drawn(found: Found, cases: Mapping[Any, Case], *, label: str) -> Figure:
    """Peaks against the keys of the cases: bayesinv's own net, then the net of the peers."""
    import matplotlib.pyplot as plt

    picture, axes = plt.subplots(1, 2, figsize=(9.5, 4), sharey=True, layout="constrained")
    for axis, net, title in zip(axes, ("(glow)", "(relu)"), ("bayesinv's glow", "the peers' net"), strict=True):
        shown = {line: results for line, results in found.items() if _net(line) == net}
        for line, results in shown.items():
            keys = [key for key in cases if peak_of(results, key) is not None]
            peaks = [results[key]["peak"] / MIB for key in keys]
            style = "--" if "tight" in line or "channels-last" in line else "-"
            axis.plot(keys, peaks, style, marker="o", ms=3.5, label=line.split(" (")[0], color=colour(line))
        ours = next((results for line, results in shown.items() if line.startswith("bayesinv")), {})
        keys = [key for key in cases if peak_of(ours, key) is not None]
        floors = [cases[key].floor(ours[key]["gradients"]) / MIB for key in keys]
        axis.plot(keys, floors, ":", color="black", lw=1, label="floor, whole batch at once")
        axis.set(title=title, xlabel=label)
        logarithmic(axis, list(cases))
    axes[0].set_ylabel("memory of a training step [MiB]")
    handles = {name: handle for axis in axes for handle, name in zip(*axis.get_legend_handles_labels(), strict=True)}
    picture.legend(handles.values(), handles, loc="outside right center", fontsize=8)
    return picture


def logarithmic(axis: Axes, ticks: Sequence[int]) -> None:
    """Logarithmic axes, with these numbers along the first one."""
    axis.set(xscale="log", yscale="log")
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.set_xticks([], minor=True)
    axis.grid(alpha=0.25)


def colour(line: str) -> str:
    """Of a line, the same in every figure."""
    return next((shade for name, shade in COLOURS.items() if line.startswith(name)), "black")
