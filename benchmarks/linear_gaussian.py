r"""Default posteriors of linear-Gaussian problems beside the exact ones: how near training on a processor gets.

Every case is trained by `Posterior.build(problem)` and `fit` on fresh pairs, with nothing set but the budget, a number
of steps, and for some the summary ``"adjoint"``. What is measured is told in `exact_figures`. A training takes up to
ten minutes of one thread; each one is kept in the folder of `--runs`, where an interrupted command goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from exact_figures import coverage_figures, gap, sample_figures
from exact_problems import exact_problem
from side_by_side.reporting import Report, Table, options
from timed_training import trained

from bayesinv.inference.summaries import Summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = dict[str, float]
FIGURES = ("gap", "mean", "sd", "coverage", "covariance", "sliced Wasserstein")


@dataclass(frozen=True)
class Case:
    """A problem, its summary (`None`: the default), and the budget in epochs of 250 steps."""

    problem: str
    size: int = 16
    summary: Summary | None = None
    epochs: int = 16


CASES = {
    "deblur": Case("deblur"),
    "inpaint": Case("inpaint", epochs=20),
    "poststack": Case("poststack"),
    "photoacoustic": Case("photoacoustic", epochs=24),
    "deblur, adjoint": Case("deblur", summary="adjoint"),
    "inpaint, adjoint": Case("inpaint", summary="adjoint", epochs=20),
    "deblur 32x32": Case("deblur", size=32, epochs=12),
}


def measured(case: Case, seed: int, folder: Path, *, device: str, small: bool) -> Row:
    """The figures of one training, read from its folder if they are there."""
    problem = exact_problem(case.problem, size=8 if small else case.size)
    posterior, seconds = trained(
        problem, case.summary, seed=seed, epochs=case.epochs, folder=folder, device=device, small=small
    )
    kept = folder / "figures.json"
    training = posterior.record["training"]
    settings = json.loads(json.dumps(training["settings"]))
    stored = json.loads(kept.read_text()) if kept.exists() else {}
    row: Row = stored["row"] if stored.get("settings") == settings else {}
    if "gap" not in row:
        row = {"seconds": seconds, "steps": training["steps"], "temperature": posterior.temperature}
        row["gap"], row["gap error"] = gap(posterior, problem, pairs=20 if small else 1000)
        row |= sample_figures(posterior, problem, observations=4 if small else 64, samples=50 if small else 1000)
    if "coverage floor" not in row:
        row |= coverage_figures(posterior, problem, observations=20 if small else 1000)
    kept.write_text(json.dumps({"settings": settings, "row": row}))
    return row


def main(arguments: Sequence[str] | None = None) -> dict[str, float | None]:
    """Trains, measures, prints, draws."""
    own = argparse.ArgumentParser(add_help=False)
    own.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="one training of every case for each")
    own.add_argument("--epochs", type=int, nargs="+", help="other budgets, each a line of its own")
    own.add_argument("--runs", type=Path, default=Path("runs/benchmarks"), help="where trainings are kept")
    read, _ = own.parse_known_args(arguments)
    report = Report("linear_gaussian", options(__doc__ or "", arguments, parents=[own]))
    root = report.options.out if report.options.small else read.runs
    found: dict[str, list[Row]] = {}
    names = ["deblur", "deblur, adjoint"] if report.options.small else list(CASES)
    exactly = [name for name in names if name in report.options.only]  # "deblur" is also part of other names
    for name in exactly or report.options.chosen(names):
        for epochs in read.epochs or [CASES[name].epochs]:
            case = Case(**asdict(CASES[name]) | {"epochs": epochs})
            line = name if epochs == CASES[name].epochs else f"{name}, {250 * epochs} steps"
            for seed in read.seeds:
                folder = root / "linear_gaussian" / f"{line.replace(', ', '-').replace(' ', '-')}-{seed}"
                row = measured(case, seed, folder, device=report.options.device, small=report.options.small)
                found.setdefault(line, []).append(row)
                print(f"{line}, seed {seed}: {json.dumps(row)}", flush=True)
    report.tables += [_table(found), _floors(found)]
    for line, rows in found.items():
        for figure in FIGURES:
            values = [row[figure] for row in rows]
            report.figures[f"{line}: {figure}"] = statistics.median(values)
            report.figures[f"{line}: {figure}, least"] = min(values)
            report.figures[f"{line}: {figure}, most"] = max(values)
    return report.finish(drawn(found))


def _table(found: dict[str, list[Row]]) -> Table:
    columns = ["problem", "trainings", "steps", "processor s", "gap, nats/dim", "mean, sd", "sd, %", "90 % coverage"]
    table = Table("Median over trainings, least and most in brackets", columns)
    for line, rows in found.items():
        table.rows.append(
            [line, str(len(rows)), f"{rows[0]['steps']:.0f}", _spread(rows, "seconds", 0), _spread(rows, "gap", 4),
             _spread(rows, "mean", 3), _spread(rows, "sd", 1, times=100), _spread(rows, "coverage", 3)]
        )  # fmt: skip
    return table


def _floors(found: dict[str, list[Row]]) -> Table:
    columns = ["problem", "mean, sd", "sd, %", "covariance", "sliced Wasserstein, sd", "90 % coverage", "error of gap"]
    table = Table("Medians; behind the stroke what the exact sampler gets; standard errors", columns)
    for line, rows in found.items():
        pairs = [
            f"{_median(rows, key, times):.{digits}f} / {_median(rows, f'{key} floor', times):.{digits}f}"
            for key, times, digits in (
                ("mean", 1, 3),
                ("sd", 100, 1),
                ("covariance", 1, 3),
                ("sliced Wasserstein", 1, 3),
                ("coverage", 1, 3),
            )
        ]
        pairs[-1] += f" ± {_median(rows, 'coverage error'):.3f}"
        table.rows.append([line, *pairs, f"{_median(rows, 'gap error'):.4f}"])
    return table


def _median(rows: list[Row], key: str, times: float = 1) -> float:
    return statistics.median(times * row[key] for row in rows)


def _spread(rows: list[Row], key: str, digits: int, *, times: float = 1) -> str:
    values = sorted(times * row[key] for row in rows)
    middle = f"{statistics.median(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} [{values[0]:.{digits}f}, {values[-1]:.{digits}f}]"


def drawn(found: dict[str, list[Row]]) -> Figure:
    """A dot for every training, a stroke for the exact sampler."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullLocator

    panels = {
        "gap": "gap, nats per dimension",
        "mean": "error of means, sd",
        "sd": "error of sds",
        "coverage": "coverage of 90 %",
    }
    picture, axes = plt.subplots(1, 4, figsize=(11, 0.9 + 0.32 * len(found)), sharey=True, layout="constrained")
    for axis, (key, label) in zip(axes, panels.items(), strict=True):
        for place, rows in enumerate(found.values()):
            axis.plot([row[key] for row in rows], [place] * len(rows), "o", ms=4, color="#1f77b4", alpha=0.7)
            if f"{key} floor" in rows[0]:
                axis.plot([_median(rows, f"{key} floor")], [place], "|", ms=11, color="#404040")
        axis.set(xlabel=label)
        axis.grid(axis="x", alpha=0.3)
    axes[0].set_xscale("log")
    axes[0].set_xticks([0.001, 0.002, 0.005, 0.01, 0.02], [".001", ".002", ".005", ".01", ".02"], minor=False)
    axes[0].xaxis.set_minor_locator(NullLocator())
    axes[3].locator_params(axis="x", nbins=4)
    axes[3].axvline(0.9, color="#404040", lw=0.8)
    axes[0].set(yticks=range(len(found)), yticklabels=list(found))
    axes[0].invert_yaxis()
    return picture


if __name__ == "__main__":
    main()
