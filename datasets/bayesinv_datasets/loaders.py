r"""Your own images and records from files, as labelled arrays (a prior of them: `bayesinv_datasets.image_files`).

=======================================================  =============================  ================
file                                                     needs                          axes
=======================================================  =============================  ================
``.npy``, ``.npz`` (one array, or by name)               \-                             by position
``.nc``, ``.nc4``, ``.zarr`` (one variable, or by name)  \-                             as stored
``.sgy``, ``.segy`` (post-stack: one line of traces)     pip install 'bayesinv[segy]'   time in s, trace
``.nii``, ``.nii.gz``                                    pip install 'bayesinv[nifti]'  voxels in mm
=======================================================  =============================  ================

Nothing is resampled or rescaled. Values must be finite numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

__all__ = ["load_array"]


def load_array(path: str | Path, *, variable: str | None = None) -> xr.DataArray:
    """One array from a file, with the coordinates and units that the file knows.

    Args:
        path: the file; its ending says what it is, see the head of the module.
        variable: which array, where a file holds several.

    Returns:
        The array, in memory; float32, float64 or complex as stored, integers as float32.

    Raises:
        FileNotFoundError: if there is none.
        ImportError: if the package that reads the format is not installed; the message says how to install it.
        ValueError: if the ending is unknown, the file damaged, the variable not told or not there,
            or a value no number.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(Path(folder) / "section.npy", np.ones((64, 48)))
        ...     load_array(Path(folder) / "section.npy").sizes["dim_1"]
        48
    """
    file = Path(path)
    if not file.exists():
        raise FileNotFoundError(f"expected a file to load, found nothing at {file}")
    ending = "".join(file.suffixes[-2:]).lower()
    reader = READERS.get(ending) or READERS.get(file.suffix.lower())
    if reader is None:
        raise ValueError(f"expected a file that ends in {', '.join(READERS)}, got {file.name}")
    try:
        array = reader(file, variable)
    except (OSError, EOFError, RuntimeError) as error:
        raise ValueError(f"expected a readable {file.suffix} file, got {file}, damaged or of another kind") from error
    if array.dtype.kind in "iub":
        array = array.astype(np.float32)
    if array.dtype.kind not in "fc" or not bool(np.isfinite(array.to_numpy()).all()):
        raise ValueError(f"expected finite numbers in {file}, got {array.dtype} or NaN or infinite values")
    return array


def _numpy(file: Path, variable: str | None) -> xr.DataArray:
    try:
        loaded = np.load(file, allow_pickle=False)
    except ValueError as error:
        raise ValueError(f"expected an array of numbers, got {file}, damaged or of another kind") from error
    if isinstance(loaded, np.ndarray):
        return xr.DataArray(loaded)
    with loaded:
        return xr.DataArray(loaded[_chosen(list(loaded.files), variable, file)])


def _netcdf(file: Path, variable: str | None) -> xr.DataArray:
    with xr.open_dataset(file, engine="netcdf4") as dataset:
        return dataset[_chosen([str(name) for name in dataset.data_vars], variable, file)].load()


def _zarr(file: Path, variable: str | None) -> xr.DataArray:
    with xr.open_zarr(file, consolidated=False) as dataset:
        return dataset[_chosen([str(name) for name in dataset.data_vars], variable, file)].load()


def _segy(file: Path, variable: str | None) -> xr.DataArray:
    segyio: Any = _package("segyio", "segy")
    with segyio.open(str(file), ignore_geometry=True) as traces:
        values = np.stack([np.array(trace) for trace in traces.trace], axis=1)
        time = np.asarray(traces.samples, dtype=np.float64) / 1e3
    axes = {
        "time": ("time", time, {"units": "s"}),
        "trace": ("trace", np.arange(values.shape[1], dtype=np.float64), {"units": "1"}),
    }
    return xr.DataArray(values, dims=("time", "trace"), coords=axes, attrs={"long_name": "amplitude"})


def _nifti(file: Path, variable: str | None) -> xr.DataArray:
    nibabel: Any = _package("nibabel", "nifti")
    try:
        image = nibabel.load(file)
        values = np.asarray(image.dataobj)
    except nibabel.filebasedimages.ImageFileError as error:
        raise ValueError(f"expected a NIfTI file, got {file}, damaged or of another kind") from error
    names = ("i", "j", "k", "volume")[: values.ndim]
    sizes = image.header.get_zooms()
    axes = {
        name: (name, float(size) * np.arange(length), {"units": "1" if name == "volume" else "mm"})
        for name, length, size in zip(names, values.shape, sizes, strict=True)
    }
    return xr.DataArray(values, dims=names, coords=axes)


READERS: dict[str, Callable[[Path, str | None], xr.DataArray]] = {
    ".npy": _numpy,
    ".npz": _numpy,
    ".nc": _netcdf,
    ".nc4": _netcdf,
    ".zarr": _zarr,
    ".sgy": _segy,
    ".segy": _segy,
    ".nii": _nifti,
    ".nii.gz": _nifti,
}


def _chosen(names: list[str], wanted: str | None, file: Path) -> str:
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted not in names:
        listed = ", ".join(names) or "none"
        raise ValueError(f"expected the name of an array in {file} ({listed}), got {wanted!r}")
    return wanted


def _package(name: str, extra: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"expected {name} to read this file, got: {error}; pip install 'bayesinv[{extra}]'"
        ) from error
