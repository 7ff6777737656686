"""The figures of the report about one observation: data, reconstructions, samples, intervals, profiles, misfit.

Each function takes :class:`~bayesinv.inference.samples.Samples` of one observation and returns a matplotlib ``Figure``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import xarray as xr

from bayesinv.inference.samples import Samples, labelled
from bayesinv.reporting.panels import (
    Scale,
    axis_label,
    common_scale,
    count_ticks,
    draw_panel,
    first_panel,
    new_figure,
    only_outer_labels,
    panels,
    quantity_label,
    space,
)

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.figure import Figure
    from torch import Tensor

    from bayesinv.physics import Axis

__all__ = [
    "data_figure",
    "interval_figure",
    "misfit_figure",
    "profile_figure",
    "reconstruction_figure",
    "row_figure",
    "sample_figure",
]

_PANEL = 3.3  # inches
_Panel: TypeAlias = tuple[xr.DataArray, str, Scale, str | None]  # image, title, scale, label of the colour bar


def _grid(lines: list[list[_Panel]]) -> Figure:
    """A figure of rows of panels; rows may differ in length."""
    columns = max(len(row) for row in lines)
    figure = new_figure(_PANEL * columns, 2.9 * len(lines))
    places = figure.subplots(len(lines), columns, squeeze=False)
    for line, row in zip(places, lines, strict=True):
        for axes, panel in zip(line, [*row, *[None] * (columns - len(row))], strict=True):
            if panel is None:
                axes.set_visible(False)
                continue
            image, title, scale, label = panel
            draw_panel(axes, image, title=title, scale=scale, label=label)
    return figure


def row_figure(
    images: Sequence[Tensor | npt.NDArray[Any] | xr.DataArray],
    titles: Sequence[str],
    axes: Sequence[Axis],
    quantity: str = "",
    unit: str = "1",
) -> Figure:
    """Images beside each other, first channels, on physical axes and the colour scale of the first.

    Args:
        images: ``(channels, *space)`` each.
        titles: one for each.
        axes: of the space, as a forward model has them: ``model_axes`` or ``data_axes``.
        quantity: what the numbers are.
        unit: of the numbers.

    Example:
        >>> from bayesinv.inference import load_problem
        >>> problem = load_problem("deblur", size=16)
        >>> x, y, _ = problem.sample(1, seed=0)
        >>> row_figure([x[0], y[0]], ["image", "data"], problem.forward.model_axes)
        <Figure size 610x320 with 3 Axes>
    """
    arrays = [first_panel(labelled(image, axes, quantity=quantity, unit=unit)) for image in images]
    figure, scale = new_figure(0.7 + 2.7 * len(arrays), 3.2), common_scale(*arrays)
    places = figure.subplots(1, len(arrays), squeeze=False)[0]
    for place, array, title in zip(places, arrays, titles, strict=True):
        drawn = draw_panel(place, array, title=title, scale=scale, bar=False)
        only_outer_labels(place, array)
    if drawn is not None:
        figure.colorbar(drawn, ax=places, label=quantity_label(arrays[0]), shrink=0.8, pad=0.02, extend="both")
    return figure


def data_figure(samples: Samples) -> Figure | None:
    """The observed data, on their own axes; the modulus if they are complex. None without data."""
    data = samples.data
    if data is None:
        return None
    shown = abs(data).assign_attrs(data.attrs) if np.iscomplexobj(data) else data
    row: list[_Panel] = [(image, f"Observed data{end}", common_scale(shown), None) for image, end in panels(shown)]
    figure = _grid([row])
    if len(row) == 1:
        figure.set_size_inches(6.0, 3.4)
    return figure


def reconstruction_figure(samples: Samples) -> Figure:
    """Truth, baseline and posterior mean on one scale; standard deviation and error of the mean on another."""
    mean, std = samples.mean(), samples.std()
    scale = common_scale(samples.truth, mean)
    rows: list[list[_Panel]] = []
    error = None if samples.truth is None else abs(mean - samples.truth).assign_attrs(mean.attrs)
    spread = common_scale(std if error is None else xr.concat([std, error], "both"), spread=True)
    for number, (_, end) in enumerate(panels(mean)):
        named = [(samples.truth, "Truth"), (samples.baseline, "Baseline"), (mean, "Posterior mean")]
        known = [(image, name) for image, name in named if image is not None]
        rows.append([(panels(image)[number][0], f"{name}{end}", scale, None) for image, name in known])
        low: list[_Panel] = [(panels(std)[number][0], f"Posterior standard deviation{end}", spread, None)]
        if error is not None:
            low.append((panels(error)[number][0], f"|Error of the mean|{end}", spread, None))
            ratio = panels(error / (std * np.sqrt(1 + 1 / len(samples))))[number][0]
            low.append((ratio, f"|Error| / standard deviation{end}", Scale("cividis", 0.0, 3.0), ""))
        rows.append(low)
    return _grid(rows)


def sample_figure(samples: Samples, *, count: int = 8) -> Figure:
    """Several samples, the first channel, on the scale of the truth (or the mean)."""
    scale = common_scale(samples.truth, samples.mean())
    number = min(count, len(samples))
    rows, columns = -(-number // 4), min(4, number)
    figure = new_figure(0.9 + 2.5 * columns, 2.6 * rows)
    places = figure.subplots(rows, columns, squeeze=False)
    drawn = None
    for index, axes in enumerate(places.ravel()):
        if index >= number:
            axes.set_visible(False)
            continue
        image, end = panels(samples.values.isel(sample=index))[0]
        drawn = draw_panel(axes, image, title=f"Sample {index + 1}{end}", scale=scale, bar=False)
        only_outer_labels(axes, image)
    if drawn is not None:
        figure.colorbar(drawn, ax=places, shrink=0.6, pad=0.01, extend="both", label=quantity_label(samples.values))
    return figure


def interval_figure(samples: Samples, *, level: float = 0.9) -> Figure:
    """Lower end, upper end and width of the central credible interval of each pixel."""
    bounds = samples.interval(level)
    scale = common_scale(samples.truth, samples.mean())
    lower, upper = bounds.sel(bound="lower"), bounds.sel(bound="upper")
    width = (upper - lower).assign_attrs(samples.values.attrs)
    rows: list[list[_Panel]] = []
    for number, (part, end) in enumerate(panels(width)):
        rows.append(
            [
                (panels(lower)[number][0], f"Lower end of {level:.0%} interval{end}", scale, None),
                (panels(upper)[number][0], f"Upper end{end}", scale, None),
                (part, f"Width{end}", common_scale(width, spread=True), None),
            ]
        )
    return _grid(rows)


def profile_figure(samples: Samples, *, level: float = 0.9) -> Figure:
    """Profiles with 50 % and `level` bands: along each axis, through the row or column where the images vary most.

    Of several channels the first; of a vector the intervals of its numbers.
    """
    mean = samples.mean()
    dims = space(mean)
    if not dims:
        return _number_figure(samples, level)
    channel = panels(mean)[0][1]
    figure = new_figure(9.9, 2.7 * len(dims))
    for axes, along in zip(figure.subplots(len(dims), 1, squeeze=False)[:, 0], dims, strict=True):
        others = [dim for dim in dims if dim != along]
        reference = (mean if samples.truth is None else samples.truth).isel(channel=0)
        place: dict[str, int] = {}
        if others:
            strongest = reference.var(along).argmax(others)
            place = {dim: int(strongest[dim]) for dim in others}
        chosen = {"channel": 0, **place}
        line = samples.values.isel(chosen)
        at = line[along]
        for inside, colour in ((level, "#c6dbef"), (0.5, "#6baed6")):
            tails = ((1 - inside) / 2, (1 + inside) / 2)
            lower, upper = line.quantile(tails, dim="sample", method="weibull", skipna=False)
            axes.fill_between(at, lower, upper, color=colour, lw=0, label=f"{inside:.0%} interval")
        axes.plot(at, line.mean("sample"), color="#08519c", label="posterior mean")
        if samples.baseline is not None:
            axes.plot(at, samples.baseline.isel(chosen), color="#e6550d", lw=1.0, ls="--", label="baseline")
        if samples.truth is not None:
            axes.plot(at, samples.truth.isel(chosen), color="black", lw=1.0, label="truth")
        where = [f"{dim} = {float(mean[dim][index]):.3g} {_unit(mean, dim)}".strip() for dim, index in place.items()]
        axes.set_title(f"Profile along {along}" + (f" at {', '.join(where)}" if where else "") + channel)
        axes.set(xlabel=axis_label(mean, along), ylabel=quantity_label(mean))
        axes.margins(x=0)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _number_figure(samples: Samples, level: float) -> Figure:
    """Intervals of the numbers of a vector."""
    values, place = np.asarray(samples.values), np.arange(samples.values.sizes["channel"])
    figure = new_figure(6.6, 3.0)
    axes = figure.subplots()
    for inside, colour in ((level, "#c6dbef"), (0.5, "#6baed6")):
        lower, upper = np.quantile(values, ((1 - inside) / 2, (1 + inside) / 2), axis=0, method="weibull")
        axes.vlines(place, lower, upper, color=colour, lw=6, label=f"{inside:.0%} interval")
    axes.plot(place, values.mean(0), "_", ms=9, color="#08519c", label="posterior mean")
    if samples.baseline is not None:
        axes.plot(place, samples.baseline, "x", ms=5, color="#e6550d", label="baseline")
    if samples.truth is not None:
        axes.plot(place, samples.truth, "o", ms=4, color="black", label="truth")
    count_ticks(axes, len(place))
    axes.set(ylabel=quantity_label(samples.values), title="Intervals of the numbers")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _unit(array: xr.DataArray, dim: str) -> str:
    unit = str(array[dim].attrs.get("units", "")) if dim in array.coords else ""
    return "" if unit == "1" else unit


def misfit_figure(samples: Samples) -> Figure | None:
    """Histogram over samples of the chi-square per datum, 1 being the noise level. None without data misfits."""
    if samples.chi2 is None:
        return None
    values = np.asarray(samples.chi2, dtype=float).ravel()
    figure = new_figure(6.0, 2.8)
    axes = figure.subplots()
    axes.hist(values, bins=min(40, max(8, len(values) // 10)), color="#6baed6", edgecolor="white", lw=0.4)
    axes.axvline(1.0, color="black", lw=1.2, ls="--", label="noise level (1)")
    axes.axvline(values.mean(), color="#08519c", lw=1.2, label=f"mean over samples ({values.mean():.2f})")
    axes.set(xlabel="chi-square per datum of a sample", ylabel="samples", title="Data misfit against the noise level")
    low, high = min(values.min(), 1.0), max(values.max(), 1.0)
    margin = 0.08 * (high - low) or 0.1
    axes.set_xlim(low - margin, high + margin)
    axes.legend()
    return figure
