"""The command line as a user meets it: help, lists, the chain of verbs, and mistakes that come out as one line."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from typer.testing import CliRunner

import bayesinv as bi
from bayesinv.cli import app
from bayesinv.cli.arguments import parse_settings
from bayesinv.cli.demo import VERBS
from bayesinv.cli.recipes import RECIPES, recipe_of
from bayesinv.inference import load_pairs

FIT = ["fit", "deblur", "--set", "size=16", "--simulations", "64", "--epochs", "1", "--validation", "8", "--steps", "1"]
VERB_NAMES = ["demo", "operators", "check", "simulate", "fit", "sample", "diagnose", "report"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run(*words: Any, code: int = 0) -> str:
    """What a command prints, both streams; one blank for any white space."""
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "160", "TERM": "dumb"})
    assert result.exit_code == code, result.output + repr(result.exception)
    assert "Traceback" not in result.output
    return " ".join(result.output.split())


def mistake(*words: Any) -> str:
    """The one line of a mistake."""
    printed = run(*words, code=2)
    assert printed.count("error: ") == 1
    return printed[printed.index("error: ") :]


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder after simulate, fit, sample, diagnose and report."""
    folder = tmp_path_factory.mktemp("chain")
    pairs, trained = folder / "pairs.zarr", folder / "run"
    run("simulate", "deblur", "-n", 64, "--seed", 3, "--out", pairs, "--set", "size=16")
    run("fit", "deblur", "--set", "size=16", "--simulations", pairs, "--epochs", 1, "--validation", 8, "--steps", 1,
        "--out", trained)  # fmt: skip
    run("sample", trained, pairs, "--record", 5, "-n", 20, "--refine", 2, "--out", trained / "samples.nc")
    run("diagnose", trained, "--simulations", 6, "--samples", 19, "--refine", 2)
    run("report", trained / "samples.nc", "--out", trained / "report.html")
    return folder


# ------------------------------------------------------------------------------------------------------- what it can do
@pytest.mark.parametrize("verb", VERB_NAMES)
def test_every_verb_explains_itself_with_an_example(verb: str) -> None:
    text = run(verb, "--help")
    assert f"Example: bayesinv {verb}" in text
    assert "--out" in text or verb in ("operators", "check")


def test_help_lists_every_verb() -> None:
    text = run("--help")
    assert all(verb in text for verb in VERB_NAMES)


def test_operators_lists_operators_and_priors() -> None:
    text = run("operators")
    assert all(name in text for name in ("photoacoustic-line", "seismic-poststack", "deblur", "vessels", "retina"))


def test_check_passes_for_an_installed_operator() -> None:
    assert "deblur: all 15 checks passed" in run("check", "deblur", "--set", "size=12")


def test_a_failing_check_ends_with_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    from bayesinv.physics import checks

    failed = checks.CheckResult("dot test", False, 0.5, 1e-12, "adjoint is the transpose")
    monkeypatch.setattr(checks, "check", lambda forward_model: [failed])
    assert "1 of 1 checks failed: dot test" in run("check", "deblur", code=1)


def test_the_chain_of_verbs_ends_with_a_report(chain: Path) -> None:
    folder = chain / "run"
    assert "<html" in (folder / "report.html").read_text()
    metrics = json.loads((folder / "metrics.json").read_text())
    assert {"coverage_90", "chi2_refined", "psnr_baseline", "verdict"} <= metrics.keys()
    samples = bi.Samples.load(folder / "samples.nc")
    assert len(samples) == 20
    x, y, sigma = load_pairs(chain / "pairs.zarr", bi.load_problem("deblur", size=16))
    assert np.array_equal(samples.truth.to_numpy(), x[5].numpy())  # type: ignore[union-attr]
    assert np.array_equal(samples.data.to_numpy(), y[5].numpy())  # type: ignore[union-attr]
    assert float(samples.sigma) == float(sigma[5])  # type: ignore[arg-type]


def test_the_same_fit_again_reuses_the_run(chain: Path) -> None:
    file = chain / "run" / "posterior.bayesinv"
    before = file.read_bytes()
    began = time.perf_counter()
    run("fit", "deblur", "--set", "size=16", "--simulations", chain / "pairs.zarr", "--epochs", 1, "--validation", 8,
        "--steps", 1, "--out", chain / "run")  # fmt: skip
    assert time.perf_counter() - began < 10
    assert file.read_bytes() == before


def test_samples_do_not_depend_on_the_kind_of_file(chain: Path, tmp_path: Path) -> None:
    posterior = chain / "run" / "posterior.bayesinv"
    _, y, sigma = load_pairs(chain / "pairs.zarr", bi.load_problem("deblur", size=16))
    np.save(tmp_path / "y.npy", y[5].numpy())
    xr.DataArray(y[5].numpy(), dims=("channel", "z", "x"), name="trace").to_netcdf(tmp_path / "y.nc")
    values = []
    for name in ("y.npy", "y.nc"):
        run("sample", posterior, tmp_path / name, "-n", 20, "--refine", 2, "--sigma", float(sigma[5]),
            "--out", tmp_path / "s.nc")  # fmt: skip
        values.append(bi.Samples.load(tmp_path / "s.nc").values.to_numpy())
    assert np.array_equal(values[0], values[1])
    assert np.array_equal(values[0], bi.Samples.load(chain / "run" / "samples.nc").values.to_numpy())


def test_recipes_name_plugins_that_are_there_and_shrink() -> None:
    assert len(VERBS) == 1
    for name, recipe in RECIPES.items():
        small = recipe_of(name, small=True)
        assert small.size == 32
        assert small.fit["simulations"] < recipe.fit["simulations"]
        bi.physics.plugins.load(recipe.second.prior, "priors")(size=32, **recipe.second.prior_parameters)
        bi.physics.plugins.load(name)(size=32, **recipe.second.operator_parameters)


def test_settings_are_json_or_words() -> None:
    assert parse_settings(["noise=[0.02, 0.1]", "tails=laplace", "size=8"]) == {
        "noise": [0.02, 0.1], "tails": "laplace", "size": 8,
    }  # fmt: skip
    with pytest.raises(ValueError, match="KEY=VALUE"):
        parse_settings(["size"])


# ------------------------------------------------------------------------------------------------------------- mistakes
@pytest.mark.parametrize("verb", ["check", "simulate", "fit", "demo"])
def test_an_unknown_name_offers_the_near_one(verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "did you mean 'photoacoustic-line'?" in mistake(verb, "photoacustic-line")
    assert not list(tmp_path.glob("runs/*"))


def test_an_unknown_setting_names_the_known_ones() -> None:
    assert "blur" in mistake("check", "deblur", "--set", "blurr=2")
    assert "blur" in mistake("simulate", "deblur", "--set", "blurr=2")


@pytest.mark.parametrize("verb", ["simulate", "fit", "demo", "sample", "diagnose", "report"])
def test_an_output_below_a_file_is_refused_before_any_work(verb: str, chain: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    posterior, out = chain / "run", tmp_path / "file" / "below"
    words = {
        "simulate": ["deblur"], "fit": FIT[1:], "demo": ["--small"], "sample": [posterior, chain / "pairs.zarr"],
        "diagnose": [posterior], "report": [posterior / "samples.nc"],
    }[verb]  # fmt: skip
    assert str(out) in mistake(verb, *words, "--out", out)
    assert (tmp_path / "file").read_text() == "mine"


def test_other_settings_in_the_same_folder_are_refused(chain: Path) -> None:
    file = chain / "run" / "posterior.bayesinv"
    before = file.read_bytes()
    assert "--restart" in mistake(*FIT, "--out", chain / "run")
    assert file.read_bytes() == before


@pytest.mark.parametrize("damage", ["truncated", "tampered", "foreign", "missing"])
def test_a_damaged_posterior_is_refused(damage: str, chain: Path, tmp_path: Path) -> None:
    content = bytearray((chain / "run" / "posterior.bayesinv").read_bytes())
    file = tmp_path / "posterior.bayesinv"
    if damage == "truncated":
        content = content[: len(content) // 2]
    elif damage == "tampered":
        content[-100] ^= 1
    elif damage == "foreign":
        content = bytearray(b"PK\x03\x04 not a posterior")
    if damage != "missing":
        file.write_bytes(content)
    said = mistake("sample", file, chain / "pairs.zarr", "--record", 0, "--out", tmp_path / "samples.nc")
    assert "expected a posterior file" in said
    assert not (tmp_path / "samples.nc").exists()


def data_of(kind: str, folder: Path, pairs: Path) -> list[Any]:
    """Words that name bad data."""
    y = np.zeros((1, 16, 16), dtype=np.float32)
    if kind == "wrong shape":
        y = y[..., :15]
    elif kind == "nan":
        y[0, 3, 4] = np.nan
    elif kind == "integers":
        y = y.astype(np.int32)
    elif kind == "silence":
        pass
    elif kind == "several records":
        return [pairs]
    elif kind == "no such record":
        return [pairs, "--record", 64]
    elif kind == "damaged":
        (folder / "y.npy").write_bytes(b"\x93NUMPY")
        return [folder / "y.npy"]
    elif kind == "another operator":
        y += 1
        marked = xr.DataArray(y, dims=("channel", "z", "x"), name="y", attrs={"operator": "0123456789abcdef"})
        marked.to_netcdf(folder / "y.nc")
        return [folder / "y.nc"]
    np.save(folder / "y.npy", y)
    return [folder / "y.npy"]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("wrong shape", "16, 15)"),
        ("nan", "finite"),
        ("integers", "int32"),
        ("silence", "positive, finite noise levels"),
        ("several records", "--record 0 to 63"),
        ("no such record", "--record 0 to 63"),
        ("damaged", "damaged"),
        ("another operator", "marked as of"),
    ],
)
def test_bad_data_are_refused(kind: str, said: str, chain: Path, tmp_path: Path) -> None:
    words = data_of(kind, tmp_path, chain / "pairs.zarr")
    assert said in mistake("sample", chain / "run", *words, "--out", tmp_path / "samples.nc")
    assert not (tmp_path / "samples.nc").exists()


def test_a_report_without_checks_says_how_to_make_them(chain: Path, tmp_path: Path) -> None:
    shutil.copy(chain / "run" / "samples.nc", tmp_path)
    assert "bayesinv diagnose" in mistake("report", tmp_path / "samples.nc", "--out", tmp_path / "report.html")


def test_an_interruption_ends_with_code_130(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import bayesinv.inference as inference

    def interrupted(*words: object, **settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(inference, "simulate", interrupted)
    assert "interrupted" in run("simulate", "deblur", "--set", "size=16", "--out", tmp_path / "p.zarr", code=130)
