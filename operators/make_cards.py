"""Make the card of every plug-in of ours from its code: `python operators/make_cards.py [NAME ...]`.

A card has the picture (an image of the natural prior, its data, a few steps of least squares), the equation, shapes,
axes and units, noise, prior, and the head of the module with its sources. Plug-ins whose extra is lacking are left as
they are.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

import matplotlib
import numpy as np
import torch
import xarray as xr

from bayesinv.inference import load_problem
from bayesinv.inference.samples import labelled
from bayesinv.physics import Axis, ForwardModel, cgls, dot_test, gauss_newton_iterates, is_linear
from bayesinv.physics.laws import linear_part
from bayesinv.reporting.panels import STYLE, common_scale, draw_panel, new_figure

CARDS = Path(__file__).parent / "cards"
SIZE, STEPS = 64, 12


def picture(name: str) -> ForwardModel:
    """Draw the panels; the forward model is returned."""
    problem = load_problem(name, size=SIZE)
    forward = problem.forward
    x, y, _ = problem.sample(1, seed=3)
    if is_linear(forward.operator):
        back, words = cgls(forward.operator, y, iterations=STEPS), f"{STEPS} steps of least squares"
    else:
        about = x.mean((-1,), keepdim=True).expand_as(x).contiguous()
        steps = gauss_newton_iterates(forward.operator, y, [4], start=about, iterations=4, bounds=forward.bounds)
        back, words = steps[0], "4 steps of Gauss-Newton from the trend"
    panels = [
        (_labelled(x[0], forward.model_axes, forward.quantity, forward.unit), "An image of the prior"),
        (_labelled(y[0], forward.data_axes, forward.data_quantity, forward.data_unit), "Its data, with noise"),
        (_labelled(back[0], forward.model_axes, forward.quantity, forward.unit), words[0].upper() + words[1:]),
    ]
    with matplotlib.rc_context(STYLE):
        figure = new_figure(13, 3.6)
        for axes, (array, title) in zip(figure.subplots(1, 3), panels, strict=True):
            shown = abs(array).assign_attrs(array.attrs) if np.iscomplexobj(array) else array
            scale = common_scale(shown)
            if np.iscomplexobj(array):
                shown, title = np.log10(shown + 1e-3 * shown.max()).assign_attrs(long_name="log10 |signal|"), title
                scale = common_scale(shown)
            draw_panel(axes, shown, title=title, scale=scale)
        figure.savefig(CARDS / f"{name}.png", dpi=80, metadata={"Software": None})
    return forward


def _labelled(values: torch.Tensor, axes: Sequence[Axis], quantity: str, unit: str) -> xr.DataArray:
    return labelled(values.numpy(), axes, quantity=quantity, unit=unit).isel(channel=0)


def card(name: str, value: str) -> None:
    """Write picture and text of one plug-in."""
    module, _, factory = value.partition(":")
    code = importlib.import_module(module)
    picture(name)
    forward: ForwardModel = getattr(code, factory)()
    linear = is_linear(forward.operator)
    error = dot_test(linear_part(forward.operator, _point(forward)))
    rows = {
        "model": f"{forward.quantity} [{forward.unit}], `{forward.model_shape}`: {_axes(forward.model_axes)}",
        "data": f"{forward.data_quantity} [{forward.data_unit}], `{forward.data_shape}`: {_axes(forward.data_axes)}",
        "kind": "linear" if linear else f"nonlinear, bounds {forward.bounds} {forward.unit}",
        "noise": f"`{forward.noise}`",
        "prior": f"`{forward.prior}`",
        "default summary": "`cgls`" if linear else "`cgls` of its linearisation at the mean of the prior",
        "dot test": f"{error:.0e} found in float64, {forward.dot_tolerance:g} allowed",
        "known answer": f"{(forward.known_answer.__doc__ or '').strip()} To {forward.known_answer_tolerance:g}.",
    }
    body = inspect.cleandoc(code.__doc__ or "").replace("\n    ", "\n    ")
    arguments = inspect.cleandoc(getattr(code, factory).__doc__ or "").partition("\n\n")[0]
    text = (
        f"# {name}\n\n![image, data, least squares]({name}.png)\n\n*At {SIZE} x {SIZE}, seed 3.*\n\n"
        f"**{arguments}**\n\n    {forward.equation}\n\n| at its default size | |\n|---|---|\n"
        + "".join(f"| {key} | {words.replace('|', chr(92) + '|')} |\n" for key, words in rows.items())
        + f"\n{body}\n\n*Made by `python operators/make_cards.py {name}`.*\n"
    )
    (CARDS / f"{name}.md").write_text(text, encoding="utf-8")


def _point(forward: ForwardModel) -> torch.Tensor:
    low, high = forward.bounds or (0.0, 0.0)
    return torch.full(forward.model_shape, (low + high) / 2, dtype=torch.float64)


def _axes(axes: Sequence[Axis]) -> str:
    return ", ".join(f"{axis.name} [{axis.unit}]" for axis in axes)


def main(names: Sequence[str]) -> None:
    """The cards of the named plug-ins, or of all."""
    CARDS.mkdir(exist_ok=True)
    for entry in sorted(entry_points(group="bayesinv.operators")):
        if entry.value.startswith("bayesinv_operators.") and (not names or entry.name in names):
            try:
                card(entry.name, entry.value)
                print(entry.name)
            except ImportError as error:
                print(f"{entry.name} left as it is: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
