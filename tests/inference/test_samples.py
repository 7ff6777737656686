"""Samples: summaries against numpy, round trips through files and ArviZ, clear errors."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from bayesinv.inference.samples import Samples, labelled

AXES = [
    SimpleNamespace(name="z", unit="mm", coordinates=np.arange(5) * 0.1),
    SimpleNamespace(name="x", unit="mm", coordinates=np.arange(6) * 0.2),
]


def batch(number: int = 30, seed: int = 0) -> Samples:
    random = np.random.default_rng(seed)
    values = labelled(
        random.normal(size=(number, 3, 1, 5, 6)).astype(np.float32),
        AXES,
        leading=("sample", "observation"),
        quantity="initial pressure",
        unit="kPa",
    )
    sensors = [SimpleNamespace(name="x", unit="ms", coordinates=np.arange(8.0))]
    return Samples(
        values,
        data=labelled(random.normal(size=(3, 2, 8)).astype(np.float32), sensors, leading=("observation",)),
        sigma=xr.DataArray(np.ones(3, dtype=np.float32), dims="observation"),
        chi2=xr.DataArray(random.random((number, 3)).astype(np.float32), dims=("sample", "observation")),
        provenance={"seed": 3, "sizes": [64, 64], "name": "toy"},
    )


def test_summaries_meet_numpy():
    samples = batch()
    values = samples.values.to_numpy()
    np.testing.assert_allclose(samples.mean(), values.mean(0), atol=1e-6)
    np.testing.assert_allclose(samples.std(), values.std(0, ddof=1), atol=1e-6)
    np.testing.assert_allclose(samples.exceedance(0.5), (values > 0.5).mean(0))
    np.testing.assert_allclose(samples.quantile(0.3), np.quantile(values, 0.3, axis=0, method="weibull"), atol=1e-6)
    bounds = samples.interval(0.8)
    assert list(bounds["bound"].values) == ["lower", "upper"]
    np.testing.assert_allclose(bounds, np.quantile(values, (0.1, 0.9), axis=0, method="weibull"), atol=1e-6)
    assert samples.mean().attrs == {"long_name": "initial pressure", "units": "kPa"}
    assert samples.mean()["z"].attrs["units"] == "mm"


def test_intervals_cover_a_fresh_draw_as_they_claim():
    random = np.random.default_rng(1)
    values = xr.DataArray(random.normal(size=(19, 1, 20000)), dims=("sample", "channel", "x"))
    bounds = Samples(values).interval(0.9)  # ends are the 1st and the 19th of 19
    fresh = random.normal(size=(1, 20000))
    inside = ((fresh > bounds[0]) & (fresh < bounds[1])).mean()
    assert abs(float(inside) - 0.9) < 4 * np.sqrt(0.9 * 0.1 / 20000)


def test_file_gives_the_same_samples(tmp_path):
    samples = batch()
    samples = samples.with_truth(samples.values[0].to_numpy()).with_baseline(samples.mean())
    loaded = Samples.load(samples.save(tmp_path / "samples.nc"))
    for name in ("values", "data", "sigma", "truth", "baseline", "chi2"):
        xr.testing.assert_identical(getattr(loaded, name), getattr(samples, name))
    assert loaded.provenance == samples.provenance
    assert [path.name for path in tmp_path.iterdir()] == ["samples.nc"]


def test_complex_data_survive(tmp_path):
    data = xr.DataArray(np.array([[[1 + 2j, 3 - 1j]]], dtype=np.complex64), dims=("observation", "channel", "k"))
    samples = Samples(batch().values[:, :1], data=data)
    loaded = Samples.load(samples.save(tmp_path / "samples.nc"))
    np.testing.assert_array_equal(loaded.data, data)


def test_truncated_foreign_and_missing_files_are_named(tmp_path):
    whole = batch().save(tmp_path / "samples.nc")
    cut = tmp_path / "cut.nc"
    cut.write_bytes(whole.read_bytes()[:3000])
    with pytest.raises(ValueError, match="truncated or damaged"):
        Samples.load(cut)
    with pytest.raises(FileNotFoundError, match="expected a file of samples"):
        Samples.load(tmp_path / "none.nc")
    xr.Dataset({"a": 1.0}).to_netcdf(tmp_path / "other.nc", engine="netcdf4")
    with pytest.raises(ValueError, match="one of unknown origin"):
        Samples.load(tmp_path / "other.nc")


def test_failed_write_keeps_the_former_file(tmp_path):
    path = batch().save(tmp_path / "samples.nc")
    before = path.read_bytes()
    broken = Samples(batch().values, provenance={"bad": {1, 2}})
    with pytest.raises(ValueError, match="JSON-able"):
        broken.save(path)
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="existing folder"):
        batch().save(tmp_path / "none" / "samples.nc")


def test_arviz_has_the_draws():
    samples = batch()
    tree = samples.to_arviz()
    image = tree["posterior"]["image"]
    assert image.dims[:3] == ("chain", "draw", "observation")
    np.testing.assert_array_equal(np.asarray(image)[0], samples.values)
    assert tree["sample_stats"]["chi2"].shape == (1, 30, 3)


def test_one_observation_of_a_batch():
    samples = batch()
    one = samples.observation(2)
    assert one.values.dims == ("sample", "channel", "z", "x")
    np.testing.assert_array_equal(one.values, samples.values[:, 2])
    assert one.chi2.dims == ("sample",)
    assert one.observation(0) is one


def test_bad_input_is_refused():
    samples = batch()
    with pytest.raises(ValueError, match="expected dims"):
        Samples(samples.values[0])
    with pytest.raises(ValueError, match="expected an image of shape"):
        samples.with_truth(np.zeros((5, 6)))
    with pytest.raises(ValueError, match="between 0 and 1"):
        samples.interval(90)
    with pytest.raises(ValueError, match="at least 2 samples"):
        Samples(samples.values[:1]).std()
