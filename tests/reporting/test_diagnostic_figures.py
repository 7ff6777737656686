"""Every diagnostic has a figure that is drawn from its dataset, on finite axes, with its figures in the titles."""

from __future__ import annotations

import io
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from exact_problems import exact_problem
from faulty_posteriors import Faulty

from bayesinv.inference import Problem, Samples, diagnose
from bayesinv.inference.exact import ExactPosterior
from bayesinv.inference.heldout import HeldOut
from bayesinv.inference.importance import importance_weights
from bayesinv.inference.mean_accuracy import mean_accuracy, samples_needed
from bayesinv.inference.pit import pit_maps
from bayesinv.inference.predictive import predictive_check
from bayesinv.inference.proper_scores import proper_scores
from bayesinv.inference.samples import labelled
from bayesinv.inference.sbc import expected_coverage, sbc
from bayesinv.inference.spread import error_against_spread, z_against_contraction
from bayesinv.inference.tarp import tarp
from bayesinv.physics import ForwardModel, GaussianNoise
from bayesinv.reporting import figures, rank_figures, report, score_figures
from bayesinv_datasets.matern import GaussianField

DIAGNOSTICS = {
    "sbc": (sbc, rank_figures.sbc_figure),
    "coverage": (expected_coverage, rank_figures.coverage_figure),
    "tarp": (tarp, rank_figures.tarp_figure),
    "pit": (pit_maps, rank_figures.pit_figure),
    "scores": (proper_scores, score_figures.score_figure),
    "contraction": (z_against_contraction, score_figures.contraction_figure),
    "spread": (error_against_spread, score_figures.spread_figure),
    "predictive": (predictive_check, score_figures.predictive_figure),
    "accuracy": (mean_accuracy, score_figures.accuracy_figure),
    "samples": (samples_needed, score_figures.samples_figure),
}


@pytest.fixture(scope="module")
def problem():
    return exact_problem("inpaint", size=8)


@pytest.fixture(scope="module")
def held(problem):
    return HeldOut(Faulty(problem, "mean shifted"), problem, simulations=30, samples=19, keep=True)


def drawn(figure) -> str:
    """All the text of a figure that can be saved and whose axes are finite."""
    figure.savefig(io.BytesIO(), format="png", dpi=50)
    for axes in figure.axes:
        assert np.isfinite([*axes.get_xlim(), *axes.get_ylim()]).all()
    return " ".join(
        text.get_text() for axes in figure.axes for text in (axes.title, axes.xaxis.label, axes.yaxis.label)
    )


@pytest.mark.parametrize("name", DIAGNOSTICS)
def test_figure_of_a_diagnostic(held, name):
    diagnostic, figure = DIAGNOSTICS[name]
    found = diagnostic(held)
    assert isinstance(found, xr.Dataset)
    assert drawn(figure(found)).strip()


SHAPES = {"vector": (6,), "line": (1, 12), "two channels": (2, 8, 6), "volume": (1, 4, 5, 3)}


class Halved:
    """``y = x / 2`` for images of any shape."""

    def __init__(self, shape):
        self.model_shape = self.data_shape = shape

    def __call__(self, model):
        return model / 2

    adjoint = __call__


@pytest.fixture(scope="module", params=SHAPES)
def of_a_shape(request):
    """Name of a shape, a problem of such images, and held-out pairs."""
    shape = SHAPES[request.param]
    prior = GaussianField(shape, np.zeros(shape), np.eye(math.prod(shape)) + 0.2)
    problem = Problem(prior, ForwardModel(Halved(shape), GaussianNoise(0.2, relative=False), name="halved"))
    return request.param, problem, HeldOut(Faulty(problem), problem, simulations=20, samples=9, keep=True)


@pytest.mark.parametrize("name", DIAGNOSTICS)
def test_figures_of_images_of_any_shape(of_a_shape, name):
    _, _, held = of_a_shape
    diagnostic, figure = DIAGNOSTICS[name]
    assert drawn(figure(diagnostic(held))).strip()


@pytest.mark.parametrize("name", ["coverage", "pit"])
def test_maps_are_of_each_channel_or_number(of_a_shape, name):
    kind, _, held = of_a_shape
    diagnostic, figure = DIAGNOSTICS[name]
    picture = figure(diagnostic(held))
    words = drawn(picture)
    assert (", channel 0" in words and ", channel 1" in words) is (kind == "two channels")
    if kind == "vector":
        axes = next(axes for axes in picture.axes if axes.get_xlabel() == "number")
        assert axes.lines[0].get_marker() == "o"
        assert axes.lines[0].get_xdata().tolist() == list(range(6))
        low, high = axes.get_ylim()
        assert ((axes.lines[0].get_ydata() > low) & (axes.lines[0].get_ydata() < high)).all()


def test_a_report_of_images_of_any_shape(of_a_shape, tmp_path):
    _, problem, held = of_a_shape
    x, y, sigma = problem.sample(1, 0)
    samples = held.posterior(y, sigma).sample(20, seed=0)
    forward, leading = problem.forward, ("observation",)
    truth, data = labelled(x, forward.model_axes, leading=leading), labelled(y, forward.data_axes, leading=leading)
    known = replace(samples, truth=truth, baseline=samples.values[0], data=data)
    checks = diagnose(held.posterior, problem, simulations=12, samples=9)
    page = report(known, checks, out=tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png") >= 8


def test_profiles_of_a_vector_are_the_intervals_of_its_numbers():
    values = np.random.default_rng(0).normal(size=(50, 1, 6)) + np.arange(6)
    samples = Samples(labelled(values, (), leading=("sample", "observation"))).observation(0)
    axes = figures.profile_figure(samples, level=0.8).axes[0]
    ends = np.array([[bar.vertices[:, 1] for bar in lines.get_paths()] for lines in axes.collections])
    expected = np.quantile(values[:, 0], [[0.1, 0.25], [0.9, 0.75]], axis=0, method="weibull")
    np.testing.assert_allclose(ends, expected.transpose(1, 2, 0))
    assert axes.get_xlabel() == "number"


def test_a_fault_is_red(held, problem):
    """The line of a functional turns red where, and only where, it leaves its band."""
    for posterior, colours in ((held.posterior, True), (ExactPosterior(problem.prior, problem.forward), False)):
        found = sbc(HeldOut(posterior, problem, simulations=60, samples=19, seed=3), density=False)
        figure = rank_figures.sbc_figure(found.sel(functional=["pixels"]))
        assert (figure.axes[0].lines[0].get_color() == "#cb181d") is colours


def test_figures_of_classifiers_and_weights(problem):
    two = xr.Dataset(
        {"accuracy": ("fold", [0.5, 0.52]), "c2st": 0.51, "c2st_error": 0.02}, attrs={"classifier": "forest"}
    )
    assert "forest" in drawn(score_figures.classifier_figure(two))
    local = xr.Dataset(
        {
            "statistic": 0.05,
            "null_statistic": ("null", [0.01, 0.02]),
            "p_value": 0.03,
            "probability": ("sample", [0.4, 0.6]),
        }
    )
    assert "p = 0.03" in drawn(score_figures.local_figure(local))
    _, y, sigma = problem.sample(1, seed=0)
    exact = ExactPosterior(problem.prior, problem.forward)(y, sigma)
    found = importance_weights(exact, exact.sample(50), problem.prior, problem.forward)
    assert "ESS 50 of 50" in drawn(score_figures.weight_figure(found))


def test_report_holds_the_functionals_and_the_gate(tmp_path, problem):
    posterior = Faulty(problem, "uncorrelated")
    checks = diagnose(posterior, problem, simulations=20, samples=19)
    samples = posterior(problem.sample(1, 0)[1]).sample(20, seed=0)
    for p, words in ((0.3, "are like the simulated ones"), (0.005, "are unlike the simulated ones")):
        samples.provenance["gate_p_value"] = [p]
        page = report(samples, checks, out=tmp_path / "report.html").read_text(encoding="utf-8")
        assert words in page
    assert "ECDF of the rank of the target" in page
    assert "Functionals:" in page
    assert "Ranks of functionals:" in page
    del samples.provenance["gate_p_value"]
    assert "simulated ones" not in report(samples, checks, out=tmp_path / "report.html").read_text(encoding="utf-8")
