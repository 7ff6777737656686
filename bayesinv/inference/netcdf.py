"""netCDF files of labelled arrays: float32, compressed, written atomically, with a JSON record beside the numbers."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import xarray as xr

__all__ = ["load_dataset", "save_dataset"]


def save_dataset(dataset: xr.Dataset, path: str | os.PathLike[str], *, kind: str, record: Mapping[str, Any]) -> Path:
    """Write a dataset atomically: to a temporary file in the same folder, then rename.

    Floating-point variables are stored as float32, compressed. The file never exists half written: a crash or a full
    disk leaves the former file as it was.

    Args:
        dataset: labelled arrays.
        path: file to write; its folder must exist.
        kind: what the file holds (``"samples"``, ``"checks"``), checked by :func:`load_dataset`.
        record: JSON-able mapping, kept as an attribute of the file.

    Returns:
        The path written.

    Raises:
        ValueError: if the folder does not exist or the record is not JSON-able.
        OSError: if the file cannot be written.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise ValueError(f"expected an existing folder for {target.name}, got {target.parent}")
    try:
        text = json.dumps(dict(record), allow_nan=True)
    except TypeError as error:
        raise ValueError(f"expected a JSON-able record, got {error}") from error
    marked = dataset.assign_attrs(bayesinv_kind=kind, bayesinv_record=text)
    encoding: dict[str, dict[str, Any]] = {}
    for name, variable in marked.data_vars.items():
        if np.issubdtype(variable.dtype, np.floating):
            packed = {"zlib": True, "complevel": 1, "shuffle": True} if variable.ndim else {}
            encoding[str(name)] = {"dtype": "float32", "_FillValue": None, **packed}
    try:
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
        os.close(descriptor)
        try:
            marked.to_netcdf(temporary, engine="netcdf4", encoding=encoding)
            os.chmod(temporary, 0o644)
            os.replace(temporary, target)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:  # a full disk is a RuntimeError of netCDF's ("HDF error")
        raise OSError(f"cannot write {target}: {getattr(error, 'strerror', None) or error}") from error
    return target


def load_dataset(path: str | os.PathLike[str], *, kind: str) -> tuple[xr.Dataset, dict[str, Any]]:
    """Read back what :func:`save_dataset` wrote: the dataset, in memory, and its record.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is truncated, damaged, or holds something else than `kind`.
    """
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"expected a file of {kind}, got no file at {source}")
    try:
        with xr.open_dataset(source, engine="netcdf4") as opened:
            dataset = opened.load()
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"expected a readable netCDF file of {kind}, got {source}, truncated or damaged") from error
    found = dataset.attrs.pop("bayesinv_kind", None)
    if found != kind:
        raise ValueError(f"expected a file of {kind}, got one of {found or 'unknown origin'}: {source}")
    record = cast("dict[str, Any]", json.loads(dataset.attrs.pop("bayesinv_record")))
    return dataset, record
