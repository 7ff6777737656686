"""Puts the stored runs of `benchmarks/results` into pages of `docs`, between their marks."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("memory_and_speed", "operators_and_unrolled", "exact_posteriors", "calibration")
PAGES = [ROOT / "docs" / f"{name}.rst" for name in NAMES]
RESULTS = ROOT / "benchmarks" / "results"
MARKS = re.compile(r"(?<=\.\. begin of )(\w+)\n.*?(?=\.\. end of \1\n)", re.DOTALL)


def filled(page: str, results: Path) -> str:
    """The page with what lies between the marks replaced by the stored runs, or by how to make one."""
    return MARKS.sub(lambda found: f"{found[1]}\n\n{section(found[1], results)}\n", page)


def section(command: str, results: Path) -> str:
    """The runs of a command, on the processor and on a GPU."""
    stored = [path for path in (results / f"{command}.json", results / f"{command}-cuda.json") if path.exists()]
    if not stored:
        return f"No run is stored yet: ``python benchmarks/{command}.py``.\n"
    return "\n".join(run(json.loads(path.read_text(encoding="utf-8")), path) for path in stored)


def run(stored: dict[str, Any], path: Path) -> str:
    """Machine, figure and tables of one run."""
    machine = stored["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    threads = f"{machine['threads']} thread{'s' * (machine['threads'] > 1)}"
    where = machine["card"] or f"{machine['processor']}, {threads}"
    small = " In the reduced mode, for a look at the form only." if stored["small"] else ""
    parts = [f"*{where}; {versions}; {machine['date']}.*{small}"]
    if path.with_suffix(".png").exists():
        parts.append(f".. image:: ../benchmarks/results/{path.stem}.png\n   :alt: {stored['command']}")
    parts += [listed(**table) for table in stored["tables"]]
    parts += [f"* {note}" for note in stored["notes"]]
    return "\n\n".join(parts) + "\n"


def listed(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in reStructuredText."""
    lines = [f".. list-table:: {title}", "   :header-rows: 1", ""]
    for row in [columns, *rows]:
        for i, cell in enumerate(row):
            shown = "\\-" if cell == "-" else cell  # a dash alone would begin a list
            lines.append(f"   {'*' if i == 0 else ' '} - {shown}")
    return "\n".join(lines)


def main() -> None:
    """Writes the pages."""
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8"), RESULTS), encoding="utf-8")


if __name__ == "__main__":
    main()
