"""The plug-in to copy: it passes the checks, the page shows it word for word, and, installed, it is found by name."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from bayesinv.physics import check

OPERATORS = Path(__file__).resolve().parents[2] / "operators"
FOLDER = OPERATORS / "copy_me"
PROJECT = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]
((NAME, TARGET),) = PROJECT["entry-points"]["bayesinv.operators"].items()
MODULE, FACTORY = TARGET.split(":")


def factory():
    spec = importlib.util.spec_from_file_location(MODULE, FOLDER / f"{MODULE}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, FACTORY)


def test_it_passes_every_check_and_is_short():
    forward = factory()()
    assert forward.name == NAME
    assert [result for result in check(forward) if not result.passed] == []
    assert len((FOLDER / f"{MODULE}.py").read_text().splitlines()) < 40
    with pytest.raises(ValueError, match="odd width"):
        factory()(width=4)


def test_the_page_shows_it_word_for_word():
    page = (OPERATORS / "README.md").read_text()
    assert (FOLDER / f"{MODULE}.py").read_text() in page
    assert f'[project.entry-points."bayesinv.operators"]\n{NAME} = "{TARGET}"' in page
    for name in ("from_pylops", "from_callables", "from_simulator", "restrict", "Spectrum", "PoissonNoise"):
        assert name in page


def test_the_page_lists_every_plug_in_that_is_shipped():
    shipped = tomllib.loads((OPERATORS.parent / "pyproject.toml").read_text())["project"]["entry-points"]
    page = (OPERATORS / "README.md").read_text()
    assert [name for name in shipped["bayesinv.operators"] if f"| `{name}` |" not in page] == []


def test_its_commands_are_understood():
    """Parsed as the command line would, none is run."""
    import shlex

    from typer.main import get_command

    from bayesinv.cli import app

    lines = [line for line in (OPERATORS / "README.md").read_text().splitlines() if line.startswith("bayesinv ")]
    assert len(lines) == 7
    for line in lines:
        _, verb, *words = shlex.split(line)
        command = get_command(app).commands[verb]
        assert command.make_context(verb, words).command is command
    with pytest.raises(Exception, match="--small"):
        get_command(app).commands["fit"].make_context("fit", ["motion-blur", "--small"])


@pytest.mark.slow
def test_a_copy_is_installed_and_found_by_its_entry_point(tmp_path):
    copy, site = tmp_path / "copy", tmp_path / "site"
    shutil.copytree(FOLDER, copy)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(copy)]
    subprocess.run(pip, check=True, capture_output=True, text=True)
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": path}

    def run(*arguments):
        return subprocess.run(
            [sys.executable, *arguments], env=environment, capture_output=True, text=True, cwd=tmp_path, check=False
        )

    checked = run("-c", "from bayesinv.cli import app; app()", "check", NAME)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{NAME}: all" in checked.stdout
    code = f"import bayesinv as bi; p = bi.load_problem({NAME!r}, size=16); print(p, p.sample(2, 0)[1].shape)"
    loaded = run("-c", code)
    assert "data (1, 16, 16)" in loaded.stdout, loaded.stderr
    tests = run("-m", "pytest", "-q", "-p", "no:cacheprovider", str(copy / f"test_{MODULE}.py"))
    assert tests.returncode == 0, tests.stdout
