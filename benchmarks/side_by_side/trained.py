"""Memory and time of one map trained in several ways, for commands that bring their own nets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from side_by_side.forge import started
from side_by_side.memory import colour, logarithmic
from side_by_side.reporting import MIB, Report, Table
from side_by_side.rounds import Timing, interleaved, ratio
from side_by_side.tasks import memory_of, timed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["WAYS", "Step", "compared", "drawn", "measured_memory", "measured_time", "seeded"]

WAYS = ("bayesinv", "plain", "checkpoint")


class Step(NamedTuple):
    """A net, and its loss on its own data."""

    module: nn.Module
    loss: Callable[[], Tensor]


def measured_memory(made: Step, device: str) -> dict[str, Any]:
    """See `side_by_side.tasks.memory_of`."""
    return memory_of(made.loss, list(made.module.parameters()), device)


def measured_time(made: Step, device: str) -> dict[str, Any]:
    """See `side_by_side.tasks.timed`."""

    def step() -> None:
        made.loss().backward()
        made.module.zero_grad(set_to_none=True)

    return timed(step, device, True)


def compared(
    report: Report, command: str, orders: Mapping[int, dict[str, Any]], *, unit: str, rounds: int, state: int
) -> dict[str, dict[int, float]]:
    """Runs ``command:memory`` and ``command:time`` in every way and for every order; table, figures, and the peaks.

    Args:
        report: takes them.
        command: the module of the tasks.
        orders: their arguments, by depth.
        unit: what the depth counts.
        rounds: of timing, at the greatest depth.
        state: bytes of one state of the map, in which the peaks are given as well.
    """
    ways, device = report.options.chosen(WAYS), report.options.device
    peaks: dict[str, dict[int, float]] = {way: {} for way in ways}
    forge = started(memory=True)
    for depth, order in orders.items():
        for way in ways:
            found = forge.once(f"{command}:memory", way=way, device=device, **order)
            if found is not None and "peak" in found:
                peaks[way][depth] = found["peak"]
                report.figures[f"peak MiB, {way}, {unit} {depth}"] = round(found["peak"] / MIB, 3)
                report.figures[f"gradients MiB, {way}, {unit} {depth}"] = round(found["gradients"] / MIB, 3)
    deepest = max(orders)
    forge = started(memory=False)
    timings = interleaved(
        ways,
        lambda way: forge.once(f"{command}:time", way=way, device=device, **orders[deepest]),
        rounds=rounds,
        note=report.note,
    )
    _tabled(report, peaks, timings, list(orders), unit, state)
    return peaks


def _tabled(
    report: Report,
    peaks: dict[str, dict[int, float]],
    timings: dict[str, Timing],
    depths: Sequence[int],
    unit: str,
    state: int,
) -> None:
    deepest = max(depths)
    columns = ["MiB at the peak (in states)", *[f"{unit} {depth}" for depth in depths], "/ plain", "time / plain"]
    table = Table(f"Memory against {unit}", columns)
    plain = peaks.get("plain", {})
    for way, found in peaks.items():
        cells = [f"{found[d] / MIB:.1f} ({found[d] / state:.1f})" if d in found else "no memory" for d in depths]
        memory = found[deepest] / plain[deepest] if deepest in found and deepest in plain else None
        time = ratio(timings[way], timings["plain"]) if way in timings and "plain" in timings else None
        for name, value in (("peak / plain", memory), ("time / plain", time)):
            cells.append("-" if value is None else f"{value:.3f}")
            if value is not None:
                report.figures[f"{name}, {way}, {unit} {deepest}"] = round(value, 5)
        table.rows.append([way, *cells])
    report.tables.append(table)


def drawn(peaks: dict[str, dict[int, float]], *, label: str) -> Figure:
    """Peaks against depth."""
    import matplotlib.pyplot as plt

    picture, axis = plt.subplots(figsize=(5, 4), layout="constrained")
    for way, found in peaks.items():
        values = [peak / MIB for peak in found.values()]
        axis.plot(list(found), values, marker="o", ms=3.5, color=colour(way), label=way)
    axis.set(xlabel=label, ylabel="memory of a training step [MiB]")
    logarithmic(axis, sorted({depth for found in peaks.values() for depth in found}))
    axis.legend(fontsize=8)
    return picture


def seeded(device: str) -> torch.device:
    """The device as a context, after torch's generator has been set."""
    torch.manual_seed(0)
    return torch.device(device)
