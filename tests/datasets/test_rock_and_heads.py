"""What the newer generators draw, in numbers: elastic layers, reflectivity, velocity, slices and heads."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bayesinv_datasets.elastic_sections import elastic_sections
from bayesinv_datasets.frequency_slices import frequency_slices
from bayesinv_datasets.reflectivity_sections import reflectivity_sections
from bayesinv_datasets.shepp_logan import HEAD, draw_ellipses, shepp_logan
from bayesinv_datasets.velocity_sections import velocity_sections


def test_elastic_parameters_are_correlated_as_stated():
    """The sections are many correlated layers; over 200 of them correlations scatter by about .02."""
    x = elastic_sections(32, noise=0.0).sample(200, 0).double().transpose(0, 1).flatten(1)
    correlation = torch.corrcoef(x)
    assert float(correlation[0, 1]) == pytest.approx(0.8, abs=0.06)
    assert float(correlation[0, 2]) == pytest.approx(0.7, abs=0.06)
    assert float(correlation[1, 2]) == pytest.approx(0.5, abs=0.08)
    scale = x.std(1)
    assert float(scale[1] / scale[0]) == pytest.approx(1.4, abs=0.08)
    assert float(scale[2] / scale[0]) == pytest.approx(0.5, abs=0.04)


def test_reflectivity_sums_to_impedance_and_is_sparse():
    x = reflectivity_sections(64, noise=0.0).sample(64, 0)
    assert float(x.std()) == pytest.approx(0.027, abs=0.005)
    assert float((x.abs() < 0.2 * x.std()).double().mean()) > 0.5  # most pixels hold no reflector
    assert float((2 * x).sum(2).std()) < 0.5  # ln I(bottom) - ln I(top) of stationary layers: about sqrt(2) .14


def test_velocity_grows_with_depth_within_bounds():
    x = velocity_sections(64).sample(64, 0)
    assert 1.4 <= float(x.min()) <= float(x.max()) <= 4.5
    mean = x.mean((0, 1, 3))
    assert float(mean[:8].mean()) == pytest.approx(2.05, abs=0.1)
    assert float(mean[-8:].mean()) == pytest.approx(2.95, abs=0.15)


def test_slices_are_reciprocal_waves_of_unit_power():
    x = frequency_slices(48).sample(20, 0)
    torch.testing.assert_close(x, x.transpose(2, 3), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(x.square().sum(1).mean((1, 2)), torch.ones(20), atol=1e-4, rtol=1e-4)
    one = frequency_slices(64, frequency=(10.0, 10.0), speed=(2000.0, 2000.0), reflectors=(1, 1), bodies=(0, 0))
    tapered = torch.complex(*one.sample(1, 0)[0]).numpy() * np.hanning(64)
    spectrum = np.abs(np.fft.fft(tapered, 512, axis=1)).mean(0)
    along = np.abs(np.fft.fftfreq(512, 25.0))[spectrum > 0.03 * spectrum.max()]
    assert 0.002 < along.max() < 10.0 / 2000.0 + 2 / (64 * 25.0)  # f / c at most, and the width of the taper


def test_the_unvaried_head_is_the_phantom_of_scikit_image():
    """Theirs has 400 x 400 pixels with hard edges; ours is compared where no edge is near."""
    data = pytest.importorskip("skimage.data")
    theirs = data.shepp_logan_phantom()
    ours = np.clip(draw_ellipses(HEAD, 400), 0, 1)
    flat = np.ones_like(theirs, dtype=bool)
    for axis in (0, 1):
        for shift in (-3, -2, -1, 1, 2, 3):
            flat &= np.abs(np.roll(theirs, shift, axis) - theirs) < 1e-6
    share = float((np.abs(ours - theirs)[flat] < 4e-3).mean())  # they have 256 levels
    assert share > 0.99


def test_heads_differ_by_their_spread():
    still, varied = shepp_logan(64, spread=0.0, lesions=0), shepp_logan(64)
    same = still.sample(4, 0)
    inside = same[:, :, 16:48, 24:40]
    torch.testing.assert_close(inside, inside[:1].expand_as(inside), atol=1e-6, rtol=0)  # but for the skull
    assert float(varied.sample(16, 0).std(0).mean()) > 0.05
    with pytest.raises(ValueError, match="spread"):
        shepp_logan(spread=0.5)
