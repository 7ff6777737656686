"""Time, measured in turns: line after line, in rounds that go forth and back."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.progress import Progress

from side_by_side.forge import Result

__all__ = ["Timing", "interleaved", "ratio"]


class Timing(NamedTuple):
    """Of one line, a number for every round: wall seconds, processor seconds, and page faults of a step."""

    wall: list[float]
    processor: list[float]
    faults: list[float]

    @property
    def median(self) -> float:
        """Wall seconds of a step."""
        return statistics.median(self.wall)


def interleaved(
    lines: Sequence[str], timed: Callable[[str], Result], *, rounds: int, note: Callable[[str], None]
) -> dict[str, Timing]:
    """Timings of all lines that can be timed; every line has its turn in every round.

    Args:
        lines: their names.
        timed: times one of them, in a process of its own: where a process finds its memory stays with it, and can
            be a matter of some percent.
        rounds: how many.
        note: is told which lines there are not, and why.
    """
    timings = {line: Timing([], [], []) for line in lines}
    with Progress(console=Console(stderr=True), auto_refresh=False, redirect_stdout=False) as bar:
        shown = bar.add_task("", total=rounds)
        for i in range(rounds):
            turns = list(timings)[:: -1 if i % 2 else 1]
            for j, line in enumerate(turns):
                bar.update(shown, completed=i + j / len(turns), description=line, refresh=True)  # never in a time
                found = timed(line) or {"missing": "it ran out of memory"}
                if "missing" in found:
                    note(f"skipped {line}: {found['missing']}")
                    del timings[line]
                    continue
                for values, name in zip(timings[line], Timing._fields, strict=True):
                    values.append(found[name])
        bar.update(shown, completed=rounds, description="timed", refresh=True)
    return timings


def ratio(one: Timing, other: Timing) -> float:
    """The median over the rounds of the ratio of wall times."""
    return statistics.median(a / b for a, b in zip(one.wall, other.wall, strict=True))
