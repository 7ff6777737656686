"""Time, measured in turns: one process for each line, one after the other, in rounds that go forth and back."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

from side_by_side.forge import Child

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
    lines: Sequence[str], start: Callable[[str], Child], *, rounds: int, note: Callable[[str], None]
) -> dict[str, Timing]:
    """Timings of all lines that can be drawn; every line has its turn in every round."""
    children: dict[str, Child] = {}
    try:
        for line in lines:
            child = start(line)
            ready = child.result()
            if ready is None or "missing" in ready:
                note(f"skipped {line}: {'it ran out of memory' if ready is None else ready['missing']}")
                child.close()
            else:
                children[line] = child
        timings = {line: Timing([], [], []) for line in children}
        for i in range(rounds):
            for line in list(timings) if i % 2 == 0 else list(timings)[::-1]:
                found = children[line].next()
                if found is None:
                    raise RuntimeError(f"expected a time of {line}, got nothing: its process has died")
                for values, name in zip(timings[line], Timing._fields, strict=True):
                    values.append(found[name])
        return timings
    finally:
        for child in children.values():
            child.close()


def ratio(one: Timing, other: Timing) -> float:
    """The median over the rounds of the ratio of wall times."""
    return statistics.median(a / b for a, b in zip(one.wall, other.wall, strict=True))
