"""Laws of every shipped prior: a pure function of (seed, index), honest about its shape and its parameters."""

from __future__ import annotations

import json
from importlib.metadata import entry_points

import numpy as np
import pytest
import torch

PRIORS = {
    "vessels": (32, 64),
    "layered-sections": (32, 64),
    "elastic-sections": (32,),
    "reflectivity-sections": (32, 64),
    "velocity-sections": (32,),
    "frequency-slices": (32, 64),
    "shepp-logan": (32, 64),
    "matern": (32, 64),
    "retina": (32, 64),
    "brain": (32, 64),
}
CHANNELS = {"elastic-sections": 3, "frequency-slices": 2}
FACTORIES = {point.name: point.load() for point in entry_points(group="bayesinv.priors") if point.name in PRIORS}


@pytest.fixture(
    params=[(name, size) for name, sizes in PRIORS.items() for size in sizes], ids=lambda pair: f"{pair[0]}-{pair[1]}"
)
def prior(request: pytest.FixtureRequest):
    name, size = request.param
    return FACTORIES[name](size=size)


def test_entry_points_are_found():
    assert set(FACTORIES) == set(PRIORS)


@pytest.mark.parametrize("name", PRIORS)
def test_called_with_no_arguments_a_prior_is_small(name):
    assert FACTORIES[name]().shape == (CHANNELS.get(name, 1), 32, 32)


def test_shape_dtype_and_values(prior):
    x = prior.sample(3, 0)
    assert x.shape == (3, *prior.shape)
    assert x.dtype == torch.float32
    assert torch.isfinite(x).all()
    assert x.flatten(1).std(1).min() > 0


def test_an_image_depends_on_seed_and_index_only(prior):
    many = prior.sample(37, 5)
    assert torch.equal(many[3:5], prior.sample(2, 5, start=3))
    assert torch.equal(many[30:37], prior.sample(7, 5, start=30))
    assert torch.equal(many[:1], prior.sample(1, 5))


def test_sampling_leaves_global_generators_alone(prior):
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    first = prior.sample(2, 1)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    before = torch.get_rng_state()
    assert torch.equal(first, prior.sample(2, 1))
    assert torch.equal(before, torch.get_rng_state())


def test_seeds_and_images_differ(prior):
    x = prior.sample(40, 0)
    assert not torch.equal(x, prior.sample(40, 1))
    assert len({image.numpy().tobytes() for image in x}) == 40


def test_a_stored_array_cannot_be_changed_through_a_sample(prior):
    x = prior.sample(2, 0)
    kept = x.clone()
    x.zero_()
    assert torch.equal(prior.sample(2, 0), kept)


@pytest.mark.parametrize("name", PRIORS)
def test_parameters_survive_json_and_make_the_prior_again(name):
    prior = FACTORIES[name]()
    parameters = json.loads(json.dumps(prior.parameters))
    assert parameters == prior.parameters
    assert torch.equal(FACTORIES[name](**parameters).sample(3, 2), prior.sample(3, 2))


def test_regions_are_masks(prior):
    x = prior.sample(4, 0)
    for mask in prior.regions.values():
        assert mask(x).shape == x.shape
        assert mask(x).dtype == torch.bool
        assert 0 < mask(x).double().mean() < 1


@pytest.mark.parametrize("arguments", [(0, 0), (-1, 0), (1.5, 0), (1, -1)])
def test_bad_requests_are_refused(prior, arguments):
    with pytest.raises(ValueError, match="expected"):
        prior.sample(*arguments)


def test_negative_start_is_refused(prior):
    with pytest.raises(ValueError, match="start"):
        prior.sample(1, 0, start=-1)


def test_numpy_integers_are_welcome(prior):
    assert torch.equal(prior.sample(int(np.int64(2)), 0), prior.sample(np.int64(2), np.int64(0)))


@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize("size", [-64, 0, 7, 32.0, "64"])
def test_bad_sizes_are_refused(name, size):
    with pytest.raises(ValueError, match="size"):
        FACTORIES[name](size=size)
