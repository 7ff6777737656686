r"""Posterior samples with their coordinates, their data and their provenance.

``Samples.values[s, n, c, ...]`` is sample ``s`` of ``p(x | y_n)`` in channel ``c`` on the axes of the model. Summaries
are labelled arrays of :mod:`xarray`, ready to plot, select and save.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xarray as xr

from bayesinv.inference.netcdf import load_dataset, save_dataset

__all__ = ["Samples", "labelled"]

_COMPANIONS = ("data", "sigma", "truth", "baseline", "chi2")


class _Axis(Protocol):
    """Name, unit and coordinates of one axis, as :class:`bayesinv.physics.Axis` has them."""

    @property
    def name(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def coordinates(self) -> Any: ...


def labelled(
    values: Any, axes: Sequence[_Axis], *, leading: Sequence[str] = (), quantity: str = "x", unit: str = "1"
) -> xr.DataArray:
    """Array of shape ``(*leading, channel, *axes)`` with names, coordinates and units.

    Args:
        values: numbers (numpy or a tensor on the CPU).
        axes: the space (or data) axes; each has ``name``, ``unit`` and ``coordinates``.
        leading: names of the axes before the channel, such as ``("sample", "observation")``.
        quantity: what the numbers are, such as ``"initial pressure"``.
        unit: unit of the numbers.

    Returns:
        The array; ``long_name`` and ``units`` are set on it and on each coordinate (CF conventions).

    Raises:
        ValueError: if the number of axes does not fit.

    Example:
        >>> from types import SimpleNamespace
        >>> depth = SimpleNamespace(name="z", unit="mm", coordinates=[0.0, 0.5])
        >>> labelled([[[1.0, 2.0]]], [depth], leading=("sample",)).dims
        ('sample', 'channel', 'z')
    """
    array = np.asarray(values)
    dims = (*leading, "channel", *(axis.name for axis in axes))
    if array.ndim != len(dims):
        raise ValueError(f"expected an array with axes {dims}, got one of shape {array.shape}")
    coordinates = {
        axis.name: (axis.name, np.asarray(axis.coordinates), {"long_name": _in_words(axis.name), "units": axis.unit})
        for axis in axes
    }
    return xr.DataArray(array, dims=dims, coords=coordinates, attrs={"long_name": quantity, "units": unit})


def _in_words(name: str) -> str:
    return name.replace("_", " ")


@dataclass(frozen=True, eq=False, repr=False)
class Samples:
    """Samples of a posterior, for one observation or a batch of them.

    Attributes:
        values: the samples, dims ``("sample", ["observation",] "channel", *space)``.
        data: the observed data ``y``, dims ``(["observation",] "channel", *data axes)``.
        sigma: the noise level, dims ``(["observation"])``, in the unit of the data.
        truth: the true image where it is known, dims of one sample.
        baseline: a classical reconstruction to compare with, dims of one sample.
        chi2: squared residual over squared noise level, per datum, of each sample, dims
            ``("sample"[, "observation"])``.
        provenance: JSON-able record of how the samples came about (versions, seeds, sizes, times).

    Raises:
        ValueError: if the dims do not begin with ``sample`` or lack ``channel``.

    Example:
        >>> values = xr.DataArray(np.arange(6.0).reshape(3, 1, 2), dims=("sample", "channel", "x"))
        >>> Samples(values).mean().values
        array([[2., 3.]])
    """

    values: xr.DataArray
    data: xr.DataArray | None = None
    sigma: xr.DataArray | None = None
    truth: xr.DataArray | None = None
    baseline: xr.DataArray | None = None
    chi2: xr.DataArray | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the dims."""
        dims = self.values.dims
        if dims[:1] != ("sample",) or "channel" not in dims[1:3]:
            raise ValueError(f"expected dims ('sample', ['observation',] 'channel', *space), got {dims}")
        for name in ("truth", "baseline"):
            companion = getattr(self, name)
            if companion is not None and (companion.dims != dims[1:] or companion.shape != self.values.shape[1:]):
                raise ValueError(
                    f"expected a {name} with dims {dims[1:]} and shape {self.values.shape[1:]}, "
                    f"got {companion.dims} and {companion.shape}"
                )

    def __len__(self) -> int:
        """Number of samples."""
        return int(self.values.sizes["sample"])

    def __repr__(self) -> str:
        """Sizes and companions, not the numbers."""
        sizes = ", ".join(f"{dim}: {size}" for dim, size in self.values.sizes.items())
        present = [name for name in _COMPANIONS if getattr(self, name) is not None]
        return f"Samples({sizes}; with {', '.join(present) or 'no companions'})"

    def mean(self) -> xr.DataArray:
        """Posterior mean, pixel by pixel."""
        return self.values.mean("sample", keep_attrs=True)

    def std(self) -> xr.DataArray:
        """Posterior standard deviation, pixel by pixel (``N - 1`` in the denominator).

        Raises:
            ValueError: if there are fewer than two samples.
        """
        if len(self) < 2:
            raise ValueError(f"expected at least 2 samples for a standard deviation, got {len(self)}")
        return self.values.std("sample", ddof=1, keep_attrs=True)

    def quantile(self, q: float | Sequence[float]) -> xr.DataArray:
        """Posterior quantiles at ``q`` in [0, 1], a ``quantile`` axis first if ``q`` is a sequence.

        The k-th of N ordered samples stands for ``k / (N + 1)`` (Weibull), so that a fresh draw falls below the
        quantile with probability ``q`` at any N; the common ``(k - 1) / (N - 1)`` is too narrow for small N.
        """
        levels = np.asarray(q, dtype=float)
        if not ((levels >= 0) & (levels <= 1)).all():
            raise ValueError(f"expected quantiles between 0 and 1, got {q}")
        return self.values.quantile(levels, dim="sample", method="weibull", keep_attrs=True, skipna=False)

    def interval(self, level: float = 0.9) -> xr.DataArray:
        """Central credible interval of each pixel, with a first axis ``bound`` = lower, upper.

        Args:
            level: probability inside, between 0 and 1.

        Raises:
            ValueError: if `level` is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise ValueError(f"expected a level between 0 and 1, got {level}")
        bounds = self.quantile(((1 - level) / 2, (1 + level) / 2))
        bounds = bounds.rename(quantile="bound").assign_coords(bound=["lower", "upper"])
        return bounds.assign_attrs(level=level)

    def exceedance(self, threshold: float) -> xr.DataArray:
        """Posterior probability that a pixel is above `threshold`: the share of samples above it."""
        above = (self.values > threshold).mean("sample")
        return above.assign_attrs(
            long_name=f"probability of {self.values.attrs.get('long_name', 'x')} > {threshold:g}", units="1"
        )

    def observation(self, index: int) -> Samples:
        """Samples of one observation of a batch, without the ``observation`` axis (unchanged if there is none)."""
        if "observation" not in self.values.dims:
            if index not in (0, -1):
                raise ValueError(f"expected observation 0, the only one, got {index}")
            return self
        chosen: dict[str, Any] = {}
        for name in ("values", *_COMPANIONS):
            array = getattr(self, name)
            if array is not None:
                chosen[name] = array.isel(observation=index) if "observation" in array.dims else array
        return replace(self, **chosen)

    def with_truth(self, truth: Any) -> Samples:
        """The same samples beside the true image (labelled, or bare numbers of the shape of one sample)."""
        return replace(self, truth=self._like(truth))

    def with_baseline(self, baseline: Any) -> Samples:
        """The same samples beside a classical reconstruction (labelled, or bare numbers of the shape of one sample)."""
        return replace(self, baseline=self._like(baseline))

    def _like(self, image: Any) -> xr.DataArray:
        if isinstance(image, xr.DataArray):
            return image
        one = self.values.isel(sample=0, drop=True)
        numbers = np.asarray(image)
        if numbers.shape != one.shape:
            raise ValueError(f"expected an image of shape {one.shape}, got {numbers.shape}")
        return one.copy(data=numbers)

    def to_xarray(self) -> xr.Dataset:
        """All arrays in one dataset, the samples as ``image``; the axes of the data get the prefix ``data_``."""
        arrays: dict[str, xr.DataArray] = {"image": self.values}
        for name in _COMPANIONS:
            array = getattr(self, name)
            if array is None:
                continue
            if name == "data":
                array = array.rename({dim: f"data_{dim}" for dim in array.dims if dim != "observation"})
            arrays[name] = array
        return xr.Dataset(arrays, attrs={"provenance": dict(self.provenance)})

    def to_arviz(self) -> Any:
        """The samples as ArviZ holds them: an ``InferenceData`` (ArviZ 0.x) or a ``DataTree`` (ArviZ 1.x).

        The groups are ``posterior`` (one chain), and where known ``observed_data`` and ``sample_stats`` (``chi2``).
        """
        dataset = self.to_xarray()
        dataset.attrs = {}
        names = ["image"] if self.chi2 is None else ["image", "chi2"]
        draws = dataset[names].rename(sample="draw").expand_dims(chain=[0]).assign_coords(draw=np.arange(len(self)))
        groups: dict[str, Any] = {"posterior": draws[["image"]]}
        if self.chi2 is not None:
            groups["sample_stats"] = draws[["chi2"]]
        if self.data is not None:
            groups["observed_data"] = dataset[["data"]]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # ArviZ 0.x announces 1.x at import
            import arviz
        if hasattr(arviz, "InferenceData"):
            return arviz.InferenceData(**groups)
        return xr.DataTree.from_dict(groups)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a netCDF file (float32, compressed), atomically; complex data become two real variables."""
        dataset = self.to_xarray()
        dataset.attrs = {}
        if "data" in dataset and np.iscomplexobj(dataset["data"]):
            dataset = dataset.assign(data_real=dataset["data"].real, data_imag=dataset["data"].imag).drop_vars("data")
        return save_dataset(dataset, path, kind="samples", record=self.provenance)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Samples:
        """Read samples back.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is truncated, damaged, or does not hold samples.
        """
        dataset, record = load_dataset(path, kind="samples")
        if "data_real" in dataset:
            dataset = dataset.assign(data=dataset["data_real"] + 1j * dataset["data_imag"])
        found: dict[str, xr.DataArray | None] = {}
        for name in _COMPANIONS:
            found[name] = _alone(dataset, name) if name in dataset else None
        data = found["data"]
        if data is not None:
            found["data"] = data.rename({dim: str(dim).removeprefix("data_") for dim in data.dims})
        return Samples(_alone(dataset, "image"), provenance=record, **found)


def _alone(dataset: xr.Dataset | Mapping[str, xr.DataArray], name: str) -> xr.DataArray:
    array = dataset[name]
    array.encoding = {}
    return array.rename(None)
