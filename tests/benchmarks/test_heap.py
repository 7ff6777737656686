"""The meters count what they should; a child that dies, fails or takes too much is noticed."""

from __future__ import annotations

import pytest
from side_by_side.cases import Case
from side_by_side.forge import started
from side_by_side.heap import library

SIZE = 64 * 2**20
TASK = "side_by_side.tasks:known_block"


@pytest.mark.skipif(library() is None, reason="no compiler, or not glibc")
def test_heap_of_a_known_block_is_right_to_one_percent() -> None:
    forge = started(memory=True)
    found = forge.once(TASK, size=SIZE, device="cpu")
    small = forge.once(TASK, size=2**20, device="cpu")
    assert found is not None
    assert small is not None
    assert found["meter"] == "heap"
    assert found["peak"] == pytest.approx(SIZE, rel=0.01)
    assert found["kept"] == pytest.approx(SIZE / 2, rel=0.01)
    assert small["peak"] == pytest.approx(2**20, rel=0.05)  # Python's own blocks come on top


def test_without_the_library_it_is_the_resident_memory() -> None:
    found = started(memory=False).once(TASK, size=SIZE, device="cpu")
    assert found is not None
    assert found["meter"] == "resident"
    assert found["peak"] == pytest.approx(SIZE, rel=0.05)
    assert found["kept"] == pytest.approx(SIZE / 2, rel=0.1)


def test_what_happens_to_a_child() -> None:
    order = {"line": "plain (relu)", "case": Case(space=(64, 64), steps=2).to_json(), "device": "cpu"}
    forge = started(memory=True)
    assert "peak" in (forge.once("side_by_side.tasks:step_memory", **order, cap=4e9) or {})
    assert "out_of_memory" in (forge.once("side_by_side.tasks:step_memory", **order, cap=1e6) or {})
    with pytest.raises(RuntimeError, match="KeyError"):
        forge.once("side_by_side.tasks:step_memory", **{**order, "line": "no such line"})
    assert forge.once("os:_exit", status=3) is None
    time = forge.once("side_by_side.tasks:step_time", **order, faults=True)
    assert time is not None
    assert time["wall"] > 0


def test_the_floor_in_numbers() -> None:
    """The published configuration: 12 MiB for the stream and its gradient, 396 for the workspace."""
    case = Case(batch=8, space=(256, 256), hidden=256)
    assert case.input_bytes == 6 * 2**20
    assert case.floor(7) == 7 + (12 + 396) * 2**20
