"""What generated vessels look like, in numbers; and the laws of a tree."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bayesinv_datasets.colonization import Colonization
from bayesinv_datasets.rendering import draw_segments
from bayesinv_datasets.retina import retina
from bayesinv_datasets.vessels import vessels

RULES = Colonization(48.0, 0.039, (1, 2), 40.0, 5.0, 2.0, 0.15, 2.7, 0.45)


def test_values_lie_in_the_unit_interval_on_a_black_background():
    x = vessels(64).sample(64, 0)
    assert x.min() == 0
    assert 0.5 < x.max() <= 1
    assert (x < 0.01).double().mean() > 0.5


def test_area_of_vessels():
    """Near the masks of real retinal vessels (.17 above .2); the standard error over 96 pictures is about .007."""
    x = vessels(64).sample(96, 0)
    assert 0.13 < (x > 0.2).double().mean() < 0.19
    assert 0.29 < (x > 0.05).double().mean() < 0.38


def test_no_picture_is_empty():
    area = (vessels(32).sample(256, 1) > 0.05).double().mean((1, 2, 3))
    assert area.min() > 0.03


def test_vessels_dim_with_depth():
    """With decay 1.5 the lower half is exp(-0.75) = .47 times as bright as the upper."""
    x = vessels(32, decay=(1.5, 1.5)).sample(200, 0)
    assert float(x[:, :, 16:].mean() / x[:, :, :16].mean()) == pytest.approx(np.exp(-0.75), rel=0.15)


def test_no_side_is_preferred():
    """Mirrored and transposed at random: the mean picture has no gradient (standard error of a half about 4 %)."""
    x = vessels(32, decay=(0.0, 0.0)).sample(300, 0)
    assert float(x[..., :16].mean() / x[..., 16:].mean()) == pytest.approx(1.0, abs=0.12)
    assert float(x[..., :16, :].mean() / x[..., 16:, :].mean()) == pytest.approx(1.0, abs=0.12)


def test_width_widens():
    x = vessels(32, width=(2.0, 2.0)).sample(32, 0)
    assert (x > 0.2).double().mean() > 1.2 * (vessels(32, width=(1.0, 1.0)).sample(32, 0) > 0.2).double().mean()


def test_a_tree_does_not_know_its_neighbours():
    trees = RULES.grow([np.random.default_rng(seed) for seed in range(5)])
    for seed, tree in enumerate(trees):
        (alone,) = RULES.grow([np.random.default_rng(seed)])
        assert np.array_equal(tree.end, alone.end)
        assert np.array_equal(tree.radius, alone.radius)


def test_murrays_law_holds_at_every_node():
    for tree in RULES.grow([np.random.default_rng(seed) for seed in range(8)]):
        powers = {tuple(end): radius**RULES.gamma for end, radius in zip(tree.end, tree.radius, strict=True)}
        flow: dict[tuple[float, ...], float] = {}
        for start, end in zip(tree.start, tree.end, strict=True):
            flow[tuple(start)] = flow.get(tuple(start), 0.0) + powers[tuple(end)]
        for node, power in powers.items():
            assert power == pytest.approx(flow.get(node, RULES.tip**RULES.gamma))


def test_every_segment_hangs_on_the_tree():
    for tree in RULES.grow([np.random.default_rng(seed) for seed in range(8)]):
        ends = {tuple(end) for end in tree.end}
        roots = {tuple(start) for start in tree.start} - ends
        assert 1 <= len(roots) <= 2
        assert all(min(z, x) == 0 or max(z, x) == RULES.canvas for z, x in roots)


def test_a_segment_is_drawn_where_it_is():
    """A capsule of radius r and length l has the area 2 r l + pi r^2."""
    picture = draw_segments(np.array([[10.0, 6.0]]), np.array([[10.0, 14.0]]), np.array([2.0]), 21)
    assert picture.sum() == pytest.approx(2 * 2 * 8 + np.pi * 4, rel=0.03)
    z, x = np.mgrid[:21, :21]
    assert (picture * z).sum() / picture.sum() == pytest.approx(10.0)
    assert (picture * x).sum() / picture.sum() == pytest.approx(10.0)


@pytest.mark.parametrize(
    "parameters",
    [
        {"kill": 0.0},
        {"step": -1.0},
        {"zoom": (1.0, 0.5)},
        {"zoom": (0.3, 1.0)},
        {"amplitude": (0.5, 1.5)},
        {"decay": 1.0},
        {"jitter": -0.1},
        {"roots": (0, 2)},
    ],
)
def test_bad_parameters_are_refused(parameters):
    with pytest.raises(ValueError, match=rf"expected.*{next(iter(parameters))}"):
        vessels(32, **parameters)


def test_retina_shows_each_patch_once_in_a_turn():
    prior = retina(64)
    x = prior.sample(2 * prior.available, 0)
    first = {image.numpy().tobytes() for image in x[: prior.available]}
    second = {image.numpy().tobytes() for image in x[prior.available :]}
    assert len(first) == prior.available
    assert first == second


def test_retina_is_vessels_on_black():
    x = retina(64).sample(retina(64).available, 0)
    assert (x == 0).double().mean() > 0.7
    assert 0.15 < (x > 0.05).double().mean() < 0.25
    assert (x > 0.05).double().mean((1, 2, 3)).min() > 0.05
    assert 0 <= x.min() < x.max() <= 1


def test_small_retina_patches_are_not_empty():
    x = retina(32).sample(retina(32).available, 0)
    assert (x > 0.05).double().mean((1, 2, 3)).min() > 0.05
    assert torch.equal(x[:3], retina(32).sample(3, 0))


def test_retina_beyond_its_patches_is_refused():
    with pytest.raises(ValueError, match="8 to 64"):
        retina(128)
