"""One panel of a figure: an image (or a line, or a slice) on physical axes, on the colour scale that it shares.

A vector, whose numbers have no place in space, is drawn as dots, one for each number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

__all__ = [
    "STYLE",
    "Scale",
    "axis_label",
    "common_scale",
    "count_ticks",
    "draw_panel",
    "first_panel",
    "new_figure",
    "only_outer_labels",
    "panels",
    "quantity_label",
    "space",
]

STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.linewidth": 0.8,
    "lines.linewidth": 1.4,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "image.interpolation": "nearest",
}


_DIVERGING = ("RdBu_r", "PuOr", "PuOr_r")  # whose middle means something


@dataclass(frozen=True)
class Scale:
    """Colour map and limits that several panels share."""

    map: str
    low: float
    high: float


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, free of any global plotting state; sizes in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def common_scale(*arrays: xr.DataArray | None, spread: bool = False) -> Scale:
    """The scale of one quantity: diverging about zero if it is signed, sequential from zero or its low end if not.

    The limits are the .2 and 99.8 % quantiles of the first array given, so that outliers of others do not set them.

    Args:
        arrays: images of the quantity, the leading one (the truth, if known) first; None is skipped.
        spread: whether the quantity is a standard deviation or an error (never below zero).
    """
    first = next(array for array in arrays if array is not None)
    low, high = (float(value) for value in np.nanquantile(np.asarray(first, dtype=float), (0.002, 0.998)))
    if spread:
        return Scale("viridis", 0.0, high or 1.0)
    if low < -0.15 * abs(high) and high > 0:
        limit = max(-low, high)
        return Scale("RdBu_r", -limit, limit)
    if abs(low) < 0.15 * abs(high):
        low = 0.0
    return Scale("magma", low, high if high > low else low + 1.0)


def space(array: xr.DataArray) -> list[str]:
    """Names of the space axes: the dims after ``channel``."""
    dims = [str(dim) for dim in array.dims]
    return dims[dims.index("channel") + 1 :]


def panels(array: xr.DataArray) -> list[tuple[xr.DataArray, str]]:
    """What is drawn of an array, each with the end of its title: the first three channels; a vector as a whole."""
    if not space(array):
        return [(array, "")]
    shown = [array.isel(channel=channel) for channel in range(min(3, array.sizes["channel"]))]
    if array.sizes["channel"] == 1:
        return [(shown[0], "")]
    names = array["channel"].values if "channel" in array.coords else range(len(shown))
    return [(image, f", channel {name}") for image, name in zip(shown, names, strict=False)]


def first_panel(array: xr.DataArray) -> xr.DataArray:
    """The first of `panels`."""
    return panels(array)[0][0]


def axis_label(array: xr.DataArray, dim: str) -> str:
    """Name and unit of an axis, such as ``z (mm)``."""
    attributes = array[dim].attrs if dim in array.coords else {}
    return _with_unit(attributes.get("long_name", dim), attributes.get("units", ""))


def quantity_label(array: xr.DataArray) -> str:
    """Name and unit of the numbers, such as ``pressure (Pa)``."""
    return _with_unit(array.attrs.get("long_name", ""), array.attrs.get("units", ""))


def _with_unit(name: str, unit: str) -> str:
    return f"{name} ({unit})" if unit and unit != "1" else str(name)


def draw_panel(
    axes: Axes, image: xr.DataArray, *, title: str, scale: Scale, label: str | None = None, bar: bool = True
) -> ScalarMappable | None:
    """Draw one of `panels`: a map in 2-D, a line in 1-D, the middle slice in 3-D, dots for a vector.

    Args:
        axes: where to draw.
        image: dims ``space`` only, one to three of them, or ``channel`` only.
        title: heading of the panel.
        scale: colours and limits.
        label: text of the colour bar (the quantity and its unit by default).
        bar: whether the panel has a colour bar of its own.

    Returns:
        What a colour bar shared by several panels needs; None for a line or dots.
    """
    if image.ndim == 3:
        first = str(image.dims[0])
        middle = image.sizes[first] // 2
        image = image.isel({first: middle})
        title = f"{title}, {first}[{middle}]"
    axes.set_title(title)
    if image.ndim == 1:
        _draw_line(axes, image, scale)
        axes.set_ylabel(quantity_label(image) if label is None else label)
        return None
    rows, columns = (str(dim) for dim in image.dims)
    extent = (*_edges(image, columns), *_edges(image, rows)[::-1])
    span = abs((extent[1] - extent[0]) / (extent[2] - extent[3]))
    same_unit = image[rows].attrs.get("units") == image[columns].attrs.get("units")
    drawn = axes.imshow(
        np.asarray(image),
        cmap=scale.map,
        vmin=scale.low,
        vmax=scale.high,
        extent=extent,
        aspect="equal" if same_unit and 0.25 < span < 4 else "auto",
    )
    axes.set(xlabel=axis_label(image, columns), ylabel=axis_label(image, rows))
    axes.locator_params(nbins=5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(True)
    if bar:
        colours = axes.figure.colorbar(drawn, ax=axes, shrink=0.85, pad=0.02, extend=_extend(image, scale))
        colours.set_label(quantity_label(image) if label is None else label)
    return drawn


def _draw_line(axes: Axes, image: xr.DataArray, scale: Scale) -> None:
    dim, low, high = str(image.dims[0]), scale.low, scale.high
    if dim == "channel":
        axes.plot(np.arange(image.size), image, "o", ms=4, color="C0")
        count_ticks(axes, image.size)
        low, high = min(low, float(image.min())), max(high, float(image.max()))  # a dot outside would not be seen
    else:
        axes.plot(image[dim], image, color="C0")
        axes.set_xlabel(axis_label(image, dim))
    if scale.map in _DIVERGING:
        axes.axhline((scale.low + scale.high) / 2, color="black", lw=0.6, ls="--")
    if np.isfinite([low, high]).all():
        margin = 0.1 * (high - low)
        axes.set_ylim(low - margin, high + margin)


def count_ticks(axes: Axes, count: int) -> None:
    """An axis of the numbers of a vector, from 0 to ``count - 1``."""
    step = -(-count // 8)
    axes.set_xticks(range(0, count, step))
    axes.set(xlabel="number", xlim=(-0.5, count - 0.5))


def only_outer_labels(axes: Axes, image: xr.DataArray) -> None:
    """Labels at the left and below only; lines and dots, of which each has its own scale, keep those of the ticks."""
    if image.ndim > 1:
        axes.label_outer()
        return
    place = axes.get_subplotspec()
    if place is not None and not place.is_last_row():
        axes.set_xlabel("")
    if place is not None and not place.is_first_col():
        axes.set_ylabel("")


def _edges(image: xr.DataArray, dim: str) -> tuple[float, float]:
    points = np.asarray(image[dim], dtype=float)
    half = (points[-1] - points[0]) / max(len(points) - 1, 1) / 2 or 0.5
    return float(points[0] - half), float(points[-1] + half)


def _extend(image: xr.DataArray, scale: Scale) -> str:
    slack = 0.01 * (scale.high - scale.low)
    below, above = bool(image.min() < scale.low - slack), bool(image.max() > scale.high + slack)
    return {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[below, above]
