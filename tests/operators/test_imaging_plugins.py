"""Masks, k-space, rays and waves: against PyLops, against their own geometry, and at the door."""

from __future__ import annotations

import importlib.util

import numpy as np
import pylops
import pytest
import torch

from bayesinv.physics import check
from bayesinv_operators.inpaint import inpaint
from bayesinv_operators.mri import mri, sampled_places
from bayesinv_operators.seismic_kirchhoff import seismic_kirchhoff, travel_times
from bayesinv_operators.seismic_prestack import seismic_prestack
from bayesinv_operators.selection import Selection, jittered
from bayesinv_operators.wavefield_reconstruction import wavefield_reconstruction


# ----------------------------------------------------------------------------------------------------------- selections
def test_the_mask_is_drawn_from_its_seed_and_holds_its_share():
    first, again, other = inpaint(32), inpaint(32), inpaint(32, mask_seed=1)
    assert first.operator.index == again.operator.index
    assert first.operator.index != other.operator.index
    assert first.data_shape == (1, 256)
    assert inpaint(32, observed=1.0).data_shape == (1, 1024)
    with pytest.raises(ValueError, match=r"share above 0 and at most 1, got 0\.0"):
        inpaint(observed=0.0)


def test_jitter_leaves_no_gap_longer_than_two_cells():
    for seed in range(20):
        places = jittered(13, 64, seed)
        gaps = np.diff([-1, *places, 64])
        assert gaps.max() <= 2 * 64 / 13 + 1
        assert len(set(places)) == 13


@pytest.mark.parametrize("missing", ["receivers", "sources"])
def test_traces_are_missing_where_the_axes_say(missing):
    forward = wavefield_reconstruction(16, missing=missing)
    x = torch.randn(2, 16, 16)
    y = forward.operator(x)
    axis = 0 if missing == "sources" else 1
    for place, coordinate in enumerate(forward.data_axes[axis].coordinates):
        torch.testing.assert_close(y.select(1 + axis, place), x.select(1 + axis, round(coordinate / 25.0)))
    with pytest.raises(ValueError, match="receivers, sources"):
        wavefield_reconstruction(missing="boats")


def test_places_are_checked():
    for bad in ([], [3, 3], [-1], [16]):
        with pytest.raises(ValueError, match=r"distinct places in 0\.\.15"):
            Selection((1, 4, 4), bad)


# -------------------------------------------------------------------------------------------------------------- k-space
@pytest.mark.parametrize("pattern", ["lines", "points"])
def test_mri_is_that_of_pylops_on_the_mask(pattern):
    forward = mri(16, pattern=pattern)
    mask = np.zeros((16, 16))
    mask.ravel()[forward.operator.index] = 1.0
    theirs = pylops.medical.MRI2D((16, 16), mask, dtype="complex128")
    x = torch.randn(1, 16, 16, dtype=torch.float64)
    full = np.asarray(theirs.matvec(x.numpy().ravel().astype(complex))).reshape(16, 16)
    ours = forward.operator(x)
    np.testing.assert_allclose(ours.numpy().ravel(), full.ravel()[forward.operator.index], atol=1e-12)
    assert [result for result in check(forward) if not result.passed] == []


def test_the_middle_of_k_space_is_always_there_and_the_rest_is_denser_near_it():
    counts = np.zeros((32, 32))
    for seed in range(200):
        places = sampled_places(32, 4.0, 0.2, "points", seed)
        assert len(places) == 256
        counts.ravel()[places] += 1
    assert (counts[14:19, 14:19] == 200).all()
    assert counts[8:24, 8:24].mean() > 2 * counts[:4, :4].mean()
    assert len(sampled_places(32, 4.0, 0.1, "lines", 0)) == 8 * 32


def test_noise_of_mri_has_the_level_of_each_part():
    forward = mri(64, noise=0.1)
    x = torch.rand(1, 1, 64, 64)
    y, sigma = forward.simulate(x, 0)
    residual = torch.view_as_real(y - forward.operator(x))
    count = residual.numel()
    assert float(residual.std() / sigma[0]) == pytest.approx(1.0, abs=5 / np.sqrt(2 * count))


# ----------------------------------------------------------------------------------------------------------------- rays
def test_travel_times_in_a_gradient_satisfy_the_eikonal_equation():
    """``|grad tau| = 1 / v``, by central differences on a fine grid."""
    z, x = np.linspace(100.0, 200.0, 101), np.linspace(0.0, 100.0, 101)
    tau = travel_times(np.array([-50.0]), z, x, 2000.0, 0.8)[0]
    slope = np.hypot(*np.gradient(tau, 1.0))[1:-1, 1:-1]
    np.testing.assert_allclose(slope * (2000.0 + 0.8 * z[1:-1, None]), 1.0, atol=1e-4)


def test_a_point_scatters_to_its_two_way_time():
    forward = seismic_kirchhoff(32, sources=3, receivers=5, gradient=0.0)
    x = torch.zeros(1, 32, 32, dtype=torch.float64)
    x[0, 19, 12] = 1.0
    y = forward.operator(x)[0]
    source, receiver, time = (axis.coordinates for axis in forward.data_axes)
    depth, place = forward.model_axes[0].coordinates[19], forward.model_axes[1].coordinates[12]
    for s, r in ((0, 0), (1, 3), (2, 4)):
        expected = (np.hypot(depth, source[s] - place) + np.hypot(depth, receiver[r] - place)) / 2000.0
        assert abs(time[int(y[s, r].argmax())] - expected) <= 0.006


def test_avo_tells_the_parameters_apart_by_angle():
    """At normal incidence shear does not count and P velocity and density count alike."""
    operator = seismic_prestack(32, angles=(0.0, 30.0)).operator
    channels = torch.eye(3, dtype=torch.float64)[:, :, None, None] * torch.randn(1, 1, 32, 32, dtype=torch.float64)
    p, s, rho = operator(channels)
    torch.testing.assert_close(p[0], rho[0])
    assert float(s[0].abs().max()) < 1e-12
    assert float((p[1] - rho[1]).abs().max()) > 0.1 * float(p[1].abs().max())
    with pytest.raises(ValueError, match="0 to 60 degrees"):
        seismic_prestack(angles=(70.0,))


# ---------------------------------------------------------------------------------------------------------------- waves
needs_deepwave = pytest.mark.skipif(importlib.util.find_spec("deepwave") is None, reason="needs the extra 'wave'")


@needs_deepwave
def test_born_is_the_linearisation_of_the_waveforms():
    from bayesinv_operators.seismic_born import seismic_born
    from bayesinv_operators.seismic_fwi import Waveforms

    born = seismic_born(16).operator
    velocity = torch.from_numpy(born.background)[None]
    full = Waveforms(born.plan, above=float(born.background[0, 0]))
    x = 0.1 * torch.randn(1, 16, 16, dtype=torch.float64)
    linear = full.linearize(velocity)(velocity * x)
    assert float((born(x) - linear).norm() / linear.norm()) < 0.1  # their time steps differ


@needs_deepwave
def test_velocities_out_of_bounds_are_refused():
    from bayesinv_operators.seismic_fwi import seismic_fwi

    with pytest.raises(ValueError, match=r"1\.4 to 4\.5 km/s, got 9 to 9"):
        seismic_fwi(16).operator(torch.full((1, 16, 16), 9.0))


@needs_deepwave
def test_a_faster_half_brings_sound_earlier():
    from bayesinv_operators.photoacoustic_heterogeneous import HeterogeneousLine

    z, x = np.meshgrid(np.arange(32), np.arange(32), indexing="ij")
    source = torch.from_numpy(np.exp(-((z - 20.0) ** 2 + (x - 16.0) ** 2) / 8))[None]
    slow, fast = (HeterogeneousLine(np.full((32, 32), speed), 96, 0.5)(source)[0, 16] for speed in (1.0, 1.2))
    assert int(slow.argmax()) / int(fast.argmax()) == pytest.approx(1.2, abs=0.04)


@pytest.mark.skipif(importlib.util.find_spec("astra") is None, reason="needs the extra 'ct'")
def test_a_sinogram_of_a_disc_is_its_chord():
    from bayesinv_operators.ct import ct

    forward = ct(64, angles=8)
    z, x = (axis.coordinates for axis in forward.model_axes)
    disc = torch.from_numpy((np.hypot(z[:, None], x) <= 20.0).astype(float))[None]
    distance = forward.data_axes[1].coordinates
    chord = 2 * np.sqrt(np.maximum(20.0**2 - distance**2, 0))
    error = np.abs(forward.operator(disc)[0].numpy() - chord)
    assert error[:, np.abs(distance) < 17].max() < 2.0  # edges of pixels, 40 mm at most
    assert float(forward.operator(disc).sum() / 8) == pytest.approx(float(disc.sum()), rel=1e-5)
