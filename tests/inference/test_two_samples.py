"""Classifier tests: half where the laws agree, the Bayes rate where they differ, doors against shared random states."""

from __future__ import annotations

import math

import numpy as np
import pytest
from exact_problems import exact_problem
from faulty_posteriors import Faulty

from bayesinv.inference.exact import ExactPosterior
from bayesinv.inference.heldout import HeldOut
from bayesinv.inference.two_samples import _check_apart, c2st, local_c2st

pytest.importorskip("sklearn", reason="the classifiers are scikit-learn's")


@pytest.mark.parametrize("classifier", ["random-forest", "perceptron"])
def test_one_law_cannot_be_told_apart(classifier):
    first, second = (np.random.default_rng(seed).normal(size=(200, 2)) for seed in (0, 1))
    found = c2st(first, second, classifier=classifier)
    assert abs(float(found.c2st) - 0.5) < 4 * float(found.c2st_error)
    assert found.attrs["classifier"] == classifier


def test_accuracy_is_the_bayes_rate():
    """N(0, 1) against N(2, 1): Phi(1) = 0.841."""
    random = np.random.default_rng(2)
    first, second = random.normal(size=(1000, 1)), 2 + random.normal(size=(1000, 1))
    found = c2st(first, second, classifier="perceptron")
    assert float(found.c2st) == pytest.approx(0.8413, abs=4 * math.sqrt(0.84 * 0.16 / 2000))


def test_shared_random_state_is_refused():
    first = np.random.default_rng(0).normal(size=(200, 3))
    second = 1.1 * np.random.default_rng(0).normal(size=(200, 3)) + 0.1
    with pytest.raises(ValueError, match="random states of their own"):
        c2st(first, second)
    with pytest.raises(ValueError, match="one shape"):
        c2st(first, second[:, :2])
    with pytest.raises(ValueError, match="'random-forest' or 'perceptron'"):
        c2st(first, np.random.default_rng(1).normal(size=(200, 3)), classifier="oracle")


def test_samples_that_are_not_finite_are_refused():
    """Classifiers of samples that are all NaN see nothing, which would pass for a perfect posterior."""
    good, bad = (np.random.default_rng(seed).normal(size=(50, 2)) for seed in (0, 1))
    for value in (np.nan, np.inf):
        bad[3:5, 1] = value
        for pair in ((good, bad), (bad, good)):
            with pytest.raises(ValueError, match="finite samples, got NaN or infinity in 2 of 50"):
                c2st(*pair)


def test_small_sets_of_their_own_are_not_refused():
    """Independent sets of one law: at 2,000 trials of each size none may be refused (6e-5 each)."""
    random = np.random.default_rng(3)
    for count in (10, 20):
        for _ in range(2000):
            _check_apart(random.standard_cauchy((count, 1)), random.standard_cauchy((count, 1)))
        shared = random.normal(size=(count, 1))
        with pytest.raises(ValueError, match="states of their own"):
            _check_apart(shared, np.exp(shared))
    _check_apart(np.zeros((10, 1)), np.ones((10, 1)))


def test_scale_is_that_of_both_sets():
    """A column that does not vary in the first set leaves a scale to the second; the forest states its leaves."""
    random = np.random.default_rng(4)
    first, second = random.normal(size=(60, 2)), random.normal(size=(60, 2))
    first[:, 1] = second[:, 1] = 3.0
    second[:, 1] += 1e6 * random.normal(size=60)
    found = c2st(first, second, classifier="perceptron")
    assert float(found.c2st) > 0.8
    assert "min_samples_leaf" not in found.attrs
    assert c2st(first, second).attrs["min_samples_leaf"] == 1
    wide = random.normal(size=(2, 20, 4))
    assert c2st(*wide).attrs["min_samples_leaf"] == 2


@pytest.mark.slow
def test_local_test_finds_what_is_wrong_here():
    problem = exact_problem("inpaint", size=8)
    _, y, sigma = problem.sample(1, seed=77)
    p_values = {}
    for name, posterior in (
        ("exact", ExactPosterior(problem.prior, problem.forward)),
        ("shifted", Faulty(problem, "mean shifted", shift=1.0)),
    ):
        held = HeldOut(posterior, problem, simulations=200, samples=20, seed=5)
        found = local_c2st(held, y[0], sigma[0], samples=100, null=19)
        p_values[name] = float(found.p_value)
        assert found.probability.shape == (100,)
    assert p_values["exact"] > 0.1
    assert p_values["shifted"] == 0.05
