"""The commands about calibration run in their small mode: they print, keep and return the same figures."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "out", "figure"),
    [
        ("beside_sbi", "", "C2ST, two-moons 200, bayesinv"),
        ("planted_faults", "planted_faults.jsonl", "deblur, data ignored: verdict objects"),
        ("gate", "", "deblur, noise x 2: area under the ROC curve"),
        ("undertrained", "", "share of verdicts 'do not trust'"),
    ],
)
def test_a_command_runs(
    command: str, out: str, figure: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = importlib.import_module(command).main(["--small", "--out", str(tmp_path / out)])
    stored = json.loads((tmp_path / f"{command}.json").read_text(encoding="utf-8"))
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == figures == stored["figures"]
    assert all(math.isfinite(value) for value in figures.values())
    assert figures[figure] > 0.5
    assert stored["small"]
    assert all(len(row) == len(table["columns"]) for table in stored["tables"] for row in table["rows"])
