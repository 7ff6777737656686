"""Diagnostics against closed forms: an exact Gaussian posterior passes, planted faults are found."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bayesinv.inference.accuracy import error_spread_correlation, psnr, snr, spread_bins
from bayesinv.inference.calibration import (
    contraction,
    coverage,
    coverage_by_region,
    coverage_curve,
    interval_ranks,
    rank_ecdf,
    rank_histogram,
    ranks,
    z_scores,
)
from bayesinv.inference.checks import Checks
from bayesinv.inference.diagnostics import diagnose
from bayesinv.inference.samples import Samples, labelled
from bayesinv.inference.verdict import judge
from bayesinv.physics import GaussianNoise
from bayesinv.seeding import normal


class Pixelwise:
    """x ~ N(0, c), y = x + .5 e, pixel by pixel: the posterior is N(4 v y, v), v = 1 / (1/c + 4)."""

    temperature = 1.0

    def __init__(self, *, factor: float = 1.0, bias: float = 0.0, target_noise: float = 0.0, size: int = 12) -> None:
        self.factor, self.bias, self.target_noise = factor, bias, target_noise
        edge = torch.linspace(0.05, 1.5, size)
        self.prior = edge[:, None] * edge.flip(0)
        coordinates = np.arange(size) * 0.1
        self.axes = [SimpleNamespace(name=name, unit="mm", coordinates=coordinates) for name in ("z", "x")]
        self.forward = SimpleNamespace(
            operator=lambda x: x, within=lambda x: x, noise=GaussianNoise(0.5, relative=False), model_axes=self.axes,
            quantity="pressure", unit="kPa",
        )  # fmt: skip
        self.regions = {"high": lambda x: x > 0.4}

    def sample(self, n: int, seed: int):
        shape = (1, *self.prior.shape)
        x = torch.stack([normal(shape, seed, 1, index) for index in range(n)]) * self.prior.sqrt()
        y = x + 0.5 * torch.stack([normal(shape, seed, 2, index) for index in range(n)])
        return x, y, torch.full((n,), 0.5)

    def __call__(self, y, sigma=None):
        variance = 1 / (1 / self.prior + 4)
        mean = 4 * variance * y + self.bias
        std = (variance + self.target_noise**2).sqrt() * self.factor

        def draw(n: int, *, seed: int, refine: int = 0) -> Samples:
            values = mean + std * normal((n, *y.shape), seed)
            return Samples(labelled(values.numpy(), self.axes, leading=("sample", "observation")))

        def log_prob(x):
            return torch.distributions.Normal(mean, std).log_prob(x).flatten(1).sum(1)

        return SimpleNamespace(sample=draw, log_prob=log_prob)

    def baseline(self, y):
        return y


def exact_draws(observations: int = 200, samples: int = 99, seed: int = 0):
    """Targets and samples of one law per pixel, spreads between .1 and 10."""
    random = np.random.default_rng(seed)
    std = np.exp(random.uniform(-2.3, 2.3, (observations, 1, 16, 16)))
    mean = random.normal(size=std.shape)
    truth = mean + std * random.normal(size=std.shape)
    return truth, mean + std * random.normal(size=(samples, *std.shape)), std


def test_interval_ranks_are_the_nearest_attainable():
    assert interval_ranks(99, 0.9) == (5, 94, 0.9)
    assert interval_ranks(19, 0.9) == (1, 18, 0.9)
    first, last, nominal = interval_ranks(48, 0.9)
    assert (first, last) == (2, 46)
    assert nominal == pytest.approx(45 / 49)
    for samples in range(2, 30):
        first, last, nominal = interval_ranks(samples, 0.9)
        assert nominal == pytest.approx((last - first + 1) / (samples + 1))
    with pytest.raises(ValueError, match="between 0 and 1"):
        interval_ranks(99, 90)


def test_coverage_counts_every_rank_once():
    every = np.arange(100).reshape(100, 1)
    found = coverage(every, 99)
    assert found.value == pytest.approx(found.nominal)
    nominal, value, _ = coverage_curve(every, 99)
    np.testing.assert_allclose(value, nominal)
    np.testing.assert_allclose(*rank_ecdf(every, 99))


def test_exact_samples_cover_and_rank_uniformly():
    truth, samples, _ = exact_draws()
    rank = ranks(truth, samples)
    found = coverage(rank, 99)
    independent = np.sqrt(0.9 * 0.1 / truth.size)
    assert abs(found.value - 0.9) < 4 * independent
    assert found.standard_error == pytest.approx(independent, rel=0.25)  # SE of a SE over 200 units: 5 %
    histogram = rank_histogram(rank, 99)
    assert (np.abs(histogram.density - 1) < 1.6 * histogram.band).all()
    regions = {"low data": samples.mean(0) < 0, "none": np.zeros(rank.shape, dtype=bool)}
    inside = coverage_by_region(rank, 99, regions)
    assert abs(inside["low data"].value - 0.9) < 4 * inside["low data"].standard_error
    assert np.isnan(inside["none"].value)


def test_standard_error_is_per_observation():
    random = np.random.default_rng(0)
    rank = np.broadcast_to(random.integers(0, 100, (400, 1, 1, 1)), (400, 1, 16, 16))  # pixels move together
    found = coverage(rank, 99)
    assert found.standard_error == pytest.approx(np.sqrt(0.09 / 400), rel=0.25)


def test_simultaneous_band_holds_in_95_of_100():
    random = np.random.default_rng(2)
    outside = 0
    for _ in range(200):
        histogram = rank_histogram(random.integers(0, 100, (60, 30)), 99, bins=10)
        outside += bool((np.abs(histogram.density - 1) > histogram.band).any())
    assert outside / 200 < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 200)


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.25])
def test_spread_ratio_is_the_planted_factor(factor):
    truth, samples, _ = exact_draws()
    mean = samples.mean(0)
    planted = mean + factor * (samples - mean)
    even, odd = planted[::2].std(0, ddof=1), planted[1::2].std(0, ddof=1)
    bins = spread_bins(truth, mean, odd, 99, by=even)
    assert (np.abs(bins.ratio - factor) < 4 * bins.standard_error).all()
    assert (bins.standard_error < 0.02).all()


def test_constant_spread_needs_the_halves():
    random = np.random.default_rng(3)
    truth, samples = random.normal(size=(200, 1, 16, 16)), random.normal(size=(99, 200, 1, 16, 16))
    mean = samples.mean(0)
    naive = spread_bins(truth, mean, samples.std(0, ddof=1), 99)
    halves = spread_bins(truth, mean, samples[1::2].std(0, ddof=1), 99, by=samples[::2].std(0, ddof=1))
    assert naive.ratio[4] > 1.07
    assert (np.abs(halves.ratio - 1) < 4 * halves.standard_error).all()


def test_error_spread_correlation_of_a_known_law():
    truth, samples, std = exact_draws()
    found = error_spread_correlation(truth, truth - (truth - samples.mean(0)), std)
    # |error| = s |e| with s and e independent: corr = sd(s) E|e| / sd(s |e|)
    second, first = (std**2).mean(), std.mean()
    expected = np.sqrt(second - first**2) * np.sqrt(2 / np.pi) / np.sqrt(second - first**2 * 2 / np.pi)
    assert found == pytest.approx(expected, abs=0.02)
    assert np.isnan(error_spread_correlation(truth, samples.mean(0), np.ones_like(std)))


def test_known_decibels():
    truth = np.zeros((2, 1, 4, 4))
    truth[:, :, 0] = 2.0
    np.testing.assert_allclose(psnr(truth, truth + 0.1), 20.0)
    np.testing.assert_allclose(psnr(truth, truth + 0.1, peak=None), 20 * np.log10(20))
    np.testing.assert_allclose(snr(truth, truth + 0.1), 20.0)  # rms of the truth is 1
    assert np.isinf(psnr(truth, truth)).all()
    with pytest.raises(ValueError, match="expected an estimate of shape"):
        psnr(truth, truth[0])


def test_contraction_and_z_scores():
    np.testing.assert_allclose(contraction([0.5, 1.0, 0.1], [1.0, 1.0, 0.0]), [0.75, 0.0, np.nan])
    truth, samples, _ = exact_draws(samples=400)
    scores = z_scores(truth, samples.mean(0), samples.std(0, ddof=1), 400)
    assert scores.std() == pytest.approx(1.0, abs=0.02)
    with pytest.raises(ValueError, match="4 or more samples"):
        z_scores(truth, samples.mean(0), samples.std(0, ddof=1), 3)


@pytest.mark.parametrize("count", [9, 19, 39])
def test_z_scores_have_variance_one_at_any_number_of_samples(count):
    truth, samples, _ = exact_draws(samples=count, seed=count)
    square = z_scores(truth, samples.mean(0), samples.std(0, ddof=1), count) ** 2
    assert square.mean() == pytest.approx(1.0, abs=4 * square.std() / np.sqrt(square.size))


def test_exact_posterior_is_trusted():
    toy = Pixelwise()
    checks = diagnose(toy, toy, simulations=150, refine=2)
    metrics, errors = checks.metrics, checks.errors
    assert checks.verdict.level == "trust", checks.verdict.reasons
    assert abs(metrics["coverage_90"] - 0.9) < 4 * errors["coverage_90"]
    assert abs(metrics["coverage_90_high_predicted"] - 0.9) < 4 * errors["coverage_90_high_predicted"]
    for number in range(1, 6):
        name = f"spread_ratio_bin_{number}"
        assert abs(metrics[name] - 1) < 4 * errors[name]
    assert metrics["psnr_posterior_mean"] > metrics["psnr_baseline"]
    entropy = 0.5 * np.log(2 * np.pi * np.e / (1 / toy.prior.numpy() + 4)).mean()
    assert abs(metrics["heldout_nats_per_dim"] - entropy) < 4 * errors["heldout_nats_per_dim"]
    assert abs(metrics["chi2_raw"] - 1) < 0.05
    assert abs(metrics["contraction"] - (1 - (1 / (1 / toy.prior + 4)).mean() / toy.prior.mean())) < 0.03


def test_noise_on_the_targets_is_part_of_the_law():
    toy = Pixelwise(target_noise=0.3)
    checks = diagnose(toy, toy, simulations=100)
    assert abs(checks.metrics["coverage_90"] - 0.9) < 4 * checks.errors["coverage_90"]


@pytest.mark.parametrize(
    ("fault", "test"),
    [
        ({"factor": 0.8}, "Coverage"),
        ({"factor": 0.8}, "Spread"),
        ({"factor": 1.6}, "Coverage"),
        ({"bias": 0.3}, "Ranks"),
        ({"bias": 0.1}, "Bias"),
        ({"factor": 30.0}, "Outliers"),
    ],
)
def test_planted_faults_are_found(fault, test):
    toy = Pixelwise(**fault)
    checks = diagnose(toy, toy, simulations=60)
    assert checks.verdict.level == "do not trust"
    assert any(finding.level != "trust" and finding.test.startswith(test) for finding in checks.verdict.findings)
    assert checks.verdict.findings[0].level == "do not trust"


def test_given_pairs_and_seeds():
    toy = Pixelwise()
    checks = diagnose(toy, toy, simulations=8, seed=5)
    assert checks.metrics == diagnose(toy, toy, pairs=toy.sample(8, 5), seed=5).metrics
    more = diagnose(toy, toy, simulations=12, seed=5)
    np.testing.assert_array_equal(more.dataset["psnr_posterior_mean"][:8], checks.dataset["psnr_posterior_mean"])
    done: list[tuple[int, int]] = []
    diagnose(toy, toy, simulations=3, samples=9, progress=lambda now, of: done.append((now, of)))
    assert done == [(1, 3), (2, 3), (3, 3)]
    with pytest.raises(ValueError, match="2 or more pairs"):
        diagnose(toy, toy, simulations=1)


def test_few_simulations_cannot_earn_trust():
    found = judge({"coverage_90": 0.9}, {"coverage_90": 0.03})
    assert found.level == "caution"
    assert "more simulations" in found.reasons[0]
    assert judge({"coverage_90": 0.925}, {"coverage_90": 0.003}).level == "trust"
    assert judge({"coverage_90": 0.87}, {"coverage_90": 0.003}).level == "caution"


def test_lines_of_the_verdict_have_thresholds():
    """Each line at its limits; what is allowed in practice, and beyond chance."""
    far = {"functional_coverage_band 1": 0.82, "functional_p_band 1": 0.0005, "functional_deviation_band 1": 0.2}
    near = {"functional_coverage_band 1": 0.88, "functional_p_band 1": 0.5, "functional_deviation_band 1": 0.2}
    errors = {"functional_coverage_band 1": 0.002}
    assert judge(far, errors).level == "do not trust"
    assert judge(near, errors).level == "trust"  # a deviation within chance does not count
    assert judge({"rank_bias": 0.02}, {"rank_bias": 0.001}).level == "trust"
    assert judge({"rank_bias": -0.05}, {"rank_bias": 0.001}).level == "caution"
    assert judge({"rank_bias": -0.2}, {"rank_bias": 0.001}).level == "do not trust"
    for mean, level in ((29.0, "trust"), (28.5, "caution"), (27.5, "do not trust")):  # no mean of a posterior loses
        assert judge({"psnr_posterior_mean": mean, "psnr_baseline": 29.0}, {}).level == level
    assert judge({"khat": 0.9, "khat_limit": 0.5, "ess_share": 0.1}, {}).level == "caution"
    assert judge({"khat": 0.3, "khat_limit": 0.5, "ess_share": 0.9}, {}).level == "trust"
    assert judge({"gate_stopped": 0.02}, {"gate_stopped": 0.01}).level == "trust"
    assert judge({"gate_stopped": 0.6}, {"gate_stopped": 0.01}).level == "do not trust"
    assert judge({"chi2_raw": 40.0, "misfit_left": 0.9}, {}).level == "do not trust"
    assert judge({"chi2_raw": 7.0, "chi2_ratio": 1.01}, {}).level == "trust"  # the targets bear the same noise
    for ratio, error, level in ((9.0, 0.1, "caution"), (11.0, 1.0, "caution"), (11.0, 0.1, "do not trust")):
        assert judge({"chi2_raw": ratio, "chi2_ratio": ratio}, {"chi2_ratio": error}).level == level
    for verdict in (
        judge(far, errors),
        judge({"rank_bias": -0.2}, {"rank_bias": 0.001}),
        judge({"gate_stopped": 0.6}, {}),
    ):
        assert all("next:" in finding.text for finding in verdict.findings if finding.level != "trust")


def test_misfit_levels():
    levels = {1.0: "trust", 1.5: "caution", 0.75: "caution", 2.5: "do not trust"}
    for value, level in levels.items():
        assert judge({"chi2_refined": value}, {}).level == level
    assert judge({"chi2_raw": 7.0}, {}).level == "caution"


def test_checks_come_back_from_the_file(tmp_path):
    toy = Pixelwise()
    checks = diagnose(toy, toy, simulations=6, samples=19, refine=1)
    path = checks.save(tmp_path / "checks.nc")
    loaded = Checks.load(path)
    assert loaded.metrics == checks.metrics
    assert loaded.errors == checks.errors
    assert loaded.verdict == checks.verdict
    assert loaded.provenance == checks.provenance
    assert set(loaded.dataset) == set(checks.dataset)
    np.testing.assert_allclose(loaded.dataset["coverage_map"], checks.dataset["coverage_map"], atol=1e-6)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match="truncated or damaged"):
        Checks.load(path)
    with pytest.raises(ValueError, match="got one of checks"):
        Samples.load(checks.save(path))
