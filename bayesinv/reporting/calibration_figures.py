"""The figures of the report about the calibration: ranks, coverage, spread against error, maps, examples, training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesinv.inference.checks import Checks
from bayesinv.reporting.panels import (
    Scale,
    common_scale,
    draw_panel,
    new_figure,
    only_outer_labels,
    panels,
    quantity_label,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["calibration_figure", "example_figure", "history_figure", "map_figure"]

_BLUE, _RED = "#08519c", "#cb181d"


def calibration_figure(checks: Checks, *, second: Checks | None = None) -> Figure:
    """Rank histogram, coverage curve and error against spread; a second diagnosis is drawn in red beside the first."""
    figure = new_figure(11.0, 3.5)
    left, middle, right = figure.subplots(1, 3)
    _draw_ranks(left, checks, second)
    _draw_curve(middle, checks, second)
    _draw_spread(right, checks, second)
    return figure


def _both(checks: Checks, second: Checks | None) -> list[tuple[xr.Dataset, str, str]]:
    drawn = [(checks.dataset, _BLUE, "held-out simulations")]
    if second is not None:
        drawn.append((second.dataset, _RED, "second input"))
    return drawn


def _draw_ranks(axes: Axes, checks: Checks, second: Checks | None) -> None:
    top = 1.5
    for number, (found, colour, name) in enumerate(_both(checks, second)):
        edges, density, band = (np.asarray(found[key]) for key in ("rank_edges", "rank_density", "rank_band"))
        if number == 0 and second is None:
            axes.stairs(density, edges, fill=True, color="#9ecae1", label=name)
        axes.stairs(density, edges, color=colour, lw=1.2, label=None if number == 0 and second is None else name)
        if number == 0 and np.isfinite(band).all():
            axes.fill_between(
                np.repeat(edges, 2)[1:-1],
                np.repeat(1 - band, 2),
                np.repeat(1 + band, 2),
                color="black",
                alpha=0.15,
                lw=0,
                label="95 % band if calibrated",
            )
        top = max(top, 1.3 * float(np.nanmax(density)))
    axes.axhline(1, color="black", lw=0.8, ls="--")
    axes.set(xlabel="rank of the target among samples (share)", ylabel="density", title="Ranks (flat is right)")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, top)
    axes.legend(loc="upper center")


def _draw_curve(axes: Axes, checks: Checks, second: Checks | None) -> None:
    for found, colour, name in _both(checks, second):
        nominal, value, error = (np.asarray(found[key]) for key in ("curve_nominal", "curve_found", "curve_error"))
        axes.fill_between(nominal, value - 2 * error, value + 2 * error, color=colour, alpha=0.2, lw=0)
        axes.plot(nominal, value, color=colour, label=name)
    level = float(checks.metrics["coverage_nominal"])
    axes.plot([0, 1], [0, 1], color="black", lw=0.8, ls="--")
    axes.axvline(level, color="black", lw=0.6, ls=":")
    axes.set(xlabel="nominal level of the interval", ylabel="share of targets inside", title="Coverage (± 2 SE)")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_aspect("equal")
    axes.legend(loc="upper left")


def _draw_spread(axes: Axes, checks: Checks, second: Checks | None) -> None:
    top = 0.0
    for found, colour, name in _both(checks, second):
        spread, error, ratio = (np.asarray(found[key], dtype=float) for key in ("spread", "error", "spread_ratio"))
        relative = np.asarray(found["spread_ratio_error"], dtype=float) / ratio
        axes.errorbar(spread, error, yerr=2 * error * np.nan_to_num(relative), fmt="o-", ms=4, color=colour, label=name)
        top = max(top, 1.15 * float(np.nanmax([spread.max(), error.max()])))
    line = np.array([0.0, top])
    axes.plot(line, line, color="black", lw=0.8, ls="--")
    axes.fill_between(line, line / 1.15, line / 0.85, color="black", alpha=0.1, lw=0, label="within 15 %")
    axes.set(xlabel="predicted spread (rms per bin)", ylabel="error of the mean (rms per bin)")
    axes.set_title("Error against spread")
    axes.set_xlim(0, top)
    axes.set_ylim(0, top)
    axes.set_aspect("equal")
    axes.legend(loc="lower right")


def map_figure(checks: Checks) -> Figure:
    """Coverage and contraction of each pixel over the held-out observations, a row for each channel."""
    level = float(checks.metrics["coverage_nominal"])
    covered, learnt = (panels(checks.dataset[name]) for name in ("coverage_map", "contraction_map"))
    figure = new_figure(7.5, 3.1 * len(covered))
    places = figure.subplots(len(covered), 2, squeeze=False)
    width = max(0.1, 1 - level)
    around = Scale("PuOr", level - width, level + width)
    for (left, right), (inside, end), (part, _) in zip(places, covered, learnt, strict=True):
        draw_panel(left, inside, title=f"Coverage, nominal {level:.0%}{end}", scale=around, label="")
        draw_panel(right, part, title=f"Contraction{end}", scale=Scale("viridis", 0.0, 1.0), label="")
    return figure


def example_figure(checks: Checks, *, count: int = 4) -> Figure:
    """Truth, baseline, mean, one sample, standard deviation and error of a few observations of the diagnosis.

    Of several channels the first.
    """
    found = checks.dataset
    number = min(count, found.sizes["example"])
    figure = new_figure(11.5, 0.3 + 1.75 * number)
    mean, truth, std = (found[f"example_{name}"] for name in ("mean", "truth", "std"))
    error = abs(mean - truth).assign_attrs(mean.attrs)
    scale, spread = common_scale(truth), common_scale(xr.concat([std, error], "both"), spread=True)
    columns = [
        (truth, "Truth", scale),
        (found.get("example_baseline"), "Baseline", scale),
        (mean, "Posterior mean", scale),
        (found["example_sample"], "One sample", scale),
        (std, "Standard deviation", spread),
        (error, "|Error of the mean|", spread),
    ]
    present = [(images, title, colours) for images, title, colours in columns if images is not None]
    pooled = sum(colours == scale for _, _, colours in present)
    places = figure.subplots(number, len(present), squeeze=False)
    drawn = {}
    for row, line in enumerate(places):
        for column, (axes, (images, title, colours)) in enumerate(zip(line, present, strict=True)):
            image, end = panels(images.isel(example=row))[0]
            heading = "" if row else f"{title}{'' if column else end}"
            drawn[colours] = draw_panel(axes, image, title=heading, scale=colours, bar=False)
            only_outer_labels(axes, image)
    for shared, group in ((scale, places[:, :pooled]), (spread, places[:, pooled:])):
        mappable = drawn[shared]
        if mappable is not None:
            bar = figure.colorbar(mappable, ax=group, shrink=0.7, pad=0.01, aspect=30, extend="max")
            bar.set_label(quantity_label(mean))
    return figure


def history_figure(history: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Loss in training and on held-out pairs, and the learning rate, by step. None without any step."""
    if not history:
        return None
    figure = new_figure(9.9, 2.9)
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    for key, colour, name in (("loss", "#9ecae1", "training"), ("heldout", _BLUE, "held-out")):
        steps, values = _series(history, key)
        if len(steps):
            left.plot(steps, values, color=colour, label=name, marker="o" if key == "heldout" else None, ms=2.5)
            if key == "heldout":
                best = int(np.argmin(values))
                left.plot(steps[best], values[best], "k*", ms=8, label=f"best {values[best]:.3f}")
    left.set(xlabel="optimizer step", ylabel="loss (nats per dimension)", title="Training")
    if left.lines:
        pooled = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in left.lines])
        low, high = np.quantile(pooled, (0.0, 0.97))
        left.set_ylim(low - 0.05 * (high - low) - 1e-6, high + 0.1 * (high - low) + 1e-6)
        left.legend()
    right.plot(*_series(history, "learning_rate"), color="#e6550d")
    right.set(xlabel="optimizer step", ylabel="learning rate", title="Learning rate")
    right.set_ylim(bottom=0)
    return figure


def _series(history: Sequence[Mapping[str, Any]], key: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rows = [(row["step"], row[key]) for row in history if row.get(key) is not None and np.isfinite(row[key])]
    table = np.asarray(rows, dtype=float).reshape(-1, 2)
    return table[:, 0], table[:, 1]
