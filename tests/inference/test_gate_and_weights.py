"""The gate's false alarms and its power; importance weights against closed forms and ArviZ."""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr
from exact_problems import exact_problem
from faulty_posteriors import Faulty

from bayesinv.inference import Posterior, Problem, load_problem
from bayesinv.inference.diagnostics import diagnose
from bayesinv.inference.exact import ExactPosterior
from bayesinv.inference.gate import Gate, OutOfDistributionWarning, fit_gate, warn_if_outside
from bayesinv.inference.gate_features import data_features
from bayesinv.inference.importance import (
    TAIL_SAMPLES,
    importance_weights,
    khat_limit,
    log_importance,
    pareto_smoothed,
    weight_quality,
)
from bayesinv.inference.samples import Samples
from bayesinv.physics import GaussianNoise
from bayesinv.seeding import normal
from bayesinv_datasets.vector_problems import VECTOR_PROBLEMS


def roc_area(inside, outside):
    return float((np.asarray(outside)[:, None] > np.asarray(inside)).mean())


@pytest.fixture(scope="module")
def problem():
    return load_problem("deblur", size=16)


@pytest.fixture(scope="module")
def gate(problem):
    return fit_gate(problem, simulations=200, seed=7)


def test_false_alarms_are_as_stated(problem, gate):
    _, y, sigma = problem.sample(300, seed=8)
    p = gate.p_value(data_features(problem.forward, y, sigma))
    for level in (0.05, 0.2):
        error = math.sqrt(level * (1 - level) * (1 / 300 + 1 / 200))
        assert abs((p <= level).mean() - level) < 4 * error
    assert (p < gate.level).mean() < 0.01 + 4 * math.sqrt(0.01 * (1 / 300 + 1 / 200))


def test_noise_twice_the_trained_level_is_found(problem, gate):
    import dataclasses

    loud = dataclasses.replace(problem.forward, noise=GaussianNoise(0.1))
    x, y, sigma = problem.sample(100, seed=9)
    y_loud, _ = loud.simulate(x, 9)
    inside = gate.score(data_features(problem.forward, y, sigma))
    outside = gate.score(data_features(problem.forward, y_loud, problem.forward.noise.sigma_of(y_loud)))
    assert roc_area(inside, outside) > 0.95


def test_directions_find_what_the_distance_misses():
    """A wavelet off by 10 % moves the features where simulated records hardly vary."""
    import dataclasses

    problem = load_problem("seismic-poststack", size=32)
    gate = fit_gate(problem, seed=7)
    wrong = load_problem("seismic-poststack", size=32, wavelet_frequency=0.11).forward.operator
    areas = []
    alone = {"moves": gate.moves[:0], "centre": gate.centre[:1], "spread": gate.spread[:1]}
    for chosen in (gate, dataclasses.replace(gate, **alone)):
        scores = []
        for operator in (problem.forward.operator, wrong):
            x, _, _ = problem.sample(100, seed=2)
            y, _ = dataclasses.replace(problem.forward, operator=operator).simulate(x, 2)
            features = data_features(problem.forward, y, problem.forward.noise.sigma_of(y))
            scores.append(chosen.score(features))
        areas.append(roc_area(*scores))
    assert areas[0] > areas[1] + 0.05
    assert areas[0] > 0.83


def test_distortions_leave_the_noise(problem):
    import dataclasses

    from bayesinv.inference.gate_features import distortions

    x, y, sigma = problem.sample(2, seed=1)
    clean = problem.forward.operator(x)
    made = [wrong for wrong, _ in distortions(problem.forward, x, clean, sigma)]
    assert len(made) == 9  # two ways along two axes, smoother, sharper, shuffled, louder, reversed
    torch.testing.assert_close(made[-2], clean)
    torch.testing.assert_close(made[-1], -clean)
    smooth, sharp, shuffled = (float(part.diff(dim=3).square().sum()) for part in made[4:7])
    assert smooth < float(clean.diff(dim=3).square().sum()) < sharp
    assert shuffled != sharp
    absolute = dataclasses.replace(problem.forward, noise=GaussianNoise(0.1, relative=False))
    for forward, exponent in ((problem.forward, 1), (absolute, 0)):
        for (wrong, level), without in zip(distortions(forward, x, y, sigma), made[:-2], strict=False):
            size = without.square().mean((1, 2, 3)).sqrt() / clean.square().mean((1, 2, 3)).sqrt()
            gain = size.view(2, 1, 1, 1) ** exponent
            torch.testing.assert_close(wrong - without, gain * (y - clean), atol=1e-5, rtol=1e-3)
            torch.testing.assert_close(level, gain.view(2) * sigma)


def test_a_vector_has_no_neighbours_to_be_shuffled_among():
    from bayesinv.inference.gate_features import distortions
    from bayesinv_datasets.vector_problems import gaussian_linear

    problem = gaussian_linear()
    assert len(list(distortions(problem.forward, *problem.sample(3, 0)))) == 2


def test_a_wrong_polarity_is_found():
    """Energies are those of the right one."""
    problem = load_problem("deblur", size=16)
    gate = fit_gate(problem, seed=7, simulations=200)
    _, y, sigma = problem.sample(50, seed=2)
    assert (gate.p_value(data_features(problem.forward, -y, sigma)) < 0.01).mean() > 0.9


def test_numbers_far_off_are_found():
    moons = VECTOR_PROBLEMS["two-moons"]()
    problem = Problem(moons.prior, moons.forward)
    gate = fit_gate(problem, seed=7, simulations=200)
    _, y, sigma = problem.sample(50, 2)
    far = [data_features(problem.forward, y + shift * y.std(0), sigma) for shift in (0.0, 6.0)]
    stopped = [(gate.p_value(rows) < 0.01).mean() for rows in far]
    assert stopped[0] <= 0.06
    assert stopped[1] > 0.9


def test_gate_survives_json(gate):
    again = Gate.from_record(json.loads(json.dumps(gate.to_record())))
    rows = np.random.default_rng(0).normal(size=(5, len(gate.mean))) + gate.mean
    np.testing.assert_allclose(again.score(rows), gate.score(rows), rtol=1e-3)
    assert again.level == gate.level
    assert gate.p_value(np.full((1, len(gate.mean)), np.nan))[0] == 1 / (len(gate.scores) + 1)
    with pytest.raises(ValueError, match="100 or more rows"):
        Gate.fit(np.zeros((50, 2)), np.ones((1, 2)))
    with pytest.raises(ValueError, match="between 0 and 1"):
        Gate.fit(np.zeros((50, 2)), np.ones((1, 2)), level=2.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gate_is_not_fitted_to_features_that_are_not_finite(bad):
    rows = np.random.default_rng(0).normal(size=(200, 3))
    with pytest.raises(ValueError, match="expected finite moves"):
        Gate.fit(rows, [[0.0, bad, 0.0]])
    rows[[7, 9], 1] = bad
    with pytest.raises(ValueError, match=r"got 2 rows of 200 that are not \(first: 7\); check prior, operator"):
        Gate.fit(rows, [[0.0, 1.0, 0.0]])


@pytest.mark.parametrize("reach", [200.0, 3000.0])
def test_weights_that_differ_by_hundreds_of_nats_have_a_large_khat(reach):
    weight, khat = pareto_smoothed(np.linspace(-reach, 0, 200))
    assert 2 < khat < 1000
    assert weight.sum() == pytest.approx(1.0)


def warned(p_values, level=0.01):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_if_outside(np.asarray(p_values), level, 200)
    return [str(one.message) for one in caught]


def test_warning_says_how_many():
    with pytest.warns(OutOfDistributionWarning, match=r"2 of 3 records .* 0.03 expected by chance"):
        warn_if_outside(np.array([0.005, 0.5, 0.002]), 0.01, 200)
    assert "these data are unlike the simulated ones (p = 0.005, false alarms 1%)" in warned([0.005])[0]
    assert not warned([0.01, 0.5])
    assert not warned([0.01])


@pytest.mark.parametrize("count", [3, 20, 100, 1000])
def test_a_batch_as_simulated_warns_seldom(count):
    """At most one batch in a hundred, four standard errors allowed."""
    random = np.random.default_rng(count)
    reference = np.sort(random.random((1000, 200)), axis=1)  # scores, uniform
    scores = random.random((1000, count))
    above = np.stack([200 - np.searchsorted(one, score) for one, score in zip(reference, scores, strict=True)])
    batches = [bool(warned(p_values)) for p_values in (1 + above) / 201]
    assert np.mean(batches) <= 0.01 + 4 * math.sqrt(0.01 * 0.99 / 1000)
    foreign = random.random(count)
    foreign[: max(3, count // 10)] = 0.001
    assert warned(foreign)


def test_sampling_warns_of_foreign_data(problem, gate):
    posterior = Posterior.build(problem, steps=1)
    _, y, _ = problem.sample(1, seed=3)
    foreign = torch.rand(1, 16, 16) + 1
    assert posterior(foreign).sample(2).provenance["gate_p_value"] is None  # no gate before `fit`
    posterior.record["gate"] = gate.to_record()
    assert posterior(y).sample(2).provenance["gate_p_value"][0] > 0.01
    with pytest.warns(OutOfDistributionWarning, match="unlike the simulated ones"):
        samples = posterior(foreign).sample(2)
    assert samples.provenance["gate_p_value"] == [pytest.approx(1 / 201)]


def test_exact_posterior_needs_no_weights():
    toy = exact_problem("inpaint", size=8)
    _, y, sigma = toy.sample(1, seed=0)
    exact = ExactPosterior(toy.prior, toy.forward)(y, sigma)
    found = importance_weights(exact, exact.sample(200, seed=1), toy.prior, toy.forward)
    assert float(found.ess) == pytest.approx(200, rel=1e-6)
    assert float(found.khat) == 0.0


class _Sure:
    """The exact posterior of noise of some share of its level."""

    target_noise = 0.0

    def __init__(self, exact, share):
        self.exact, self.share = exact, share

    def __call__(self, y, sigma):
        return self.exact(y, self.share * sigma)


@pytest.mark.parametrize(("believed", "right"), [(1.0, True), (0.5, False)])
def test_a_diagnosis_weighs_by_the_noise_of_the_record(believed, right):
    """Exact posteriors of the noise, and of half of it, by which they would seem right to themselves."""
    toy = exact_problem("inpaint", size=8)
    exact = ExactPosterior(toy.prior, toy.forward)
    metrics = diagnose(_Sure(exact, believed), toy, simulations=4, samples=99).metrics
    assert (metrics["ess_share"] > 0.999) == right


def test_weights_correct_a_shift():
    """q shifted by .1 sd in all 64 pixels: the weighted mean comes back, the ESS is that of the formula."""
    toy = exact_problem("inpaint", size=8)
    _, y, sigma = toy.sample(1, seed=0)
    wrong = Faulty(toy, "mean shifted", shift=0.1)(y, sigma)
    exact = ExactPosterior(toy.prior, toy.forward)(y, sigma)
    samples = wrong.sample(4000, seed=2)
    found = importance_weights(wrong, samples, toy.prior, toy.forward)
    std, mean = exact.std()[0].numpy(), exact.mean()[0].numpy()
    before = np.sqrt((((samples.values.to_numpy().mean(0)[0] - mean) / std) ** 2).mean())
    after = np.sqrt((((found["mean"].to_numpy()[0] - mean) / std) ** 2).mean())
    assert float(before) == pytest.approx(0.1, abs=0.03)
    shift = 0.1 * exact.std().flatten(1)[0]
    squared = float(shift @ torch.linalg.solve(exact.covariance()[0], shift))  # ESS / S = exp(-|shift|^2)
    assert float(found.ess) / 4000 == pytest.approx(math.exp(-squared), rel=0.3)
    assert float(after) < 5 / math.sqrt(float(found.ess))
    half = importance_weights(wrong, samples, toy.prior, toy.forward, power=0.5)
    assert float(half.ess) > float(found.ess)


def test_smoothing_is_that_of_arviz():
    arviz = pytest.importorskip("arviz")
    if not hasattr(arviz, "psislw"):
        pytest.skip("ArviZ 1.x has psislw elsewhere")
    for seed, scale in ((0, 0.3), (1, 1.0), (2, 3.0)):
        values = scale * np.random.default_rng(seed).normal(size=500)
        weight, khat = pareto_smoothed(values)
        expected, theirs = arviz.psislw(values.copy())
        assert khat == pytest.approx(float(theirs), abs=1e-6)
        np.testing.assert_allclose(np.log(weight), expected - np.logaddexp.reduce(expected), atol=1e-6)


def test_khat_of_a_known_tail():
    """Pareto weights of shape k have k-hat near k."""
    for k in (0.3, 0.9):
        uniform = np.random.default_rng(5).random(20000)
        assert pareto_smoothed(-k * np.log(uniform))[1] == pytest.approx(k, abs=0.12)
    assert khat_limit(100) == pytest.approx(0.5)
    assert khat_limit(10**6) == 0.7


def test_samples_outside_the_support_weigh_nothing():
    random = np.random.default_rng(0)
    values = random.normal(size=400)
    weight, khat = pareto_smoothed(np.append(values, np.full(100, -np.inf)))
    assert (weight[400:] == 0).all()
    assert weight.sum() == pytest.approx(1.0)
    assert khat < khat_limit(500)
    assert pareto_smoothed(np.append(np.full(96, -np.inf), values[:4]))[1] == math.inf
    assert weight_quality(np.full(50, -np.inf)) == (math.inf, 0.0)


def test_the_forward_model_is_not_asked_outside_the_support():
    problem = VECTOR_PROBLEMS["two-moons"]()
    bounded = replace(problem.forward, bounds=(-1.0, 1.0))
    conditioned = _Smeared()(torch.zeros(1, 2))
    images = torch.tensor([[2.0, 0.0], [0.1, -0.2], [0.0, -3.0]])
    found = log_importance(conditioned, images, problem.prior, bounded, conditioned.sigma)
    assert np.isneginf(found[[0, 2]]).all()
    alone = problem.prior.log_prob(images[1:2]) + bounded.log_likelihood(images[1:2], torch.zeros(1, 2))
    assert found[1] == pytest.approx(float(alone - conditioned.log_prob(images[1:2])))
    assert np.isneginf(log_importance(conditioned, images[[0, 2]], problem.prior, bounded, conditioned.sigma)).all()


def test_hopeless_weights_are_not_trusted():
    """Tails of fewer than five weights, and one weight above 99 equal ones, tell of no tail that could be trusted."""
    for count in (10, 15, 20):
        assert pareto_smoothed(100 * np.random.default_rng(1).normal(size=count))[1] == math.inf
    assert math.isfinite(pareto_smoothed(np.random.default_rng(1).normal(size=TAIL_SAMPLES))[1])
    assert pareto_smoothed(np.append(np.zeros(99), 50.0))[1] == math.inf
    noise = 1e-9 * np.random.default_rng(2).normal(size=99)
    assert pareto_smoothed(np.append(noise, 50.0))[1] > 1
    assert pareto_smoothed(np.append(np.zeros(99), -np.inf))[1] == 0.0  # one weight less, the others equal


class _Smeared:
    """The prior of two moons, samples reaching beyond its support."""

    target_noise = 0.0

    def __call__(self, y, sigma=None):
        law = torch.distributions.Normal(0.0, 0.6)

        def draw(n, *, seed, refine=0):
            values = torch.stack([0.6 * normal((2,), seed, index) for index in range(n)])
            return Samples(xr.DataArray(values.numpy(), dims=("sample", "channel")))

        return SimpleNamespace(
            y=y, sigma=torch.ones(1), sample=draw, log_prob=lambda x: law.log_prob(x).sum(1) + 0 * y.sum()
        )


@pytest.mark.parametrize(("samples", "judged"), [(99, True), (19, False)])
def test_a_prior_of_bounded_support_is_diagnosed(samples, judged):
    problem = VECTOR_PROBLEMS["two-moons"]()
    checks = diagnose(_Smeared(), Problem(problem.prior, problem.forward), simulations=4, samples=samples)
    assert any(finding.test == "Importance weights" for finding in checks.verdict.findings) == judged
    if judged:
        assert checks.metrics["khat"] > checks.metrics["khat_limit"]
        assert 0 <= checks.metrics["ess_share"] < 0.5


def test_doors():
    toy = exact_problem("inpaint", size=8)
    _, y, sigma = toy.sample(1, seed=0)
    exact = ExactPosterior(toy.prior, toy.forward)(y, sigma)
    samples = exact.sample(20)
    with pytest.raises(ValueError, match="log_prob"):
        importance_weights(exact, samples, object(), toy.forward)
    with pytest.raises(ValueError, match="power"):
        importance_weights(exact, samples, toy.prior, toy.forward, power=0.0)
    _, many, levels = toy.sample(2, seed=0)
    pair = ExactPosterior(toy.prior, toy.forward)(many, levels)
    for both in ((pair, pair.sample(20)), (exact, pair.sample(20)), (pair, samples)):
        with pytest.raises(ValueError, match="one record, got 2"):
            importance_weights(*both, toy.prior, toy.forward)
    refined = replace(samples, provenance=samples.provenance | {"refine": 3})
    with pytest.raises(ValueError, match="got refine=3"):
        importance_weights(exact, refined, toy.prior, toy.forward)
    with pytest.raises(ValueError, match="ten or more log weights"):
        pareto_smoothed(np.array([1.0, 2.0]))
    for wrong in (np.nan, np.inf):
        with pytest.raises(ValueError, match="1 of 12 NaN or \\+inf"):
            pareto_smoothed(np.append(np.zeros(11), wrong))
    with pytest.raises(ValueError, match="a weight that is not zero"):
        pareto_smoothed(np.full(30, -np.inf))
