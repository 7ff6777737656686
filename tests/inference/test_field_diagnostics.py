"""Diagnostics of images on exact posteriors, which pass, and on planted faults, which the right one finds."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from exact_problems import exact_problem
from faulty_posteriors import Faulty

from bayesinv.inference.accuracy import ssim
from bayesinv.inference.diagnostics import diagnose
from bayesinv.inference.ecdf import ecdf_difference
from bayesinv.inference.exact import ExactPosterior
from bayesinv.inference.functionals import evaluate, standard_functionals
from bayesinv.inference.heldout import HeldOut
from bayesinv.inference.mean_accuracy import mean_accuracy, samples_needed
from bayesinv.inference.pit import pit_maps
from bayesinv.inference.predictive import _at_level, predictive_check
from bayesinv.inference.proper_scores import crps, energy_score, proper_scores, variogram_score
from bayesinv.inference.sbc import expected_coverage, functional_ranks, sbc
from bayesinv.inference.spread import error_against_spread, z_against_contraction
from bayesinv.inference.tarp import tarp
from bayesinv.physics import GaussianNoise, PoissonNoise, SignalDependentNoise

COUNT, SAMPLES = 80, 49


@pytest.fixture(scope="module")
def problem():
    return exact_problem("inpaint", size=8)


@pytest.fixture(scope="module")
def held(problem):
    """One for each fault, drawn once."""
    made: dict[str, HeldOut] = {}

    def get(fault: str = "exact") -> HeldOut:
        if fault not in made:
            made[fault] = HeldOut(
                Faulty(problem, fault), problem, simulations=COUNT, samples=SAMPLES, seed=11, keep=True
            )
        return made[fault]

    return get


def test_observations_are_keyed_and_kept(problem):
    posterior = ExactPosterior(problem.prior, problem.forward)
    few, many = (HeldOut(posterior, problem, simulations=n, samples=9, seed=3) for n in (3, 5))
    for one, other in zip(few, list(many)[:3], strict=True):
        np.testing.assert_array_equal(one.values, other.values)
        np.testing.assert_array_equal(one.target, other.target)
    assert HeldOut(posterior, problem, simulations=2, keep=True)[1].values.shape == (99, 1, 8, 8)
    kept = HeldOut(posterior, problem, simulations=2, keep=True)
    assert kept[0] is kept[0]
    with pytest.raises(IndexError):
        kept[2]
    with pytest.raises(ValueError, match="2 or more pairs"):
        HeldOut(posterior, problem, simulations=1)
    with pytest.raises(ValueError, match="4 samples"):
        HeldOut(posterior, problem, samples=3)


def test_pairs_that_do_not_fit(problem):
    posterior = ExactPosterior(problem.prior, problem.forward)
    x, y, sigma = problem.sample(3, 0)
    arrays = x.numpy(), y.numpy(), sigma.numpy()
    of_arrays, of_tensors = (HeldOut(posterior, problem, samples=9, pairs=p) for p in (arrays, (x, y, sigma)))
    np.testing.assert_array_equal(of_arrays[2].values, of_tensors[2].values)
    with pytest.raises(ValueError, match=r"expected x of shape \(N, 1, 8, 8\), got \(3, 8, 8\)"):
        HeldOut(posterior, problem, pairs=(x[:, 0], y, sigma))
    with pytest.raises(ValueError, match="expected y of shape"):
        HeldOut(posterior, problem, pairs=(x, y.flatten(1), sigma))
    with pytest.raises(ValueError, match="expected sigma of shape"):
        HeldOut(posterior, problem, pairs=(x, y, sigma[:, None]))
    with pytest.raises(ValueError, match="got 3, 3, 0"):
        HeldOut(posterior, problem, pairs=(x, y, 0.5))


def test_numbers_that_are_none_are_refused(problem):
    """NaN compares as neither: it must not pass for a figure that is missing."""
    posterior = ExactPosterior(problem.prior, problem.forward)
    x, y, sigma = problem.sample(3, 0)
    for place, name in enumerate("xys"):
        pairs = [x.clone(), y.clone(), sigma.clone()]
        pairs[place][1] = math.nan
        with pytest.raises(ValueError, match=f"finite {name}.*1 of 3 pairs"):
            HeldOut(posterior, problem, pairs=tuple(pairs))

    class Broken:
        target_noise = 0.0

        def __call__(self, y, sigma=None):
            made = posterior(y, sigma)

            def draw(n, *, seed, refine=0):
                values = made.sample(n, seed=seed)
                values.values[2:4, 0, 0, 1, 1] = math.nan
                return values

            return SimpleNamespace(sample=draw, log_prob=made.log_prob)

    with pytest.raises(ValueError, match="NaN or infinity in 2 of 9 given observation 0; next"):
        diagnose(Broken(), problem, simulations=2, samples=9)


def test_functionals_are_a_change_of_basis():
    functionals = standard_functionals((1, 8, 8))
    images = np.random.default_rng(0).normal(size=(5, 1, 8, 8))
    rows = evaluate(functionals, images)
    power = sum((rows[name] ** 2).sum(1) for name in rows if name.startswith("band"))
    np.testing.assert_allclose(power + 64 * rows["mean"][:, 0] ** 2, (images**2).sum((1, 2, 3)))
    np.testing.assert_allclose(rows["patches"][:, 0], images[:, 0, :2, :2].mean((1, 2)))
    assert standard_functionals((3,)) == {}
    assert [name for name in standard_functionals((2, 4))] == ["mean", "band 1", "band 2"]
    volume = evaluate(standard_functionals((1, 8, 8, 8)), np.ones((2, 1, 8, 8, 8)))
    assert volume["patches"].shape == (2, 64)
    with pytest.raises(ValueError, match="as many rows"):
        evaluate({"bad": lambda x: x.mean()}, images)
    with pytest.raises(ValueError, match="'bad' to be finite, got NaN or infinity for 5 of 5"):
        evaluate({"bad": lambda x: np.full(len(x), math.inf)}, images)


@pytest.mark.parametrize("pooled", [1, 30])
def test_ecdf_band_holds_in_95_of_100(pooled):
    random = np.random.default_rng(4)
    outside, p_values = 0, []
    for seed in range(200):
        found = ecdf_difference(random.integers(0, 50, (80, pooled)), 49, seed=seed)
        outside += bool((np.abs(found.difference) > found.band + 1e-12).any())
        p_values.append(found.p_value)
    assert abs(outside / 200 - 0.05) < 0.02 + 3 * math.sqrt(0.05 * 0.95 / 200)
    assert abs(np.mean(p_values) - 0.5) < 4 * math.sqrt(1 / 12 / 200) + 0.03


def test_ecdf_band_counts_observations():
    """Copies of one rank tell no more than the rank."""
    random = np.random.default_rng(5)
    rejected = 0
    for seed in range(100):
        rank = np.repeat(random.integers(0, 50, (80, 1)), 40, axis=1)
        rejected += ecdf_difference(rank, 49, seed=seed).p_value < 0.05
    assert rejected < 5 + 4 * math.sqrt(100 * 0.05 * 0.95)
    assert ecdf_difference(np.minimum(random.integers(0, 60, 200), 49), 49).p_value < 0.01
    with pytest.raises(ValueError, match="2 or more observations"):
        ecdf_difference(np.array([3, 12]), 9)


def test_exact_posterior_passes_every_rank_test(held):
    found = sbc(held())
    assert set(found.functional.values) >= {"pixels", "mean", "patches", "band 1", "predictions", "misfit", "density"}
    assert float(found.p_value.min()) > 0.05 / found.sizes["functional"]
    cover = expected_coverage(held())
    miss = (cover.coverage - cover.attrs["level"]) / np.maximum(cover.coverage_error, 0.02)
    assert float(abs(miss).max()) < 3.5
    assert cover.coverage_map.dims == ("channel", "z", "x")
    assert float(tarp(held()).p_value) > 0.01
    assert float(tarp(held(), references="prior").p_value) > 0.01


@pytest.mark.parametrize(
    ("fault", "functional"),
    [
        ("mean shifted", "pixels"),
        ("sd too small", "pixels"),
        ("sd too large", "pixels"),
        ("uncorrelated", "band 1"),
        ("uncorrelated", "density"),
        ("data ignored", "misfit"),
    ],
)
def test_ranks_find_the_fault(held, fault, functional):
    found = sbc(held(fault)).sel(functional=functional)
    assert float(found.p_value) < 0.005


def test_nan_has_no_rank(held):
    broken = SimpleNamespace(log_prob=lambda x: torch.full((len(x),), math.nan))
    with pytest.raises(ValueError, match=f"to rank, got NaN 1 times in the targets, {SAMPLES} times"):
        functional_ranks(replace(held()[0], conditioned=broken), {}, density=True)


def test_pixels_alone_are_blind(held):
    """Lost correlations and ignored data leave the ranks of pixels uniform: why there are functionals and misfits."""
    assert float(sbc(held("uncorrelated")).sel(functional="pixels").p_value) > 0.005
    ignored = sbc(held("data ignored"))
    assert float(ignored.sel(functional=["pixels", "mean", "patches", "band 1"]).p_value.min()) > 0.005
    assert float(tarp(held("data ignored"), references="prior").p_value) > 0.005
    assert float(tarp(held("data ignored")).p_value) < 0.005


def test_user_defined_functional(held):
    found = sbc(held("mean shifted"), functionals={"corner": lambda images: images[:, 0, :4, :4].sum((1, 2))})
    assert float(found.sel(functional="corner").p_value) < 0.01
    cover = expected_coverage(held("sd too small"), functionals={"maximum": lambda images: images.max((1, 2, 3))})
    assert "maximum" in cover.functional.values


@pytest.mark.parametrize("name", ["pixels", "predictions", "misfit", "density"])
def test_a_functional_does_not_replace_another(held, name):
    with pytest.raises(ValueError, match=f"named other than .*, got '{name}'"):
        sbc(held(), functionals={name: lambda images: images.max((1, 2, 3))})


def test_density_coverage_is_of_highest_density_regions(held):
    """sd too small by 15 %: regions of highest density are too small; a shift of the mean is seen as well."""
    exact, narrow = (expected_coverage(held(fault)).sel(functional="density") for fault in ("exact", "sd too small"))
    assert abs(float(exact.coverage) - 0.9) < 4 * math.sqrt(0.09 / COUNT)
    assert float(narrow.coverage) < 0.7


def test_pit_maps(held):
    exact, shifted, narrow = (pit_maps(held(fault)) for fault in ("exact", "mean shifted", "sd too small"))
    z = (exact.mean_map - 0.5) / exact.mean_error
    assert float(abs(z).max()) < 4.5
    assert float(abs((exact.dispersion_map - 1) / exact.dispersion_error).max()) < 4.5
    shift = float(torch.special.ndtr(torch.tensor(-0.3 / math.sqrt(2))))  # P(z - .3 < z')
    assert float(shifted.mean_map.mean()) == pytest.approx(shift, abs=0.03)
    assert float(narrow.dispersion_map.mean()) > 1.1
    assert narrow.example_pit.shape == (4, 1, 8, 8)


def test_scores_in_closed_form():
    """For N(0, 1) against x*: CRPS = x (2 Phi(x) - 1) + 2 phi(x) - 1 / sqrt(pi)."""
    random = np.random.default_rng(0)
    draws = random.normal(size=(400, 2000))
    for x in (0.0, 1.0, -2.0):
        normal = torch.distributions.Normal(0.0, 1.0)
        point = torch.tensor(x)
        expected = x * (2 * normal.cdf(point) - 1) + 2 * normal.log_prob(point).exp() - 1 / math.sqrt(math.pi)
        found = crps(np.full(2000, x), draws)
        assert found.mean() == pytest.approx(float(expected), abs=4 * found.std() / math.sqrt(2000))
    found = [energy_score(np.zeros(1), random.normal(size=(9, 1))) for _ in range(4000)]
    expected = math.sqrt(2 / math.pi) - 1 / math.sqrt(math.pi)
    assert np.mean(found) == pytest.approx(expected, abs=4 * np.std(found) / math.sqrt(4000))
    white = random.normal(size=(3000, 1, 6))
    unbiased = [variogram_score(white[0], random.normal(size=(4, 1, 6))) for _ in range(3000)]
    assert np.mean(unbiased) == pytest.approx(
        variogram_score(white[0], white), abs=4 * np.std(unbiased) / math.sqrt(3000)
    )


def test_scores_are_best_for_the_exact_posterior(held):
    exact = proper_scores(held())
    for fault, name in (
        ("mean shifted", "crps"),
        ("mean shifted", "energy"),
        ("uncorrelated", "variogram"),
        ("data ignored", "crps"),
    ):
        found = proper_scores(held(fault))
        difference = found[name] - exact[name]  # paired: the same truths
        assert float(difference.mean()) > 2 * float(difference.std()) / math.sqrt(COUNT), (fault, name)
    ignored = proper_scores(held("data ignored"))
    assert abs(float(ignored.crps_skill)) < 4 * float(ignored.crps_skill_error) + 0.02
    assert float(exact.crps_skill) > 0.2


def test_two_observations_have_no_proper_scores(problem):
    posterior = ExactPosterior(problem.prior, problem.forward)
    with pytest.raises(ValueError, match="3 or more observations for proper scores, got 2"):
        proper_scores(HeldOut(posterior, problem, simulations=2, samples=9))
    assert math.isfinite(float(proper_scores(HeldOut(posterior, problem, simulations=3, samples=9)).crps_skill))


def test_z_scores_and_spread(held, problem):
    found = z_against_contraction(held())
    assert float(abs(found.z_mean / found.z_mean_error).max()) < 4.5
    exact = ExactPosterior(problem.prior, problem.forward)(problem.sample(1, 0)[1])
    learnt = 1 - (exact.std()[0].numpy() ** 2) / problem.prior.covariance.diagonal().reshape(1, 8, 8).numpy()
    assert float(abs(found.contraction - learnt).max()) < 4 * math.sqrt(2 / COUNT)
    shifted = z_against_contraction(held("mean shifted"))
    assert float(shifted.z_mean.mean() - found.z_mean.mean()) == pytest.approx(-0.3, abs=0.02)
    covariance = problem.prior.covariance
    variance = covariance.diagonal().reshape(1, 8, 8).numpy()
    known = variance / np.stack([one.target for one in held()]).var(0, ddof=1)  # 80 fields know it to 15 % only
    error = math.sqrt(2 / (COUNT * (SAMPLES - 1)) * float((covariance / covariance[0, 0]).square().mean()))
    ignored = z_against_contraction(held("data ignored")).contraction
    assert abs(float((1 - ignored).mean()) / known.mean() - 1) < 4 * error  # of the samples' variance
    bins = error_against_spread(held(), bins=5)
    assert float(abs((bins.ratio - 1) / bins.ratio_error).max()) < 4
    assert float(error_against_spread(held("sd too small")).ratio.mean()) == pytest.approx(0.85, abs=0.1)


def test_the_error_of_the_rms_of_z_is_its_spread(problem):
    """Over pixels whose noise is their own; 9 samples, 200 observations."""
    held = HeldOut(ExactPosterior(problem.prior, problem.forward), problem, simulations=200, samples=9, seed=21)
    found = z_against_contraction(held)
    assert float(found.z_rms.mean()) == pytest.approx(1.0, abs=4 * float(found.z_rms_error) / math.sqrt(10))
    assert float(found.z_rms.std()) == pytest.approx(float(found.z_rms_error), rel=0.4)
    assert float(found.z_rms_error) == pytest.approx(math.sqrt(7 / 1600))


def test_predictive_checks(held):
    exact, ignored = predictive_check(held()), predictive_check(held("data ignored"))
    assert abs(float(exact.chi2_ratio) - 1) < 4 * float(exact.chi2_ratio_error)
    assert float(ignored.chi2_ratio) > 10
    assert float(exact.p_value.min()) > 1e-3 or COUNT > 50
    assert abs(float(exact.p_value.mean()) - 0.5) < 0.15
    assert exact.example_replicates.dims == ("example", "replicate", "datum")
    assert ecdf_difference(exact.misfit_rank, SAMPLES).p_value > 0.01
    loud = held()
    assert float(predictive_check(loud, statistics={"mean": lambda y: y.mean(1)}).p_value.mean()) > 0.2


def test_replicates_have_the_noise_of_their_record(problem):
    """Levels drawn over a factor of nine, an exact posterior that is told them."""
    level = float(problem.forward.noise.level)
    x, _, _ = problem.sample(30, 4)
    noisy = replace(problem.forward, noise=GaussianNoise((level / 3, 3 * level), relative=False))
    y, sigma = noisy.simulate(x, 4)
    told = SimpleNamespace(forward=noisy, prior=problem.prior)
    held = HeldOut(ExactPosterior(problem.prior, problem.forward), told, samples=49, pairs=(x, y, sigma))
    found = predictive_check(held, statistics={"power": lambda data: (data**2).mean(1)})
    for one, replicates in zip(held, found.example_replicates.values, strict=False):
        spread = (replicates - one.predicted[:20]).std() / float(one.sigma[0])
        assert spread == pytest.approx(1.0, abs=4 / math.sqrt(2 * replicates.size))
    assert abs(float(found.p_value.mean()) - 0.5) < 4 * 0.29 / math.sqrt(30)


@pytest.mark.parametrize(
    "noise",
    [GaussianNoise((0.01, 1.0)), PoissonNoise((10.0, 1e4)), SignalDependentNoise((0.01, 1.0), shot=0.5)],
    ids=lambda noise: type(noise).__name__,
)
def test_every_noise_has_a_level(noise):
    clean = torch.ones(2, 1, 20000)
    noisy, sigma = _at_level(noise, 0.2).draw(clean, 0)
    torch.testing.assert_close(sigma, torch.full((2,), 0.2))
    spread = 0.2 * math.sqrt(1 + getattr(noise, "shot", 0.0))
    assert float((noisy - clean).std()) == pytest.approx(spread, rel=0.03)


def test_accuracy_of_the_mean_and_samples_needed(held):
    found = mean_accuracy(held(), peak=1.0)
    np.testing.assert_allclose(found.psnr, -20 * np.log10(found.rmse), rtol=1e-6)
    curve = samples_needed(held())
    assert curve["count"].values.tolist() == [1, 2, 4, 8, 16, 32]
    assert float(abs((curve.rmse - curve.expected) / curve.rmse_error).max()) < 4
    assert float(curve.rmse[0]) > float(curve.rmse[-1])
    with pytest.raises(ValueError, match="1 to 49"):
        samples_needed(held(), counts=[100])


def test_ssim_is_that_of_scikit_image():
    metrics = pytest.importorskip("skimage.metrics")
    random = np.random.default_rng(1)
    one, other = random.random((2, 1, 32, 32)), random.random((2, 1, 32, 32))
    other = 0.7 * one + 0.3 * other
    expected = [
        metrics.structural_similarity(
            a[0], b[0], gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0, full=True
        )[1].mean()
        for a, b in zip(one, other, strict=True)
    ]
    np.testing.assert_allclose(ssim(one, other), expected, rtol=1e-6)
