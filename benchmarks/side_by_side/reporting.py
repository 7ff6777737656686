"""What the commands share: their options, tables in text, and the files in which a run is kept."""

from __future__ import annotations

import argparse
import importlib.metadata
import io
import json
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["MIB", "Options", "Report", "Table", "against", "options"]

MIB = 2**20
RESULTS = Path(__file__).resolve().parents[1] / "results"


@dataclass(frozen=True)
class Options:
    """What every command takes."""

    small: bool
    out: Path
    device: str
    only: tuple[str, ...]

    def chosen(self, lines: Sequence[str]) -> list[str]:
        """The lines that are wanted."""
        return [line for line in lines if not self.only or any(part in line for part in self.only)]


def options(
    description: str, arguments: Sequence[str] | None, *, parents: Sequence[argparse.ArgumentParser] = ()
) -> Options:
    """Reads the command line; options of the command's own come as parents."""
    parser = argparse.ArgumentParser(description=description, parents=parents)
    parser.add_argument("--small", action="store_true", help="a reduced run of seconds")
    parser.add_argument("--out", type=Path, help="where the figure and the numbers go (default: benchmarks/results)")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is one")
    parser.add_argument("--only", nargs="+", default=[], metavar="PART", help="only lines whose name holds a part")
    read = parser.parse_args(arguments)
    out = read.out or (Path("runs/benchmarks") if read.small else RESULTS)
    return Options(read.small, out, read.device or _device(), tuple(read.only))


def _device() -> str:
    """Asks the driver only: a process that has set up CUDA could not fork."""
    return "cuda" if Path("/proc/driver/nvidia/version").exists() else "cpu"


@dataclass(frozen=True)
class Table:
    """Named columns of text."""

    title: str
    columns: Sequence[str]
    rows: list[list[str]] = field(default_factory=list)

    def __str__(self) -> str:
        widths = [max(len(row[i]) for row in [list(self.columns), *self.rows]) for i in range(len(self.columns))]
        lines = []
        for cells in [self.columns, ["-" * width for width in widths], *self.rows]:
            first, *others = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
            lines.append("  ".join([first.strip().ljust(widths[0]), *others]).rstrip())
        return "\n".join([self.title, *lines])


@dataclass
class Report:
    """What a command has found."""

    command: str
    options: Options
    figures: dict[str, float | None] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Something that the reader must know, once."""
        if text not in self.notes:
            self.notes.append(text)
            print(text, flush=True)

    def finish(self, picture: Figure | None) -> dict[str, float | None]:
        """Writes the files and prints tables, then on the last line all figures as one JSON object."""
        self.options.out.mkdir(parents=True, exist_ok=True)
        stored = {
            "command": self.command,
            "small": self.options.small,
            "machine": machine(self.options.device),
            "notes": self.notes,
            "figures": self.figures,
            "tables": [asdict(table) for table in self.tables],
        }
        name = self.command if self.options.device == "cpu" else f"{self.command}-{self.options.device}"
        path = self.options.out / f"{name}.json"
        fresh = path.with_suffix(".json.new")
        fresh.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
        fresh.replace(path)
        if picture is not None:
            _drawn(picture, path.with_suffix(".png"))
        for table in self.tables:
            print(f"\n{table}")
        print(f"\n{path}")
        print(json.dumps(self.figures), flush=True)
        return self.figures


def against(
    report: Report, title: str, rows: Sequence[tuple[str, float, float | None]], *, least: bool = False
) -> None:
    """A table of figures and of what is asked of them, at most or at least; the figures go with the report."""
    word = "at least" if least else "at most"
    cells = [[name, f"{value:.3g}", "-" if asked is None else f"{word} {asked:.3g}"] for name, value, asked in rows]
    report.tables.append(Table(title, ["figure", "measured", "asked"], cells))
    report.figures |= {name: float(value) for name, value, _ in rows}


def _drawn(picture: Figure, path: Path) -> None:
    """In 256 colours, a third of the bytes."""
    from PIL import Image

    drawn = io.BytesIO()
    picture.savefig(drawn, dpi=150)
    Image.open(drawn).convert("RGB").quantize(256).save(path, optimize=True)


def machine(device: str) -> dict[str, Any]:
    """On what a run was made."""
    import torch

    processor = platform.processor()
    if (info := Path("/proc/cpuinfo")).exists() and (found := re.search(r"model name\s*: (.*)", info.read_text())):
        processor = found[1]
    card = torch.cuda.get_device_name() if device == "cuda" and torch.cuda.is_available() else None
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": processor,
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "memory_GiB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "card": card,
        "python": platform.python_version(),
        "versions": {
            name: found for name in ("bayesinv", "torch", "normflows", "FrEIA", "memcnn") if (found := _version(name))
        },
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
