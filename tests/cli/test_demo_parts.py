"""Both demos with all their parts, tiny: the files they leave, under which names; a finished run is reused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bayesinv.cli import app
from bayesinv.cli.recipes import RECIPES
from bayesinv.inference import Checks, Posterior, Samples

FILES = {
    "checkpoint.safetensors", "checks.nc", "history.json", "metrics.json", "posterior.bayesinv", "report.html",
    "samples.nc", "samples_refined.nc",
}  # fmt: skip
FIGURES = {
    "psnr_posterior_mean", "psnr_baseline", "psnr_refined", "snr_posterior_mean", "snr_baseline", "snr_refined",
    "coverage_90", "error_spread_correlation", "chi2_raw", "chi2_refined", "max_abs_sample", "heldout_nats_per_dim",
    "spread_ratio_bin_1", "spread_ratio_bin_5",
}  # fmt: skip


@pytest.mark.parametrize(("name", "prefix"), [("photoacoustic-line", "real"), ("seismic-poststack", "shifted")])
def test_a_demo_leaves_every_file_and_figure(
    name: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = RECIPES[name]
    tiny = {"simulations": 16, "epochs": 1, "validation": 4}
    recipe = replace(
        recipe, size=16, fit={**recipe.fit, **tiny}, build={**recipe.build, "steps": 1},
        second=replace(recipe.second, count=3), heldout=3, samples=9, draws=8, refine=2,
    )  # fmt: skip
    monkeypatch.setitem(RECIPES, name, recipe)
    command = ["demo", name, "--out", str(tmp_path)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "Verdict on held-out simulations" in said
    assert "Verdict on the second input" in said
    assert "Intervals of nominal level" in said
    assert {path.name for path in tmp_path.iterdir()} == FILES | {f"checks_{prefix}.nc"}

    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics.keys() >= FIGURES | {f"{prefix}_{figure}" for figure in FIGURES}
    assert metrics.keys() >= {"train_seconds", "total_seconds", "temperature"}
    samples = Samples.load(tmp_path / "samples.nc")
    assert len(samples) == 8
    assert samples.truth is not None
    assert samples.baseline is not None
    assert Samples.load(tmp_path / "samples_refined.nc").provenance["refine"] == 2
    assert Checks.load(tmp_path / f"checks_{prefix}.nc").provenance["name"] == recipe.second.name
    assert Posterior.load(tmp_path / "posterior.bayesinv").problem.name == name
    assert recipe.second.name in (tmp_path / "report.html").read_text()

    before = (tmp_path / "posterior.bayesinv").stat().st_mtime_ns
    if name == "photoacoustic-line":
        again = CliRunner().invoke(app, command)
        assert again.exit_code == 0, again.output
        assert (tmp_path / "posterior.bayesinv").stat().st_mtime_ns == before
        repeated = json.loads((tmp_path / "metrics.json").read_text())
        assert {**repeated, "total_seconds": 0} == {**metrics, "total_seconds": 0}
