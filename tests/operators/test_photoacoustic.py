"""Sound: against PyLops compositions of FFTs, free space, sensors anywhere, bands of frequencies, limited views."""

from __future__ import annotations

import math

import numpy as np
import pylops
import pytest
import torch

from bayesinv.physics import check
from bayesinv.physics.costs import kept_bytes
from bayesinv_operators import point_sensors
from bayesinv_operators.kspace import PIXEL, SPEED_OF_SOUND, transducer
from bayesinv_operators.photoacoustic_line import LineSensor, photoacoustic_line
from bayesinv_operators.photoacoustic_ring import photoacoustic_ring, ring
from bayesinv_operators.point_sensors import PointSensors

SAMPLES, STEP = 30, 0.5


def by_pylops(period, size, pixels, response=None):
    """Pad, FFT, one oscillation for each sample, inverse FFT, pixels of the sensors: nothing of ours."""
    pad = pylops.Pad((size, size), [(0, period - size), (0, period - size)])
    fourier = pylops.signalprocessing.FFT2D((period, period), dtype="complex128")
    k = 2 * np.pi * np.fft.fftfreq(period)
    total = np.hypot(k[:, None], k).ravel()
    gain = np.ones_like(total) if response is None else response(total)
    at = pylops.Restriction(period**2, [z * period + x for z, x in pixels], dtype="complex128")
    propagators = [
        at * fourier.H * pylops.Diagonal(gain * np.cos(total * t * STEP)) * fourier * pad for t in range(SAMPLES)
    ]
    return pylops.VStack(propagators)


PIXELS = [(0, 2), (0, 11), (9, 15), (15, 0), (7, 7)]
BAND = transducer((4.0, 0.9))
OPERATORS = {
    "line": (LineSensor(16, 16, [3, 9, 15], SAMPLES, STEP), [(0, 3), (0, 9), (0, 15)], None),
    "line with a band": (LineSensor(16, 16, [3, 9], SAMPLES, STEP, response=BAND), [(0, 3), (0, 9)], BAND),
    "points": (PointSensors(16, 16, PIXELS, SAMPLES, STEP), PIXELS, None),
    "points with a band": (PointSensors(16, 16, PIXELS, SAMPLES, STEP, response=BAND), PIXELS, BAND),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_sound_is_that_of_a_pylops_composition(name):
    operator, pixels, response = OPERATORS[name]
    theirs = by_pylops(operator.period, 16, pixels, response)
    x = torch.randn(1, 16, 16, dtype=torch.float64)
    y = operator(x)[0].numpy()
    expected = theirs.matvec(x.numpy().ravel().astype(complex)).reshape(SAMPLES, -1).T
    assert np.abs(y - expected).max() / np.abs(y).max() <= 1e-10
    data = torch.randn(operator.data_shape, dtype=torch.float64)
    image = operator.adjoint(data)[0].numpy()
    expected = theirs.rmatvec(data[0].numpy().T.ravel().astype(complex)).reshape(16, 16)
    assert np.abs(image - expected).max() / np.abs(image).max() <= 1e-10


def test_large_matrices_are_made_block_by_block(monkeypatch):
    """Same sound, and nothing is kept: blocks and one kept matrix agree to rounding."""
    kept = PointSensors(16, 16, PIXELS, SAMPLES, STEP, response=BAND)
    x = torch.randn(3, 1, 16, 16, dtype=torch.float64, requires_grad=True)
    y = kept(x)
    monkeypatch.setattr(point_sensors, "KEPT", 0)
    monkeypatch.setattr(point_sensors, "BLOCK", 70 * 20)
    blocks = PointSensors(16, 16, PIXELS, SAMPLES, STEP, response=BAND)
    torch.testing.assert_close(blocks(x), y, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(blocks.adjoint(y), kept.adjoint(y), rtol=1e-12, atol=1e-12)
    assert kept._kept
    assert not blocks._kept
    assert kept_bytes(blocks, x) == 0
    assert len(list(blocks._blocks(x))) > 5


def test_points_on_a_line_are_the_line():
    line = LineSensor(16, 16, [3, 9, 15], SAMPLES, STEP)
    points = PointSensors(16, 16, [(0, 3), (0, 9), (0, 15)], SAMPLES, STEP)
    line.period = points.period
    x = torch.randn(3, 1, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(points(x), line(x), rtol=1e-12, atol=1e-12)


def spot(size, z, x, width=1.5):
    """A smooth source: sound of few wavelengths a pixel, which knows nothing of pixels."""
    rows, columns = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    return torch.from_numpy(np.exp(-((rows - z) ** 2 + (columns - x) ** 2) / (2 * width**2)))[None]


def test_sound_of_a_round_source_does_not_depend_on_the_angle():
    """Sensors between pixels and outside of the image hear the centre alike: the grid has no preferred direction."""
    operator = PointSensors(33, 33, ring(33, 7, 0.75, (10.0, 350.0)), 80, 0.5)
    traces = operator(spot(33, 16, 16))[0]
    assert float((traces - traces[0]).abs().max() / traces.abs().max()) < 1e-4  # the spot is cut to pixels


def test_a_front_arrives_when_it_should_wherever_the_sensor_is():
    forward = photoacoustic_ring(32, sensors=9)
    time = forward.data_axes[1].coordinates
    traces = forward.operator(spot(32, 20, 9))[0]
    for (z, x), trace in zip(forward.operator.points, traces, strict=True):
        distance = PIXEL * math.hypot(z - 20, x - 9)
        assert abs(float(time[int(trace.argmax())]) * SPEED_OF_SOUND - distance) < 0.2  # the source is 0.15 mm wide


def test_the_record_is_free_of_periodic_images():
    """A period twice as long changes nothing but the tails of a spot's band."""
    near, far = photoacoustic_ring(24).operator, photoacoustic_ring(24).operator
    far.period = 2 * far.period + 1
    y = near(spot(24, 3, 20))
    assert float((far(spot(24, 3, 20)) - y).abs().max() / y.abs().max()) < 1e-2
    short = photoacoustic_ring(24).operator
    short.period = 2 * (short.period // 3) + 1  # too short: images arrive
    assert float((short(spot(24, 3, 20)) - y).abs().max() / y.abs().max()) > 0.2


def test_a_limited_view_hears_the_object_late_and_in_part():
    full, arc = photoacoustic_ring(24, sensors=36), photoacoustic_ring(24, sensors=10, view=(180.0, 270.0))
    x = torch.randn(1, 24, 24, dtype=torch.float64)
    heard = full.operator(x)[:, 18:28]  # degrees 180 to 270: left and above
    torch.testing.assert_close(arc.operator(x)[:, :, :60], heard[:, :, :60], rtol=0.1, atol=0.1)
    assert (arc.operator.points < 12).all()  # z and x of the upper left quarter
    dense = [operator(torch.eye(576, dtype=torch.float64).reshape(576, 1, 24, 24)).flatten(1) for operator in
             (full.operator, arc.operator)]  # fmt: skip
    seen = [float((torch.linalg.svdvals(matrix) > 0.05 * torch.linalg.matrix_norm(matrix, 2)).double().mean())
            for matrix in dense]  # fmt: skip
    assert seen[0] > 1.2 * seen[1]


def test_a_band_keeps_its_frequencies_only():
    whole, band = photoacoustic_line(32), photoacoustic_line(32, band=(3.0, 0.5))
    x = torch.randn(1, 32, 32, dtype=torch.float64)
    step = float(np.diff(whole.data_axes[1].coordinates)[0])
    frequency = np.fft.rfftfreq(96, step)
    spectra = [np.abs(np.fft.rfft(f.operator(x)[0].numpy() * np.hanning(96))).mean(0) for f in (whole, band)]
    inside, outside = np.abs(frequency - 3.0) < 0.2, np.abs(frequency - 3.0) > 1.8
    assert spectra[1][inside].sum() / spectra[0][inside].sum() > 0.9
    assert spectra[1][outside].sum() / spectra[0][outside].sum() < 0.05


@pytest.mark.parametrize("factory", [photoacoustic_line, photoacoustic_ring])
def test_laws_hold_with_a_band(factory):
    assert [result for result in check(factory(12, band=(3.0, 0.8))) if not result.passed] == []


def test_positions_are_in_mm_and_a_ring_goes_round():
    placed = photoacoustic_ring(16, positions=((-0.2, 0.0), (0.35, 2.0)), samples=40)
    np.testing.assert_allclose(placed.operator.points, [[-2.0, 0.0], [3.5, 20.0]])
    assert placed.data_shape == (1, 2, 40)
    assert len(set(ring(16, 8, 1.0, (0.0, 360.0)))) == 8


def test_bad_geometry_is_refused():
    with pytest.raises(ValueError, match=r"a view as .* got \(0.0, 400.0\)"):
        photoacoustic_ring(view=(0.0, 400.0))
    with pytest.raises(ValueError, match="number of sensors or their positions"):
        photoacoustic_ring(sensors=3, positions=((0.0, 0.0),))
    with pytest.raises(ValueError, match="list of sensor positions"):
        PointSensors(8, 8, [], 10, 0.5)
    with pytest.raises(ValueError, match="centre in MHz"):
        photoacoustic_line(band=(3.0, 0.0))
