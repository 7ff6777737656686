"""Files of arrays: what was written is read, with its axes; bad files and lacking packages are named."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
import torch
import xarray as xr

from bayesinv_datasets.image_files import image_files
from bayesinv_datasets.loaders import load_array

VALUES = np.random.default_rng(0).standard_normal((12, 20)).astype(np.float32)


def test_numpy_files(tmp_path):
    np.save(tmp_path / "a.npy", VALUES)
    np.savez(tmp_path / "a.npz", first=VALUES, second=2 * VALUES)
    np.testing.assert_array_equal(load_array(tmp_path / "a.npy"), VALUES)
    np.testing.assert_array_equal(load_array(tmp_path / "a.npz", variable="second"), 2 * VALUES)
    with pytest.raises(ValueError, match=r"\(first, second\), got None"):
        load_array(tmp_path / "a.npz")


@pytest.mark.parametrize("ending", [".nc", ".zarr"])
def test_labelled_files(tmp_path, ending):
    time = xr.DataArray(0.004 * np.arange(12), dims="time", attrs={"units": "s"})
    array = xr.DataArray(VALUES, dims=("time", "x"), coords={"time": time}, name="section", attrs={"units": "1"})
    dataset, file = array.to_dataset(), tmp_path / f"a{ending}"
    if ending == ".nc":
        dataset.to_netcdf(file)
    else:
        dataset.to_zarr(file, consolidated=False)
    found = load_array(file)
    xr.testing.assert_identical(found, array)


@pytest.mark.skipif(importlib.util.find_spec("segyio") is None, reason="needs the extra 'segy'")
def test_seismic_files(tmp_path):
    import segyio

    segyio.tools.from_array2D(str(tmp_path / "a.sgy"), VALUES.T.copy(), dt=4000)
    found = load_array(tmp_path / "a.sgy")
    assert found.dims == ("time", "trace")
    np.testing.assert_allclose(found, VALUES, rtol=1e-6)
    np.testing.assert_allclose(found["time"], 0.004 * np.arange(12))


@pytest.mark.skipif(importlib.util.find_spec("nibabel") is None, reason="needs the extra 'nifti'")
def test_medical_files(tmp_path):
    import nibabel

    volume = np.stack([VALUES, 2 * VALUES], 2)
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([2.0, 2.0, 3.0, 1.0])), tmp_path / "a.nii.gz")
    found = load_array(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(found, volume)
    assert [float(found[name][1]) for name in ("i", "j", "k")] == [2.0, 2.0, 3.0]


@pytest.mark.parametrize(("ending", "package", "extra"), [(".sgy", "segyio", "segy"), (".nii", "nibabel", "nifti")])
def test_a_lacking_package_is_named_with_its_extra(tmp_path, monkeypatch, ending, package, extra):
    (tmp_path / f"a{ending}").write_bytes(b"something")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"pip install 'bayesinv\[{extra}\]'"):
        load_array(tmp_path / f"a{ending}")


@pytest.mark.parametrize("ending", [".npy", ".npz", ".nc", ".sgy", ".nii"])
def test_damaged_files_are_named(tmp_path, ending):
    package = {".sgy": "segyio", ".nii": "nibabel"}.get(ending)
    if package and importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}")
    (tmp_path / f"a{ending}").write_bytes(b"something that is none" * 40)
    with pytest.raises(ValueError, match=r"expected a(n array of numbers| readable| NIfTI)"):
        load_array(tmp_path / f"a{ending}")


def test_other_mistakes_are_named(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_array(tmp_path / "none.npy")
    (tmp_path / "a.txt").write_text("1 2 3")
    with pytest.raises(ValueError, match=r"ends in \.npy"):
        load_array(tmp_path / "a.txt")
    np.save(tmp_path / "nan.npy", np.array([[np.nan]]))
    with pytest.raises(ValueError, match="finite numbers"):
        load_array(tmp_path / "nan.npy")


def test_a_prior_cuts_patches_of_the_files_and_of_nothing_else(tmp_path):
    image = np.arange(30 * 40, dtype=np.float32).reshape(30, 40)
    np.save(tmp_path / "a.npy", image)
    np.save(tmp_path / "b.npy", np.stack([image + 5000, image + 9000]))
    prior = image_files(8, paths=[tmp_path / "a.npy", tmp_path / "b.npy"])
    x = prior.sample(300, 0)
    assert torch.equal(x[100:120], prior.sample(20, 0, start=100))
    origin = x[:, 0].amin((1, 2)) // 4000
    assert {int(k) for k in origin} == {0, 1, 2}
    for patch, kind in zip(x[:, 0].numpy(), origin, strict=True):
        whole = image + [0, 5000, 9000][int(kind)]
        corner = patch[0].min() - whole[0, 0]
        top, left = divmod(int(corner), 40)
        cut = whole[top : top + 8, left : left + 8]
        assert np.array_equal(patch, cut) or np.array_equal(patch, cut[:, ::-1])
    assert image_files(**prior.parameters) == prior
    with pytest.raises(ValueError, match="at least 32 x 32"):
        image_files(32, paths=[tmp_path / "a.npy"])
    with pytest.raises(ValueError, match="list of one or more files"):
        image_files(8, paths=str(tmp_path / "a.npy"))
