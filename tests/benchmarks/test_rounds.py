"""What the times of the benchmarks rest on: turns, ratios within a round, the mean of a step."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from side_by_side import tasks
from side_by_side.rounds import Timing, interleaved, ratio


def test_lines_take_turns_forth_and_back() -> None:
    """One that cannot be made and one that dies later are named and left out."""
    asked: list[str] = []
    notes: list[str] = []

    def timed(line: str) -> dict[str, object] | None:
        asked.append(line)
        if line == "absent":
            return {"missing": "not installed"}
        if line == "dying" and asked.count(line) == 2:
            return None
        return {"faults": 3, "processor": 2 * len(asked), "wall": len(asked)}

    found = interleaved(["one", "absent", "dying", "two"], timed, rounds=3, note=notes.append)
    assert asked == ["one", "absent", "dying", "two", "two", "dying", "one", "one", "two"]
    assert found == {"one": Timing([1, 7, 8], [2, 14, 16], [3, 3, 3]), "two": Timing([4, 5, 9], [8, 10, 18], [3, 3, 3])}
    assert notes == ["skipped absent: not installed", "skipped dying: it ran out of memory"]


def test_ratios_are_taken_within_a_round() -> None:
    """A machine that slows down for everyone changes no ratio; the ratio of the medians is 0.4 here."""
    one, other = Timing([2, 4, 30], [], []), Timing([1, 10, 15], [], [])
    assert ratio(one, other) == 2
    assert ratio(other, one) == 0.5
    assert Timing([5, 1, 2], [], []).median == 2


@pytest.mark.parametrize(("faults", "kept"), [(True, 0), (False, 1)])
def test_the_time_of_a_step_is_a_mean(monkeypatch: pytest.MonkeyPatch, faults: bool, kept: int) -> None:
    """Of as many steps as fit into a turn, by the second of the two that warm up, and of no other."""
    told: list[None] = []
    monkeypatch.setattr(tasks, "without_page_faults", lambda: told.append(None))
    wall, processor = 0.0, 0.0
    durations = iter([8.0, 0.25, 0.5, 0.25, 0.5, 0.25])

    def step() -> None:
        nonlocal wall, processor
        duration = next(durations)
        wall, processor = wall + duration, processor + 2 * duration

    monkeypatch.setattr(tasks, "TURN", 1.0)
    monkeypatch.setattr(tasks, "time", SimpleNamespace(perf_counter=lambda: wall, process_time=lambda: processor))
    found = tasks.timed(step, "cpu", faults)
    assert len(told) == kept
    assert not list(durations)
    assert (found["wall"], found["processor"]) == (0.375, 0.75)
