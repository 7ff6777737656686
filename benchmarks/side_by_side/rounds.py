"""Time, measured in turns: a process for each line, one after the other, in rounds that go forth and back."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

from side_by_side.forge import Child

__all__ = ["Timing", "interleaved", "ratio"]

_ANEW = 3  # rounds, after which every line gets a new process: where a process finds its memory stays with it
Start = Callable[[str], Child]


class Timing(NamedTuple):
    """Of one line, a number for every round: wall seconds, processor seconds, and page faults of a step."""

    wall: list[float]
    processor: list[float]
    faults: list[float]

    @property
    def median(self) -> float:
        """Wall seconds of a step."""
        return statistics.median(self.wall)


def interleaved(lines: Sequence[str], start: Start, *, rounds: int, note: Callable[[str], None]) -> dict[str, Timing]:
    """Timings of all lines that can be drawn; every line has its turn in every round."""
    timings: dict[str, Timing] = {}
    for first in range(0, rounds, _ANEW):
        children = _started(list(timings) if first else lines, start, note)
        try:
            for i in range(first, min(rounds, first + _ANEW)):
                for line in list(children) if i % 2 == 0 else list(children)[::-1]:
                    found = children[line].next()
                    if found is None:
                        raise RuntimeError(f"expected a time of {line}, got nothing: its process has died")
                    for values, name in zip(timings.setdefault(line, Timing([], [], [])), Timing._fields, strict=True):
                        values.append(found[name])
        finally:
            for child in children.values():
                child.close()
    return timings


def _started(lines: Sequence[str], start: Start, note: Callable[[str], None]) -> dict[str, Child]:
    """The processes of those lines that can be drawn."""
    children: dict[str, Child] = {}
    try:
        for line in lines:
            child = children[line] = start(line)
            ready = child.result()
            if ready is None or "missing" in ready:
                note(f"skipped {line}: {'it ran out of memory' if ready is None else ready['missing']}")
                children.pop(line).close()
    except BaseException:
        for child in children.values():
            child.close()
        raise
    return children


def ratio(one: Timing, other: Timing) -> float:
    """The median over the rounds of the ratio of wall times."""
    return statistics.median(a / b for a, b in zip(one.wall, other.wall, strict=True))
