"""Observed data from files: one record of a ``.npy`` array, a netCDF variable or a store of pairs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Observed", "read_observed"]


@dataclass(frozen=True)
class Observed:
    """Data of one record ``data_shape``; noise level and true image where the file knows them."""

    y: Any
    sigma: float | None = None
    truth: Any = None


def read_observed(path: Path, shape: tuple[int, ...], record: int | None) -> Observed:
    """One record of a file.

    Args:
        path: ``.npy``, netCDF with one variable or one called ``y`` or ``data``, or a store that `simulate` wrote.
        shape: ``data_shape`` of the posterior's operator.
        record: which record, where the file holds several.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged or of another kind, or the record is not told or not there.
    """
    if path.suffix == ".zarr":
        return _pair(path, shape, record)
    if not path.is_file():
        raise FileNotFoundError(f"expected a file of data, found no file {path}")
    if path.suffix == ".npy":
        return Observed(_one(_array(path), shape, record, path)[0])
    if path.suffix not in (".nc", ".nc4", ".cdf"):
        raise ValueError(f"expected data in a .npy or .nc file, or a .zarr store of pairs, got {path}")
    dataset = _dataset(path)
    name = next((name for name in ("y", "data") if name in dataset), None)
    if name is None:
        if len(dataset.data_vars) != 1:
            listed = ", ".join(map(str, dataset.data_vars)) or "none"
            raise ValueError(f"expected one variable, or one called y or data, in {path}, got {listed}")
        name = str(next(iter(dataset.data_vars)))
    return Observed(_one(dataset[name], shape, record, path)[0])


def _pair(path: Path, shape: tuple[int, ...], record: int | None) -> Observed:
    """One of a store of pairs, with what it knows: operator, noise level, true image."""
    import xarray as xr

    from bayesinv.inference.pair_store import read_arrays, read_record

    operator = read_record(path)["operator"]
    x, y, sigma = read_arrays(path, slice(None))
    one, index = _one(xr.DataArray(y, attrs={"operator": operator}), shape, record, path)
    return Observed(one, float(sigma[index]), x[index])


def _array(path: Path) -> Any:
    import numpy as np

    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"expected a NumPy array of numbers, got a damaged or foreign file {path}") from error


def _dataset(path: Path) -> xr.Dataset:
    import xarray as xr

    try:
        with xr.open_dataset(path, engine="netcdf4") as opened:
            return opened.load()
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"expected a readable netCDF file, got {path}, truncated or damaged") from error


def _one(y: Any, shape: tuple[int, ...], record: int | None, path: Path) -> tuple[Any, int]:
    """The record and its index; an array of another rank is passed on to the posterior, which says what is wrong."""
    if y.ndim != len(shape) + 1:
        if record is not None:
            raise ValueError(f"expected no --record, for {path} holds one array of shape {y.shape}")
        return y, 0
    if record is None:
        if len(y) != 1:
            raise ValueError(f"expected --record 0 to {len(y) - 1} to choose one of the {len(y)} records of {path}")
        record = 0
    if not 0 <= record < len(y):
        raise ValueError(f"expected --record 0 to {len(y) - 1} of {path}, got {record}")
    return y[record], record
