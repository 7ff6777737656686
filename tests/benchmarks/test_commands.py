"""Every command runs in its small mode: it prints, keeps and returns the same figures, and draws."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
LINES = ["bayesinv (", "plain (", "normflows"]  # a few of the many; all of them train in test_training.py
COMMANDS = {
    "memory_depth": "peak MiB, bayesinv (glow), steps 2",
    "memory_size": "peak / plain, bayesinv (relu), size 32",
    "step_time": "time / plain, bayesinv (glow), 16x16, page faults removed",
    "sampling_time": "time ms, plain (relu)",
    "volumes": "peak / plain, bayesinv (glow), size 24",
    "paper_memory": "growth of what is kept, bayesinv (glow)",
    "hyperbolic_segmentation": "peak / plain, bayesinv, layers 8",
    "irim_iterations": "time / plain, checkpoint, iterations 2",
    "gradient_accuracy": "error, bayesinv (glow), steps 2",
    "linear_gaussian": "deblur: gap",
    "two_modes": "least weight, median",
}
EVERY_DAY = ("memory_size", "gradient_accuracy")
OWN_NETS = ("hyperbolic_segmentation", "irim_iterations", "linear_gaussian", "two_modes")


@pytest.mark.filterwarnings("ignore:.*is multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize(
    ("command", "figure"),
    [pytest.param(*item, marks=[] if item[0] in EVERY_DAY else pytest.mark.slow) for item in COMMANDS.items()],
)
def test_a_command_runs(command: str, figure: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    only = [] if command in OWN_NETS else ["--only", *LINES]
    figures = importlib.import_module(command).main(["--small", "--device", "cpu", "--out", str(tmp_path), *only])
    printed = capsys.readouterr().out.splitlines()
    stored = json.loads((tmp_path / f"{command}.json").read_text(encoding="utf-8"))
    assert json.loads(printed[-1]) == figures == stored["figures"]
    assert all(isinstance(value, float) and math.isfinite(value) and value > 0 for value in figures.values())
    assert figure in figures
    assert stored["small"]
    assert all(len(row) == len(table["columns"]) for table in stored["tables"] for row in table["rows"])
    assert (tmp_path / f"{command}.png").stat().st_size > 5_000


def test_every_command_is_tested_and_in_the_table() -> None:
    text = {path.stem: path.read_text(encoding="utf-8") for path in BENCHMARKS.glob("*.py")}
    assert {name for name in text if "side_by_side.reporting" in text[name]} == set(COMMANDS)
    readme = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}.py`" in readme for name in text)
