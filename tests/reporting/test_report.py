"""The report: self-contained, escaped, in plain words, for models of any rank; metrics.json under stable names."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from bayesinv.inference.checks import Checks
from bayesinv.inference.samples import Samples, labelled
from bayesinv.inference.scores import label_images, score
from bayesinv.inference.verdict import judge
from bayesinv.reporting import report, write_metrics
from bayesinv.reporting.words import is_shifted, shortfall


def axes_of(shape):
    names = ("z", "y", "x")[-len(shape) :] if len(shape) != 2 else ("z", "x")
    pairs = zip(names, shape, strict=True)
    return [SimpleNamespace(name=name, unit="mm", coordinates=np.arange(size) * 0.1) for name, size in pairs]


def checks_of(shape=(6, 8), *, factor=1.0, misfit=1.0, observations=60, name="held-out simulations"):
    """Checks of unit normal images whose samples are too narrow by `factor`."""
    random = np.random.default_rng(0)
    full = (observations, 1, *shape)
    mean, count = random.normal(size=full), 19
    x = mean + random.normal(size=full)
    samples = mean + factor * random.normal(size=(count, *full))
    drawn = {
        "rank": (samples < x).sum(0),
        "mean": samples.mean(0),
        "std": samples.std(0, ddof=1),
        "std_even": samples[::2].std(0, ddof=1),
        "std_odd": samples[1::2].std(0, ddof=1),
        "sample": samples[0],
        "baseline": mean + 1.0,
        "refined": samples.mean(0),
        "chi2_raw": np.full(observations, 4.0 * misfit) + 0.01 * random.normal(size=observations),
        "chi2_refined": np.full(observations, 1.0),
        "max_abs_sample": np.abs(samples).max(axis=(0, *range(2, samples.ndim))),
        "heldout_nats_per_dim": np.full(observations, 1.0) + random.normal(size=observations),
    }
    forward = SimpleNamespace(model_axes=axes_of(shape), quantity="pressure", unit="kPa")
    scores = score(x, x, drawn, samples=count, regions={"vessels": lambda image: image > 0.5})
    dataset = scores.dataset.merge(label_images(forward, x, drawn, samples=count, examples=2))
    provenance = {"name": name, "level": 0.9, "observations": observations, "samples": count}
    return Checks(dataset, scores.metrics, judge(scores.metrics, scores.errors), scores.errors, provenance)


def samples_of(shape=(6, 8), *, channels=1, complex_data=False):
    random = np.random.default_rng(1)
    values = random.normal(size=(30, 1, channels, *shape)).astype(np.float32)
    data = random.normal(size=(1, 1, 9, 7)) * (1j if complex_data else 1)
    sensors = [SimpleNamespace(name=n, unit="ms", coordinates=np.arange(s)) for n, s in (("t", 9), ("sensor", 7))]
    samples = Samples(
        labelled(values, axes_of(shape), leading=("sample", "observation"), quantity="pressure", unit="kPa"),
        data=labelled(data, sensors, leading=("observation",), quantity="amplitude"),
        chi2=xr.DataArray(1 + 0.1 * random.normal(size=(30, 1)), dims=("sample", "observation")),
        provenance={"command": "bayesinv demo <script>alert(1)</script>", "seconds": 1.5},
    )
    return samples.with_truth(values[0]).with_baseline(values[1])


HISTORY = [
    {
        "step": step,
        "loss": 1.0 / (step + 1),
        "heldout": 1.1 / (step + 1) if step % 3 == 0 else None,
        "learning_rate": 1e-3,
    }
    for step in range(12)
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "report.html"
    second = checks_of(factor=0.5, misfit=3.0, name="retinal <patches>")
    path = report(samples_of(), checks_of(), out=out, second=second, history=HISTORY, title="A & B <report>")
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]
    return path.read_text(encoding="utf-8")


def test_report_is_self_contained(page):
    bare = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", page)
    assert not re.search(r"https?://|//[a-z]+\.|<script|<link|@import|url\(", bare)
    assert page.count("data:image/png;base64,") == 12
    assert len(re.findall(r"<img ", page)) == 12


def test_report_escapes_what_users_write(page):
    assert "<title>A &amp; B &lt;report&gt;</title>" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "retinal &lt;patches&gt;" in page


def test_report_speaks_of_the_second_input(page):
    assert "is out of distribution" in page
    assert "they fall short by" in page
    assert "Verdict on the posterior" in page
    assert "samples.seconds" in page


def test_report_of_a_line_with_two_channels_and_complex_data(tmp_path):
    samples = samples_of((12,), channels=2, complex_data=True)
    path = report(samples, checks_of((12,), observations=5), out=tmp_path / "report.html")
    assert path.stat().st_size > 50_000


def test_report_of_a_volume_without_truth_or_companions(tmp_path):
    values = samples_of((5, 6, 7)).values
    path = report(Samples(values), checks_of((5, 6, 7), observations=5), out=tmp_path / "report.html")
    text = path.read_text(encoding="utf-8")
    assert "where the data leave the image open" in text
    with pytest.raises(ValueError, match="existing folder"):
        report(Samples(values), checks_of(observations=5), out=tmp_path / "none" / "report.html")


def test_words_know_a_shift():
    first, same = checks_of(), checks_of(name="more of the same")
    shifted = checks_of(factor=0.5)
    assert not is_shifted(same, first)
    assert is_shifted(shifted, first)
    assert is_shifted(checks_of(misfit=2.0), first)
    assert "no sign of a shift" in shortfall(same, first)[0]
    gap = 0.9 - shifted.metrics["coverage_90"]
    assert f"short by {gap:.2f}" in shortfall(shifted, first)[1]


def test_metrics_under_stable_names(tmp_path):
    checks, second = checks_of(), checks_of(factor=0.5)
    checks.metrics["contraction"] = float("nan")
    path = write_metrics(checks, tmp_path, second=second, prefix="real_", extra={"train_seconds": 12.5})
    found = json.loads(path.read_text())
    assert path.name == "metrics.json"
    assert found["contraction"] is None
    assert found["train_seconds"] == 12.5
    assert found["real_coverage_90"] == second.metrics["coverage_90"]
    names = "psnr_posterior_mean psnr_baseline psnr_refined snr_posterior_mean snr_baseline snr_refined coverage_90 "
    names += "coverage_90_vessels error_spread_correlation chi2_raw chi2_refined max_abs_sample heldout_nats_per_dim "
    names += " ".join(f"spread_ratio_bin_{number}" for number in range(1, 6))
    assert set(names.split()) <= set(found)
    assert {f"real_{name}" for name in names.split()} <= set(found)
    with pytest.raises(ValueError, match="expected every figure once"):
        write_metrics(checks, tmp_path, extra={"coverage_90": 1.0})
