"""What generated sections look like, in numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bayesinv_datasets.sections import Column, layered_sections

FLAT = {"faults": 0.0, "fold": (0.0, 0.0), "shear": 0.0, "unconformity": 0.0}


def excess_kurtosis(x: torch.Tensor) -> float:
    x = x.double() - x.double().mean()
    return float((x**4).mean() / x.var() ** 2 - 3)


def test_scale_is_about_a_tenth():
    """The standard error over 128 sections is about .002."""
    assert float(layered_sections(64).sample(128, 0).std()) == pytest.approx(0.094, abs=0.01)


def test_about_the_background_no_trace_keeps_a_mean():
    x = layered_sections(64).sample(64, 0)
    assert float(x.mean(2).std()) < 0.02
    assert abs(float(x.mean())) < 0.003


def test_spread_is_the_same_at_every_depth():
    """The background knows no edges: 12 independent pairs of depths at most, 200 sections."""
    spread = layered_sections(32).sample(200, 0).std((0, 1, 3))
    assert float(spread.max() / spread.min()) < 1.35


def test_undisturbed_layers_are_flat():
    x = layered_sections(32, noise=0.0, **FLAT).sample(4, 0)
    assert torch.allclose(x, x[..., :1].expand_as(x), atol=1e-6)


def test_noise_has_its_standard_deviation():
    clean = layered_sections(64, noise=0.0, **FLAT).sample(32, 0)
    noisy = layered_sections(64, noise=0.02, **FLAT).sample(32, 0)
    assert float((noisy - clean).std()) == pytest.approx(0.02, rel=0.05)


def test_layers_change_slower_along_than_across():
    x = layered_sections(64).sample(64, 0)
    across = float((x[:, :, 1:] - x[:, :, :-1]).abs().mean())
    along = float((x[..., 1:] - x[..., :-1]).abs().mean())
    assert along < 0.6 * across


def test_faults_break_traces():
    """Jumps between neighbouring traces of flat layers appear with faults and with them only."""
    broken = layered_sections(64, **(FLAT | {"faults": 2.0})).sample(32, 0)
    whole = layered_sections(64, **FLAT).sample(32, 0)
    jump = lambda x: float((x[..., 1:] - x[..., :-1]).abs().amax())  # noqa: E731
    assert jump(broken) > 5 * jump(whole)


def test_heavier_tails_at_equal_spread():
    kurtosis = {}
    for tails in ("gaussian", "laplace", "student-t"):
        column = Column((4.0, 4.0), 0.12, tails)
        steps = column.unit(np.random.default_rng(0), 200_000)
        assert steps.std() == pytest.approx(1.0, abs=0.02)
        kurtosis[tails] = excess_kurtosis(torch.from_numpy(steps))
    assert abs(kurtosis["gaussian"]) < 0.1
    assert kurtosis["laplace"] == pytest.approx(3.0, abs=0.5)
    assert kurtosis["student-t"] > 4
    assert excess_kurtosis(layered_sections(32, tails="student-t").sample(128, 0)) > 1


def test_thinner_layers_raise_the_band():
    """Vertical differences carry more of the variance."""
    rough = [
        float((x[:, :, 1:] - x[:, :, :-1]).var() / x.var())
        for x in (layered_sections(64, thickness=pair).sample(64, 0) for pair in ((3.0, 6.0), (2.0, 3.5)))
    ]
    assert rough[1] > 1.2 * rough[0]


@pytest.mark.parametrize(
    "parameters",
    [
        {"thickness": (6.0, 3.0)},
        {"thickness": (0.0, 3.0)},
        {"contrast": 0.0},
        {"background": -1.0},
        {"tails": "cauchy"},
        {"faults": -1.0},
        {"unconformity": 1.5},
        {"noise": float("nan")},
        {"background": float("inf")},
    ],
)
def test_bad_parameters_are_refused(parameters):
    with pytest.raises(ValueError, match=rf"expected.*{next(iter(parameters))}"):
        layered_sections(32, **parameters)
