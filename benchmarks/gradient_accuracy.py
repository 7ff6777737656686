"""Error of the gradients against depth: ``|g - g64| / |g64|`` over all parameters, ``g64`` by plain float64 autograd.

The same weights in every line: 32x32, batch 2, hidden 32, 3 levels, scales and shifts of the couplings of about 0.1.
Seven draws of them, since a hidden number nearer to zero than its rounding error opens a ReLU that is shut in float64,
which then is nearly all of the error, however the gradients are computed: median, least and largest.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from side_by_side.cases import TRIAL, Case, case_of
from side_by_side.forge import started
from side_by_side.memory import logarithmic
from side_by_side.nets import ours, plain
from side_by_side.plain_net import Net, PlainGlow
from side_by_side.reporting import Report, Table, options
from side_by_side.same_weights import awaken, copied, ordered
from torch import Tensor

from bayesinv.flows import Flow

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Found = dict[Net, dict[int, dict[str, list[float]]]]
LINES = ("bayesinv", "plain", "bayesinv bf16", "rebuilt input")


def errors(case: dict[str, Any], net: Net, device: str, seed: int) -> dict[str, float]:
    """The task of a child: of each line, the error at one depth; of the rebuilt input, the largest one."""
    torch.manual_seed(seed)
    chosen = case_of(case)
    flow = ours(chosen, net).to(device)
    x = torch.randn(chosen.batch, *chosen.shape, device=device)
    awaken(flow, x)
    reference = copied(flow, plain(chosen, net).to(device))
    exact = gradients(copy.deepcopy(reference).double(), x.double())
    with torch.no_grad():
        rebuilt = flow.map.inverse(flow.map(x)[0])[0]
    return {
        "bayesinv": distance(gradients(flow, x), exact),
        "plain": distance(gradients(reference, x), exact),
        "bayesinv bf16": distance(gradients(flow, x, narrow=True), exact),
        "rebuilt input": float((rebuilt - x).abs().max()),
    }


def gradients(model: Flow | PlainGlow, x: Tensor, *, narrow: bool = False) -> list[Tensor]:
    """Of the mean negative log-likelihood, for the parameters in the order of the flow."""
    with torch.autocast(x.device.type, dtype=torch.bfloat16) if narrow else nullcontext():
        loss = -model.log_prob(x).mean()
    return list(torch.autograd.grad(loss, ordered(model)))


def distance(found: list[Tensor], exact: list[Tensor]) -> float:
    """The relative error of all together."""
    square = sum(float((a.double() - b).square().sum()) for a, b in zip(found, exact, strict=True))
    return (square / sum(float(b.square().sum()) for b in exact)) ** 0.5


def main(arguments: Sequence[str] | None = None) -> dict[str, float | None]:
    """Measures, prints, draws."""
    report = Report("gradient_accuracy", options(__doc__ or "", arguments))
    case, depths, seeds = Case(space=(32, 32), hidden=32), (4, 8, 16, 32, 64), range(7)
    if report.options.small:
        case, depths, seeds = TRIAL.sized(16), (1, 2), range(2)
    found: Found = {"glow": {}, "relu": {}}
    forge = started(memory=False)
    for net, results in found.items():
        for steps in depths:
            order = {"case": case.deep(steps).to_json(), "net": net, "device": report.options.device}
            draws = [forge.once("gradient_accuracy:errors", **order, seed=seed) or {} for seed in seeds]
            results[steps] = {line: sorted(draw[line] for draw in draws) for line in LINES}
    table = Table(
        "Error of the gradients (of the rebuilt input: the largest number), median over draws of the weights and the "
        "largest",
        ["line", *[f"steps {k}" for k in depths]],
    )
    for net, results in found.items():
        for line in LINES:
            cells = [f"{statistics.median(results[k][line]):.1e} ({results[k][line][-1]:.1e})" for k in depths]
            table.rows.append([f"{line} ({net})", *cells])
            for k in depths:
                report.figures[f"error, {line} ({net}), steps {k}"] = statistics.median(results[k][line])
                report.figures[f"largest error, {line} ({net}), steps {k}"] = results[k][line][-1]
    report.tables.append(table)
    return report.finish(drawn(found))


def drawn(found: Found) -> Figure:
    """Medians against depth with a bar from the least to the largest, one panel for each net."""
    import matplotlib.pyplot as plt

    picture, axes = plt.subplots(1, 2, figsize=(10.5, 4), sharey=True, layout="constrained")
    titles = ("bayesinv's glow", "the peers' net")
    for axis, title, results in zip(axes, titles, found.values(), strict=True):
        for line, colour in zip(LINES, ("#1f77b4", "#404040", "#6fa8dc", "#e69f00"), strict=True):
            style = ":" if line == "rebuilt input" else "-"
            values = [result[line] for result in results.values()]
            middle = [statistics.median(value) for value in values]
            beside = [[m - v[0] for m, v in zip(middle, values, strict=True)],
                      [v[-1] - m for m, v in zip(middle, values, strict=True)]]  # fmt: skip
            axis.errorbar(list(results), middle, beside, ls=style, marker="o", ms=3.5, capsize=2, elinewidth=0.8,
                          color=colour, label=line)  # fmt: skip
        axis.set(title=title, xlabel="flow steps a level")
        logarithmic(axis, list(results))
    axes[0].set_ylabel("relative error")
    picture.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    return picture


if __name__ == "__main__":
    main()
