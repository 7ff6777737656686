"""Figures of rank diagnostics: ECDFs with simultaneous bands, coverage of functionals, TARP, PIT maps.

Each takes the :class:`xarray.Dataset` that the diagnostic of the same name returns, and gives a matplotlib ``Figure``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from bayesinv.reporting.panels import Scale, draw_panel, new_figure, panels, space

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["checks_figure", "coverage_figure", "pit_figure", "sbc_figure", "tarp_figure"]

_BLUE, _RED, _GREY = "#08519c", "#cb181d", "#bdbdbd"


def sbc_figure(found: xr.Dataset, *, columns: int = 4) -> Figure:
    """ECDF of ranks less the diagonal, a panel for each functional, red where it leaves its simultaneous band.

    Args:
        found: result of `bayesinv.inference.sbc.sbc`.
        columns: panels a row.
    """
    names = [str(name) for name in found["functional"].values]
    rows = -(-len(names) // columns)
    figure = new_figure(2.5 * columns, 0.3 + 2.0 * rows)
    places = figure.subplots(rows, columns, squeeze=False, sharex=True)
    point = np.asarray(found["point"])
    for number, axes in enumerate(places.ravel()):
        if number >= len(names):
            axes.set_visible(False)
            continue
        one = found.isel(functional=number)
        difference, band = np.asarray(one["ecdf_difference"]), np.asarray(one["ecdf_band"])
        outside = bool((np.abs(difference) > band + 1e-12).any())
        axes.fill_between(point, -band, band, color=_GREY, alpha=0.6, lw=0)
        axes.step(point, difference, where="post", color=_RED if outside else _BLUE, lw=1.2)
        axes.axhline(0, color="black", lw=0.6)
        p_value = float(one["p_value"])
        axes.set_title(f"{names[number]} ({'p < 0.001' if p_value < 1e-3 else f'p = {p_value:.2g}'})")
        limit = 1.15 * max(float(np.abs(difference).max()), float(band.max()), 0.02)
        axes.set_ylim(-limit, limit)
        axes.set_xlim(0, 1)
    for axes in places[:, 0]:
        axes.set_ylabel("ECDF − uniform")
    for number in range(columns):
        below = [axes for axes in places[:, number] if axes.get_visible()]
        if below:
            below[-1].set_xlabel("rank of the target (share)")
            below[-1].tick_params(labelbottom=True)
    return figure


def checks_figure(dataset: xr.Dataset, metrics: Mapping[str, float]) -> Figure | None:
    """`sbc_figure` of a diagnosis, from its dataset and metrics; None if it ranked no functionals."""
    if "functional_ecdf" not in dataset:
        return None
    names = [str(name) for name in dataset["functional"].values]
    p_values = [metrics[f"functional_p_{name}"] for name in names]
    found = dataset[["functional_ecdf", "functional_band"]].rename(
        functional_ecdf="ecdf_difference", functional_band="ecdf_band", rank_point="point"
    )
    return sbc_figure(found.assign(p_value=("functional", p_values)), columns=5)


def coverage_figure(found: xr.Dataset) -> Figure:
    """Coverage at every level, each functional's coverage at one level with two standard errors, and the map of pixels.

    Args:
        found: result of `bayesinv.inference.sbc.expected_coverage`.
    """
    names = [str(name) for name in found["functional"].values]
    maps = panels(found["coverage_map"])
    figure = new_figure(7.4 + 3.6 * len(maps), 3.4)
    left, middle, *right = figure.subplots(1, 2 + len(maps), width_ratios=(1, *[1.1] * (1 + len(maps))))
    import matplotlib as mpl

    colours = mpl.colormaps["viridis"](np.linspace(0, 0.92, len(names)))
    nominal = np.asarray(found["nominal"])
    for number, name in enumerate(names):
        left.plot(nominal, found["curve"].isel(functional=number), color=colours[number], lw=1.1, label=name)
    left.plot([0, 1], [0, 1], color="black", lw=0.8, ls="--")
    left.set(
        xlabel="nominal level", ylabel="share of targets inside", title="Expected coverage", xlim=(0, 1), ylim=(0, 1)
    )
    left.set_aspect("equal")
    level = float(found.attrs["level"])
    place = np.arange(len(names))[::-1]
    value, error = np.asarray(found["coverage"]), np.asarray(found["coverage_error"])
    for at, share, width, colour in zip(place, value, error, colours, strict=True):
        middle.errorbar(share, at, xerr=2 * width, fmt="o", ms=4, color=colour, capsize=2)
    middle.axvline(level, color="black", lw=0.8, ls="--")
    middle.set_yticks(place, names)
    middle.set(xlabel=f"coverage of {level:.0%} intervals (± 2 SE)", title="By functional")
    each = float(found["coverage_map_error"])
    width = min(max(4 * each, 0.03), 1 - level)
    scale = Scale("PuOr", level - width, level + width)
    for axes, (image, end) in zip(right, maps, strict=True):
        title = f"By {'pixel' if space(found['coverage_map']) else 'number'} (SE {each:.3f}){end}"
        draw_panel(axes, image, title=title, scale=scale, label="coverage")
    return figure


def tarp_figure(found: xr.Dataset) -> Figure:
    """Expected coverage against credibility, with its simultaneous band.

    Args:
        found: result of `bayesinv.inference.tarp.tarp`.
    """
    figure = new_figure(3.8, 3.6)
    axes = figure.subplots()
    point, coverage, band = (np.asarray(found[name]) for name in ("credibility", "coverage", "band"))
    axes.fill_between(point, point - band, point + band, color=_GREY, alpha=0.6, lw=0, label="95 % band if exact")
    outside = bool((np.abs(coverage - point) > band + 1e-12).any())
    axes.step(point, coverage, where="post", color=_RED if outside else _BLUE, label="found")
    axes.plot([0, 1], [0, 1], color="black", lw=0.6, ls="--")
    axes.set(xlabel="credibility", ylabel="expected coverage", xlim=(0, 1), ylim=(0, 1))
    axes.set_title(f"TARP (p = {float(found['p_value']):.2g})")
    axes.set_aspect("equal")
    axes.legend(loc="upper left")
    return figure


def pit_figure(found: xr.Dataset) -> Figure:
    """Mean and dispersion of the PIT by pixel, on scales of four standard errors if exact, and its density.

    Args:
        found: result of `bayesinv.inference.pit.pit_maps`.
    """
    means, dispersions = panels(found["mean_map"]), panels(found["dispersion_map"])
    figure = new_figure(11.0, 3.2 * len(means))
    places = figure.subplots(len(means), 3, squeeze=False)
    bias, spread = 4 * float(found["mean_error"]), 4 * float(found["dispersion_error"])
    for (left, middle, _), (mean, end), (dispersion, _) in zip(places, means, dispersions, strict=True):
        draw_panel(left, mean, title=f"Mean of PIT (low: posterior too high){end}",
                   scale=Scale("RdBu_r", 0.5 - bias, 0.5 + bias), label="mean, 1/2 ± 4 SE")  # fmt: skip
        draw_panel(middle, dispersion, title=f"Dispersion (above 1: too narrow){end}",
                   scale=Scale("PuOr_r", 1 - spread, 1 + spread), label="dispersion, 1 ± 4 SE")  # fmt: skip
    for axes in places[1:, 2]:
        axes.set_visible(False)
    right, centre = places[0, 2], np.asarray(found["bin"])
    right.bar(centre, found["density"], width=centre[1] - centre[0], color="#9ecae1", edgecolor="white", lw=0.4)
    right.axhline(1, color="black", lw=0.8, ls="--")
    title = "All pixels" if space(found["mean_map"]) else "All numbers"
    right.set(xlabel="PIT", ylabel="density", title=title, xlim=(0, 1))
    return figure
