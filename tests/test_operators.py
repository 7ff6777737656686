"""Every installed operator plug-in, ours or not, obeys the laws of an operator; ours have a known answer each."""

from __future__ import annotations

import importlib.util
import pickle
import sys

import numpy as np
import pylops
import pytest
import torch

from bayesinv.physics import ForwardModel, as_pylops, check, is_linear, plugins
from bayesinv.physics.laws import point_within

EXTRAS = {
    "ct": "astra",
    "photoacoustic-heterogeneous": "deepwave",
    "seismic-born": "deepwave",
    "seismic-fwi": "deepwave",
}
OURS = {
    "deblur",
    "inpaint",
    "mri",
    "photoacoustic-line",
    "photoacoustic-ring",
    "seismic-kirchhoff",
    "seismic-poststack",
    "seismic-prestack",
    "wavefield-reconstruction",
    *EXTRAS,
}


@pytest.fixture(scope="module", params=plugins.names())
def forward(request) -> ForwardModel:
    package = EXTRAS.get(request.param)
    if package is not None and importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}, an extra")
    return plugins.load(request.param)()


def images(forward, batch=2):
    draws = torch.randn(batch, *forward.model_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return point_within(draws, forward.bounds)


def test_every_operator_of_ours_is_installed():
    assert set(plugins.names()) >= OURS


@pytest.mark.parametrize("name", sorted(EXTRAS))
def test_a_missing_extra_says_how_to_install_it(name, monkeypatch):
    monkeypatch.setitem(sys.modules, EXTRAS[name], None)
    with pytest.raises(ImportError, match=r"pip install 'bayesinv\[(ct|wave)\]'"):
        plugins.load(name)()


def test_its_laws_hold(forward):
    results = check(forward)
    assert [result for result in results if not result.passed] == []
    if forward.name in OURS:
        assert "known answer" in {result.name for result in results}


def test_it_is_described(forward):
    assert forward.name in plugins.names()
    for words in (forward.title, forward.equation, forward.quantity, forward.unit):
        assert words
    assert forward.prior is None or forward.prior in plugins.names("priors")


def test_its_mirror_is_a_symmetry(forward):
    x = images(forward)
    for name in forward.mirror:
        axis = [a.name for a in forward.model_axes].index(name) - len(forward.model_axes)
        in_data = [a.name for a in forward.data_axes]
        y = forward.operator(x.flip(axis))
        if name in in_data:
            y = y.flip(in_data.index(name) - len(in_data))
        elif len(in_data) == len(forward.model_axes) and in_data[axis].startswith("data_"):
            y = y.flip(axis)
        torch.testing.assert_close(y, forward.operator(x), rtol=1e-10, atol=1e-10)


def test_it_pickles_and_works_after_inference_mode(forward):
    copy = pickle.loads(pickle.dumps(forward.operator))
    x = images(forward).float()
    with torch.inference_mode():
        y = copy(x)
    torch.testing.assert_close(y.clone(), forward.operator(x))
    x.requires_grad_()
    copy(x).abs().sum().backward()
    assert torch.isfinite(x.grad).all()


def test_its_pylops_view_passes_their_dot_test(forward):
    operator = forward.operator
    operator = operator if is_linear(operator) else operator.linearize(images(forward)[0])
    view = as_pylops(operator)
    assert pylops.utils.dottest(view, rtol=1e-10, complexflag=2 if np.issubdtype(view.dtype, complex) else 0)


def test_its_fingerprint_follows_its_parameters(forward):
    again = plugins.load(forward.name)() if forward.name in OURS else forward
    assert again.fingerprint() == forward.fingerprint()


def test_photoacoustic_front_arrives_when_it_should():
    """A smooth point source at depth d under a sensor: the pressure peaks at t = d / c, for every sensor in turn."""
    forward = plugins.load("photoacoustic-line")(48)
    z, x = np.meshgrid(np.arange(48), np.arange(48), indexing="ij")
    source = torch.from_numpy(np.exp(-((z - 20.0) ** 2 + (x - 24.0) ** 2) / (2 * 1.5**2)))
    y = forward.operator(source[None])[0]
    time = forward.data_axes[1].coordinates
    for sensor in (24, 14, 39):
        distance = 0.1 * np.hypot(20, sensor - 24)  # mm
        peak = time[int(y[sensor].argmax())]
        assert abs(peak * 1.5 - distance) < 0.2  # mm; the source is 0.15 mm wide and its front leads


def test_photoacoustic_space_is_free():
    """A larger period changes nothing but the tails of band-limited pixels: no periodic image arrives."""
    forward = plugins.load("photoacoustic-line")(24)
    z, x = np.meshgrid(np.arange(24), np.arange(24), indexing="ij")
    source = torch.from_numpy(np.exp(-((z - 20.0) ** 2 + (x - 3.0) ** 2) / (2 * 1.5**2)))[None]
    wide = pickle.loads(pickle.dumps(forward.operator))
    wide.period *= 2
    near, far = forward.operator(source), wide(source)
    assert float((near - far).abs().max() / near.abs().max()) < 2e-2


def test_photoacoustic_sensors_are_rows_of_the_full_line():
    load = plugins.load("photoacoustic-line")
    full, some = load(16), load(16, sensors=[1, 4, 9])
    x = images(full)
    torch.testing.assert_close(some.operator(x), full.operator(x)[:, :, [1, 4, 9]])
    assert full.mirror == ("x",)
    assert some.mirror == ()
    assert some.fingerprint() != full.fingerprint()
    with pytest.raises(ValueError, match=r"sensor columns in 0\.\.15, got \[16\]"):
        load(16, sensors=[16])


@pytest.mark.parametrize("size", [8, 16, 40])
def test_poststack_is_pylops_on_a_section_that_goes_on(size):
    from bayesinv_operators.seismic_poststack import ricker

    forward = plugins.load("seismic-poststack")(size, wavelet_frequency=0.12)
    pad = 40
    theirs = pylops.avo.poststack.PoststackLinearModelling(0.5 * ricker(0.12), nt0=size + 2 * pad, spatdims=size)
    x = images(forward, 1)[0, 0].numpy()
    y = (theirs @ np.pad(x, ((pad, pad), (0, 0)), mode="edge").ravel()).reshape(-1, size)[pad:-pad]
    np.testing.assert_allclose(forward.operator(torch.from_numpy(x)[None])[0].numpy(), y, atol=1e-12)
    assert float(forward.operator(torch.ones(1, size, size, dtype=torch.float64)).abs().max()) < 1e-12


def test_bad_parameters_are_named():
    with pytest.raises(ValueError, match=r"cycles per sample, got 0\.7"):
        plugins.load("seismic-poststack")(wavelet_frequency=0.7)
    with pytest.raises(ValueError, match="positive size and blur"):
        plugins.load("deblur")(blur=0.0)
