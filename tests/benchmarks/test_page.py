"""The pages of the docs show the stored runs, no others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import write_page


@pytest.mark.parametrize("page", write_page.PAGES, ids=lambda page: page.stem)
def test_a_page_is_what_the_stored_runs_give(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert write_page.filled(text, write_page.RESULTS) == text, "run benchmarks/write_page.py"


def test_stored_runs_are_full_ones() -> None:
    for path in write_page.RESULTS.glob("*.json"):
        assert not json.loads(path.read_text(encoding="utf-8"))["small"], path


def test_a_run_goes_between_the_marks(tmp_path: Path) -> None:
    stored = {
        "command": "memory_size", "small": False, "notes": ["skipped x: not installed"], "figures": {},
        "machine": {"card": None, "processor": "P", "threads": 2, "date": "2026-01-02", "versions": {"torch": "2.13"}},
        "tables": [{"title": "T", "columns": ["line", "size 32"], "rows": [["a", "1.0"], ["b", "-"]]}],
    }  # fmt: skip
    (tmp_path / "memory_size.json").write_text(json.dumps(stored), encoding="utf-8")
    page = "before\n\n.. begin of memory_size\nold\n.. end of memory_size\n\n.. begin of volumes\n.. end of volumes\n"
    found = write_page.filled(page, tmp_path)
    assert found == write_page.filled(found, tmp_path)
    assert "old" not in found
    assert "*P, 2 threads; torch 2.13; 2026-01-02.*" in found
    assert "   * - a\n     - 1.0\n   * - b\n     - \\-\n" in found
    assert "* skipped x: not installed" in found
    assert "No run is stored yet: ``python benchmarks/volumes.py``." in found
    assert ".. image" not in found


def test_every_command_has_its_place() -> None:
    scripts = [
        path for path in Path(write_page.__file__).parent.glob("*.py") if "side_by_side.reporting" in path.read_text()
    ]
    text = "".join(page.read_text(encoding="utf-8") for page in write_page.PAGES)
    assert all(
        f".. begin of {name}\n" in text and f".. end of {name}\n" in text for name in (path.stem for path in scripts)
    )
