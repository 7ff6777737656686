"""Every example and every tutorial runs as a script, in its small mode, without a warning."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
TUTORIALS = sorted((ROOT / "tutorials").glob("*.py"))
EVERY_DAY = ("plot_own_operator", "plot_reversible_layer")  # all together take two minutes
RUNS = [
    pytest.param(path, id=path.stem, marks=[] if path.stem in EVERY_DAY else pytest.mark.slow)
    for path in [*EXAMPLES, *TUTORIALS]
]


def test_there_are_scripts() -> None:
    assert len(EXAMPLES) >= 5
    assert {path.stem for path in TUTORIALS} >= {"photoacoustic", "seismic"}


@pytest.mark.parametrize("path", [*EXAMPLES, *TUTORIALS], ids=lambda path: path.stem)
def test_a_script_begins_with_a_title(path: Path) -> None:
    words = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    title, underline, blank, *text = words.splitlines()
    assert title, "no title"
    assert underline == "=" * len(title)
    assert not blank
    assert text, "nothing is said below the title"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short(path: Path) -> None:
    assert path.name.startswith("plot_")
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 60


@pytest.mark.parametrize("path", RUNS)
def test_a_script_runs(path: Path, tmp_path: Path) -> None:
    hidden = ("DISPLAY", "WAYLAND_DISPLAY")  # with a screen, Agg warns that it cannot show a figure there
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {"BAYESINV_SMOKE": "1", "MPLBACKEND": "Agg", "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert not done.stderr, done.stderr
