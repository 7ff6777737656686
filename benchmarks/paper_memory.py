"""The memory figures of InvertibleNetworks.jl's paper: 3 channels, batch 8, 3 levels, hidden 256; depth, then size."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from side_by_side.cases import PAPER, Case
from side_by_side.memory import Found, colour, logarithmic, measured, peak_of, tabled
from side_by_side.nets import LINES
from side_by_side.published import DEPTH, SIZE
from side_by_side.reporting import Report, Table, options

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Published = Mapping[str, Mapping[int, float | None]]
GIB = 2**30
CARD = 40e9
"""Bytes of the paper's card."""


def main(arguments: Sequence[str] | None = None) -> dict[str, float | None]:
    """Measures, prints, draws."""
    report = Report("paper_memory", options(__doc__ or "", arguments))
    if report.options.small:
        case = replace(PAPER, batch=2, hidden=16)
        depths, sizes = {k: case.sized(16).deep(k) for k in (4, 8)}, {n: case.sized(n).deep(1) for n in (64, 128)}
    elif report.options.device == "cuda":
        depths = {k: PAPER.deep(k) for k in (4, 8, 16, 32, 48, 64, 80)}
        sizes = {n: PAPER.sized(n).deep(16) for n in (64, 128, 256, 384, 480, 512, 1024, 2048, 4096)}
    else:  # what a processor does in half an hour
        depths = {k: PAPER.deep(k) for k in (4, 8, 16, 32, 64)}
        sizes = {n: PAPER.sized(n).deep(4) for n in (64, 128, 256, 512, 1024)}
    cap = CARD if report.options.device == "cuda" else 0.6 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    lines = [line for line in LINES if "bf16" not in line]
    by_depth, by_size = measured(report, lines, depths, cap=cap), measured(report, lines, sizes, cap=cap)
    depth_title = f"Depth: {next(iter(depths.values())).space[0]} pixels along each axis"
    size_title = f"Size: {next(iter(sizes.values())).steps} steps a level"
    tabled(report, depth_title, by_depth, depths, unit="steps")
    beside(report, depth_title, by_depth, depths, DEPTH)
    flatness(report, by_depth, list(depths))
    tabled(report, size_title, by_size, sizes, unit="size")
    beside(report, size_title, by_size, sizes, SIZE)
    report.note(
        "Growth: what is kept holds autograd's nodes, one for each parameter, beside the tensors; "
        "gradients are the blocks that such tensors take."
    )
    report.note("Published: GiB on an A100 with the CUDA context. Measured here: GiB above parameters and input.")
    return report.finish(
        drawn([(by_depth, depths, DEPTH, "flow steps a level"), (by_size, sizes, SIZE, "pixels along each axis")])
    )


def beside(report: Report, title: str, found: Found, cases: Mapping[int, Case], published: Published) -> None:
    """Adds a table in GiB, with what was published."""
    keys = sorted({*cases, *[key for values in published.values() for key in values]})
    table = Table(f"{title}, GiB, with the published figures", ["line", *[str(key) for key in keys]])
    for name, values in published.items():
        cells = [
            "-" if key not in values else "no memory" if values[key] is None else f"{values[key]:.2f}" for key in keys
        ]
        table.rows.append([f"{name}, published", *cells])
    for line, results in found.items():
        peaks = {key: peak_of(results, key) for key in keys}
        cells = [f"{peak / GIB:.3f}" if peak else "no memory" if key in results else "-" for key, peak in peaks.items()]
        table.rows.append([line, *cells])
    report.tables.append(table)


def flatness(report: Report, found: Found, depths: list[int]) -> None:
    """How tensors saved, all that is kept, and the peak beyond gradients grow from the least to the greatest depth."""
    columns = ["line", "from", "to", "tensors saved for backward", "kept for backward", "peak without gradients"]
    table = Table("Growth with depth", columns)
    for line, results in found.items():
        done = [depth for depth in depths if peak_of(results, depth) is not None]
        if len(done) < 2:
            continue
        first, last = results[done[0]], results[done[-1]]
        saved, kept = last["saved"] / first["saved"], last["kept"] / first["kept"]
        beyond = (last["peak"] - last["held"]) / (first["peak"] - first["held"])
        report.figures[f"growth of the tensors saved, {line}"] = round(saved, 5)
        report.figures[f"growth of what is kept, {line}"] = round(kept, 5)
        report.figures[f"growth of the peak without gradients, {line}"] = round(beyond, 5)
        table.rows.append([line, str(done[0]), str(done[-1]), f"{saved:.3f}", f"{kept:.3f}", f"{beyond:.3f}"])
    report.tables.append(table)


def drawn(panels: Sequence[tuple[Found, Mapping[int, Case], Published, str]]) -> Figure:
    """Measured lines in colour, published ones in black."""
    import matplotlib.pyplot as plt

    picture, axes = plt.subplots(1, len(panels), figsize=(10.5, 4), layout="constrained")
    for axis, (found, cases, published, label) in zip(axes, panels, strict=True):
        for name, values in published.items():
            pairs = [(key, value) for key, value in values.items() if value is not None]
            axis.plot(
                *zip(*pairs, strict=True),
                "-." if name == "normflows" else ":",
                color="black",
                label=f"{name}, published",
            )
        for line, results in found.items():
            keys = [key for key in cases if peak_of(results, key) is not None]
            peaks = [results[key]["peak"] / GIB for key in keys]
            style = "s-" if "(glow)" in line else "o--"
            axis.plot(keys, peaks, style, ms=3.5, color=colour(line), label=line)
        axis.set(xlabel=label, ylabel="memory of a training step [GiB]")
        logarithmic(axis, list(cases))
    handles = dict(zip(*reversed(axes[0].get_legend_handles_labels()), strict=True))
    picture.legend(handles.values(), handles, loc="outside right center", fontsize=8)
    return picture


if __name__ == "__main__":
    main()
