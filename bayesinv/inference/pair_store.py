"""A chunked Zarr store of pairs on disk: ``x``, ``y``, ``sigma`` with their axes, units and provenance.

Chunk ``i`` of each array holds the pairs ``i chunk`` to ``(i + 1) chunk``. The chunk of ``sigma`` is written last, each
by a rename, so that where it is there the pairs are whole: a killed job goes on with the chunks that lack. No byte
depends on the time, the place, or who wrote it. ``xarray.open_zarr(path, consolidated=False)`` reads it, labelled.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from bayesinv.physics import Axis, ForwardModel

if TYPE_CHECKING:
    import zarr

__all__ = ["create_store", "missing_chunks", "read_arrays", "read_record", "write_chunk"]

_KIND = "pairs"


def create_store(
    path: Path,
    forward: ForwardModel,
    n: int,
    chunk: int,
    like: tuple[Tensor, Tensor, Tensor],
    record: Mapping[str, Any],
) -> None:
    """Makes an empty store: written beside the path, then renamed to it.

    Args:
        path: folder to make.
        forward: gives names, units and coordinates.
        n: number of pairs.
        chunk: pairs a chunk.
        like: some pairs, whose dtypes the arrays get.
        record: what tells this set from another, as JSON.
    """
    import zarr

    image_dims = [f"image_{axis.name}" for axis in forward.model_axes]
    data_dims = [f"data_{axis.name}" for axis in forward.data_axes]
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        group = zarr.open_group(temporary / path.name, mode="w", zarr_format=3)
        group.attrs.update({"bayesinv_kind": _KIND, "bayesinv_record": json.dumps(dict(record), sort_keys=True)})
        axes = (*forward.model_axes, *forward.data_axes)
        for axis, name in zip(axes, (*image_dims, *data_dims), strict=True):
            _add_axis(group, axis, name)
        x, y, sigma = like
        columns = {
            "x": (x, ["image_channel", *image_dims], forward.quantity, forward.unit),
            "y": (y, ["data_channel", *data_dims], forward.data_quantity, forward.data_unit),
            "sigma": (sigma, [], "noise level", forward.data_unit),
        }
        for name, (tensor, dims, quantity, unit) in columns.items():
            shape = tuple(tensor.shape[1:])
            group.create_array(
                name,
                shape=(n, *shape),
                chunks=(min(chunk, n), *shape),
                dtype=tensor.cpu().numpy().dtype,
                dimension_names=["simulation", *dims],
                attributes={"long_name": quantity, "units": unit},
            )
        (temporary / path.name).rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_chunk(path: Path, start: int, pairs: Sequence[Tensor]) -> None:
    """Stores whole chunks of pairs from number ``start`` on."""
    import zarr

    group = zarr.open_group(path, mode="r+")
    for name, tensor in zip(("x", "y", "sigma"), pairs, strict=True):
        _array(group, name)[start : start + len(tensor)] = tensor.cpu().numpy()


def missing_chunks(path: Path) -> list[tuple[int, int]]:
    """``(start, stop)`` of every chunk that is not there yet."""
    import zarr

    sigma = _array(zarr.open_group(path, mode="r"), "sigma")
    n, chunk = sigma.shape[0], sigma.chunks[0]
    starts = range(0, n, chunk)
    folder = path / "sigma" / "c"
    return [(start, min(start + chunk, n)) for start in starts if not (folder / str(start // chunk)).is_file()]


def read_record(path: Path) -> dict[str, Any]:
    """The record of a store.

    Raises:
        FileNotFoundError: if there is nothing at the path.
        ValueError: if what is there is no store of pairs.
    """
    import zarr

    if not path.exists():
        raise FileNotFoundError(f"expected a store of pairs, found nothing at {path}")
    try:
        attributes = dict(zarr.open_group(path, mode="r").attrs)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"expected a store of pairs (Zarr), got {path}, damaged or of another kind") from error
    if attributes.get("bayesinv_kind") != _KIND:
        raise ValueError(f"expected a store of pairs, got another kind of Zarr store: {path}")
    record: dict[str, Any] = json.loads(str(attributes["bayesinv_record"]))
    return record


def read_arrays(path: Path, index: int | slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``x, y, sigma`` of some pairs.

    Raises:
        ValueError: if some are not there yet, or damaged.
    """
    import zarr

    missing = missing_chunks(path)
    if missing:
        pairs = sum(stop - start for start, stop in missing)
        raise ValueError(f"expected a complete set, got {path} without {pairs} of its pairs; simulate again to go on")
    group = zarr.open_group(path, mode="r")
    try:
        x, y, sigma = (np.asarray(_array(group, name)[index]) for name in ("x", "y", "sigma"))
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"expected readable pairs, got {path}, truncated or damaged") from error
    return x, y, sigma


def _add_axis(group: zarr.Group, axis: Axis, name: str) -> None:
    group.create_array(
        name,
        data=axis.coordinates,
        dimension_names=[name],
        attributes={"long_name": axis.name.replace("_", " "), "units": axis.unit},
    )


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    import zarr

    array = group[name]
    if not isinstance(array, zarr.Array):
        raise ValueError(f"expected an array {name!r} in the store, got a group")
    return array
