"""Laws of the repository itself: lazy import, honest names, no shadowed package, nothing that loads by running code."""

from __future__ import annotations

import ast
import importlib.util
import itertools
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import bayesinv

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = [ROOT / "bayesinv", ROOT / "operators/bayesinv_operators", ROOT / "datasets/bayesinv_datasets"]
MODULES = sorted(path for package in PACKAGES for path in package.rglob("*.py"))
HEAVY = ("torch", "numpy", "scipy", "pylops", "xarray", "pandas", "netCDF4", "matplotlib", "lightning_fabric", "arviz")


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def plain_names(*requirements: str) -> set[str]:
    return {re.split(r"[<>=\[~! ]", line)[0].lower().replace("_", "-") for line in requirements}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def heavy_after(code: str) -> str:
    """Which heavy packages a fresh interpreter has loaded after `code`, its last line of output."""
    code += f"\nimport sys\nprint('\\n' + ' '.join(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module or "")
    return found


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert heavy_after("import bayesinv") == ""


@pytest.mark.skipif(importlib.util.find_spec("bayesinv.cli") is None, reason="there is no command line yet")
@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--help"]])
def test_help_on_the_command_line_loads_nothing_heavy(arguments: list[str]) -> None:
    assert heavy_after(f"from bayesinv.cli import app\napp({arguments}, standalone_mode=False)") == ""


@pytest.mark.parametrize("name", bayesinv.__all__)
def test_promised_name_is_there(name: str) -> None:
    assert name in dir(bayesinv)
    assert getattr(bayesinv, name) is not None


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Posteriors'"):
        _ = bayesinv.Posteriors


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_public_module_lists_its_names(path: Path) -> None:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    private = path.stem.startswith("_") and path.stem != "__init__"
    if private or all(isinstance(node, ast.Expr) for node in body):
        pytest.skip("private, or a docstring only: nothing to list")
    listed = [node for node in body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"]
    assert listed, "expected __all__"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_loads_by_running_code(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not {name.split(".")[0] for name in imports(ast.parse(text))} & {
        "pickle",
        "cloudpickle",
        "dill",
        "joblib",
        "shelve",
    }
    assert not re.search(r"\btorch\.(load|save)\(|allow_pickle=True", text)


@pytest.mark.parametrize("folder", ["operators", "datasets", "tests", "examples", "tutorials", "benchmarks"])
def test_folder_shadows_no_package(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()


@pytest.mark.parametrize(
    "page", ["CONTRIBUTING.md", "bayesinv/reversible/README.md", "operators/README.md", "datasets/README.md"]
)
def test_page_on_how_to_add_one_exists(page: str) -> None:
    assert (ROOT / page).stat().st_size > 0


def test_every_import_is_a_declared_dependency() -> None:
    declared = plain_names(*PROJECT["dependencies"], *itertools.chain(*PROJECT["optional-dependencies"].values()))
    declared = {"astra" if name == "astra-toolbox" else name.replace("-", "_") for name in declared}
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in MODULES]
    used = {name.split(".")[0].lower() for tree in trees for name in imports(tree)} - sys.stdlib_module_names
    assert used - {"bayesinv", "bayesinv_operators", "bayesinv_datasets"} <= declared


def test_constraints_fix_every_dependency() -> None:
    extras = PROJECT["optional-dependencies"]
    wanted = plain_names(*PROJECT["dependencies"], *extras["arviz"], *extras["dev"], *extras["docs"]) - {"bayesinv"}
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.+!]+", pin) for pin in pins)
    assert wanted <= plain_names(*pins)
