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
    "memory_depth": "peak MiB, bayesinv in backward (glow), steps 2",
    "memory_size": "peak / plain, bayesinv (relu), size 32",
    "step_time": "time / plain, bayesinv (glow), 16x16, page faults removed",
    "sampling_time": "time ms, plain (relu)",
    "volumes": "peak / plain, bayesinv (glow), size 24",
    "paper_memory": "growth of what is kept, bayesinv (glow)",
    "hyperbolic_segmentation": "peak / plain, bayesinv, layers 8",
    "irim_iterations": "time / plain, checkpoint, iterations 2",
    "gradient_accuracy": "error, bayesinv (glow), steps 2",
    "plane_densities": "divergence nats, realnvp-spline, ring",
    "linear_gaussian": "deblur: gap",
    "two_modes": "least weight, median",
}
FIGURES = {  # without a picture; what is nothing, or tiny, may be zero
    "operator_checks": "failed checks, deblur",
    "bridge_overhead": "pre-stack 64x64, forward",
    "photoacoustic_speed": "ring 16x16, batch 2, adjoint, ms",
    "irim_kirchhoff": "operator calls an iteration, backward",
}
EVERY_DAY = ("memory_size", "gradient_accuracy")
OWN_NETS = ("hyperbolic_segmentation", "irim_iterations", "plane_densities", "linear_gaussian", "two_modes")


@pytest.mark.filterwarnings("ignore:.*is multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize(
    ("command", "figure"),
    [pytest.param(*item, marks=[] if item[0] in EVERY_DAY else pytest.mark.slow) for item in COMMANDS.items()],
)
def test_a_command_runs(command: str, figure: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [*LINES, "bayesinv in backward"] if command == "memory_depth" else LINES
    only = [] if command in OWN_NETS else ["--only", *lines]
    figures = importlib.import_module(command).main(["--small", "--device", "cpu", "--out", str(tmp_path), *only])
    printed = capsys.readouterr().out.splitlines()
    stored = json.loads((tmp_path / f"{command}.json").read_text(encoding="utf-8"))
    assert json.loads(printed[-1]) == figures == stored["figures"]
    assert all(isinstance(value, float) and math.isfinite(value) and value > 0 for value in figures.values())
    assert figure in figures
    assert stored["small"]
    assert all(len(row) == len(table["columns"]) for table in stored["tables"] for row in table["rows"])
    assert (tmp_path / f"{command}.png").stat().st_size > 5_000


@pytest.mark.slow
@pytest.mark.parametrize(("command", "figure"), FIGURES.items())
def test_a_command_of_figures_runs(
    command: str, figure: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = importlib.import_module(command).main(["--small", "--device", "cpu", "--out", str(tmp_path)])
    printed = capsys.readouterr().out.splitlines()
    stored = json.loads((tmp_path / f"{command}.json").read_text(encoding="utf-8"))
    assert json.loads(printed[-1]) == figures == stored["figures"]
    assert all(isinstance(value, float) and math.isfinite(value) for value in figures.values())
    assert figure in figures
    assert stored["small"]


def test_every_command_is_tested_and_in_the_table() -> None:
    text = {path.stem: path.read_text(encoding="utf-8") for path in BENCHMARKS.glob("*.py")}
    assert {name for name in text if "side_by_side.reporting" in text[name]} == {*COMMANDS, *FIGURES}
    readme = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}.py`" in readme for name in text)
