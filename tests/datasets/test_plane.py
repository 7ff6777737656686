"""The laws in the plane: densities that integrate to one, entropies and samples that agree with them."""

from __future__ import annotations

import math

import pytest
import torch

from bayesinv_datasets.plane import Banana, Mixture, banana, ring, swirl, two_moons

LAWS = {law.__name__: law for law in (banana, ring, swirl, two_moons)}


@pytest.fixture(params=LAWS.values(), ids=list(LAWS))
def law(request: pytest.FixtureRequest):
    return request.param()


def test_the_density_integrates_to_one_and_gives_the_entropy(law):
    """Rectangles of a step other than that of the law's own rule, and from other corners."""
    step = 0.4 * law.parameters["sigma"]
    columns, rows = torch.arange(-5, 5, step, dtype=torch.float64), torch.arange(-5, 25, step, dtype=torch.float64)
    mass = entropy = 0.0
    for column in columns:
        line = rows if isinstance(law, Banana) else columns
        log_p = law.log_prob(torch.stack([column.expand(len(line)), line], 1))
        mass += float(log_p.exp().sum()) * step**2
        entropy -= float((log_p.exp() * log_p).sum()) * step**2
    assert mass == pytest.approx(1, abs=1e-5)
    assert entropy == pytest.approx(law.entropy, abs=1e-4)  # the banana's tails beyond the grid


def test_samples_follow_the_density(law):
    """Their mean of ``-log p`` is the entropy, and so is their mean of ``exp(i k x)`` that of the density."""
    x = law.sample(20_000, 1).double()
    surprise = -law.log_prob(x)
    assert abs(float(surprise.mean()) - law.entropy) < 4 * float(surprise.std()) / math.sqrt(len(x))
    if isinstance(law, Mixture):
        for k in torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, -1.0]], dtype=torch.float64):
            wanted = (law.centres @ k).cos().mean() * math.exp(-0.5 * law.sigma**2 * float(k @ k))
            assert abs(float((x @ k).cos().mean() - wanted)) < 4 / math.sqrt(2 * len(x))


def test_a_point_depends_on_seed_and_index_only(law):
    many = law.sample(3000, 5)
    assert many.shape == (3000, 2)
    assert many.dtype == torch.float32
    assert torch.equal(many[1000:1100], law.sample(100, 5, start=1000))
    assert not torch.equal(many, law.sample(3000, 6))


@pytest.mark.parametrize("factory", LAWS.values(), ids=list(LAWS))
def test_parameters_make_the_law_again(factory):
    law = factory(sigma=0.3)
    assert torch.equal(factory(**law.parameters).sample(5, 0), law.sample(5, 0))
    assert not torch.equal(factory().sample(5, 0), law.sample(5, 0))


def test_nothing_but_the_curve_is_seen():
    """Along the middle of a moon's crest the density is even to 1e-6, though 32 Gaussians make it."""
    angle = torch.linspace(math.pi / 3, math.pi * 2 / 3, 200, dtype=torch.float64)
    crest = two_moons().log_prob(torch.stack([angle.cos(), angle.sin()], 1))
    assert float(crest.max() - crest.min()) < 1e-6
    beside = two_moons(sigma=0.11).log_prob(torch.stack([angle.cos(), angle.sin()], 1))
    assert float((crest - beside).mean()) == pytest.approx(math.log(1.1), abs=1e-2)


@pytest.mark.parametrize(("factory", "sigma"), [(banana, 0.0), (ring, -1.0), (swirl, 0.01), (two_moons, float("nan"))])
def test_an_impossible_thickness_is_refused(factory, sigma):
    with pytest.raises(ValueError, match="expected a"):
        factory(sigma=sigma)
