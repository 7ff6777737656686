"""A nonlinear problem from training to the diagnosis: baseline, refinement, bounds; and full waveforms."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from toy_problems import nonlinear_problem, tiny

from bayesinv.inference import Posterior, Problem, diagnose, fit, load_problem
from bayesinv.inference.baseline import tune_baseline
from bayesinv.physics import gauss_newton_iterates


@pytest.fixture(scope="module")
def trained() -> tuple[Problem, Posterior]:
    problem = nonlinear_problem(bounds=(-2.0, 4.0))
    posterior = tiny(problem)
    fit(posterior, problem, simulations=96, epochs=3, validation=10, show_progress=False, device="cpu")
    return problem, posterior


def test_the_baseline_is_gauss_newton_stopped_at_the_best_step(trained: tuple[Problem, Posterior]) -> None:
    problem, posterior = trained
    settings = posterior.record["baseline"]
    assert settings.keys() == {"kind", "steps", "iterations", "tuned"}
    x, y, _ = problem.sample(16, seed=7)
    found = posterior.baseline(y)
    start = posterior.fiducial.expand_as(x)  # type: ignore[union-attr]
    expected = gauss_newton_iterates(
        problem.forward.operator, y, [settings["steps"]], start=start, iterations=settings["iterations"],
        bounds=(-2.0, 4.0),
    )[0]  # fmt: skip
    torch.testing.assert_close(found, expected)
    assert float((found - x).square().mean()) < 0.7 * float((start - x).square().mean())
    tuned = tune_baseline("cgls", problem.forward, x, y, start=posterior.fiducial)
    best = {**settings, **tuned}
    posterior.record["baseline"] = best
    assert float((posterior.baseline(y) - x).square().mean()) <= float((found - x).square().mean())
    with pytest.raises(ValueError, match=r"'cgls' \(Gauss-Newton\) for a nonlinear operator, got 'regularised'"):
        Posterior.build(problem, baseline="regularised")


def test_samples_keep_to_the_bounds_and_refinement_lowers_their_misfit(trained: tuple[Problem, Posterior]) -> None:
    problem, posterior = trained
    _, y, _ = problem.sample(3, seed=8)
    raw, refined = (posterior(y).sample(20, seed=1, refine=k) for k in (0, 4))
    for samples in (raw, refined):
        assert float(samples.values.min()) >= -2.0
        assert float(samples.values.max()) <= 4.0
    assert float(refined.chi2.mean()) < 0.7 * float(raw.chi2.mean())
    assert float(refined.chi2.mean()) > 0.5  # noise of each sample's own is fitted, not the record's


def test_it_is_saved_loaded_and_diagnosed(trained: tuple[Problem, Posterior], tmp_path: Path) -> None:
    problem, posterior = trained
    _, y, _ = problem.sample(2, seed=9)
    again = Posterior.load(posterior.save(tmp_path / "p.bayesinv"), problem=problem)
    torch.testing.assert_close(again.baseline(y), posterior.baseline(y))
    checks = diagnose(again, problem, simulations=8, samples=19, refine=2)
    assert {"psnr_baseline", "chi2_raw", "chi2_refined"} <= checks.metrics.keys()


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("deepwave") is None, reason="needs the extra 'wave'")
def test_full_waveforms_end_with_a_posterior() -> None:
    problem = load_problem("seismic-fwi", size=16)
    posterior = tiny(problem)
    fit(posterior, problem, simulations=16, epochs=1, validation=4, show_progress=False, device="cpu")
    x, y, _ = problem.sample(1, seed=3)
    raw, refined = (posterior(y[0]).sample(4, seed=1, refine=k) for k in (0, 2))
    assert float(refined.chi2.mean()) < float(raw.chi2.mean())
    start = posterior.fiducial
    assert float((posterior.baseline(y) - x).norm()) < float((start - x).norm())
