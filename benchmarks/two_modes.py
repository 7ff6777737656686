r"""Two equal modes that the data cannot tell apart: does a default posterior find both, with the right weights?

Post-stack data do not see a constant image; the prior has two components at plus and minus one, six standard
deviations apart (`exact_problems`). Given any data both modes weigh one half. A sample counts for the mode that it came
from by its exact responsibility. Trained by `Posterior.build(problem)` and `fit` on fresh pairs, nothing set but the
budget.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from exact_figures import SEED, gap
from exact_problems import exact_problem
from numpy.typing import NDArray
from side_by_side.reporting import Report, Table, options
from timed_training import trained

from bayesinv.inference import Posterior, Problem
from bayesinv.inference.exact import ExactPosterior

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]


@torch.no_grad()
def mode_weights(posterior: Posterior, problem: Problem, *, observations: int, samples: int) -> tuple[Array, Array]:
    """Of each observation, the weight of the first mode, and where samples lie between the modes at -1 and 1."""
    exact = ExactPosterior(problem.prior, problem.forward)  # type: ignore[arg-type]
    _, y, sigma = problem.sample(observations, SEED + 2)
    weights, places = [], []
    for i in range(observations):
        known = exact(y[i : i + 1], sigma[i : i + 1])
        drawn = posterior(y[i : i + 1], sigma[i : i + 1]).draw(samples, seed=i, batch_size=250)[:, 0].double()
        weights.append(float((known.responsibilities(drawn)[:, 0] > 0.5).double().mean()))
        half = (known.means[0, 0] - known.means[0, 1]) / 2
        middle = (known.means[0, 0] + known.means[0, 1]) / 2
        places.append(((drawn - middle) * half).sum((1, 2, 3)) / half.square().sum())
    return np.array(weights), torch.cat(places).numpy()


def main(arguments: Sequence[str] | None = None) -> dict[str, float | None]:
    """Trains, measures, prints, draws."""
    own = argparse.ArgumentParser(add_help=False)
    own.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="one training for each")
    own.add_argument("--epochs", type=int, default=16, help="the budget in epochs of 250 steps")
    own.add_argument("--runs", type=Path, default=Path("runs/benchmarks"), help="where trainings are kept")
    read, _ = own.parse_known_args(arguments)
    report = Report("two_modes", options(__doc__ or "", arguments, parents=[own]))
    small = report.options.small
    problem = exact_problem("two-modes", size=8 if small else 16)
    rows: list[dict[str, Any]] = []
    for seed in read.seeds:
        folder = (report.options.out if small else read.runs) / "two_modes" / str(seed)
        posterior, seconds = trained(
            problem, None, seed=seed, epochs=read.epochs, folder=folder, device=report.options.device, small=small
        )
        weights, places = mode_weights(
            posterior, problem, observations=4 if small else 50, samples=50 if small else 1000
        )
        row = {
            "weight": float(weights.mean()),
            "least weight": float(np.minimum(weights, 1 - weights).min()),
            "between": float((np.abs(places) < 0.5).mean()),
            "gap": gap(posterior, problem, pairs=20 if small else 1000)[0],
            "seconds": seconds,
        }
        print(f"seed {seed}: {json.dumps(row)}", flush=True)
        rows.append(row | {"weights": weights, "places": places})
    columns = ["seed", "processor s", "mean weight", "least weight of a mode", "observations in 0.4 to 0.6",
               "samples half-way, %", "gap, nats/dim"]  # fmt: skip
    table = Table("Weights of the two modes, both 0.5", columns)
    for seed, row in zip(read.seeds, rows, strict=True):
        inside = (np.abs(row["weights"] - 0.5) <= 0.1).sum()
        table.rows.append(
            [str(seed), f"{row['seconds']:.0f}", f"{row['weight']:.3f}", f"{row['least weight']:.3f}",
             f"{inside} of {len(row['weights'])}", f"{100 * row['between']:.2f}", f"{row['gap']:.4f}"]
        )  # fmt: skip
    report.tables.append(table)
    report.figures |= {
        f"{key}, median": statistics.median(r[key] for r in rows) for key in ("weight", "least weight", "gap")
    }
    report.figures["least weight, least"] = min(row["least weight"] for row in rows)
    return report.finish(drawn(problem, rows))


def drawn(problem: Problem, rows: list[dict[str, Any]]) -> Figure:
    """Where the samples lie between the modes, beside the exact law; the weight in every observation."""
    import matplotlib.pyplot as plt

    exact = ExactPosterior(problem.prior, problem.forward)  # type: ignore[arg-type]
    known = exact(problem.sample(1, SEED + 2)[1])
    half = ((known.means[0, 0] - known.means[0, 1]) / 2).flatten()
    width = float((half @ exact.updates(float(known.sigma[0]))[0].covariance @ half).sqrt() / half.square().sum())
    grid = np.linspace(-2, 2, 400)
    law = sum(np.exp(-0.5 * ((grid - m) / width) ** 2) for m in (-1, 1)) / (2 * width * np.sqrt(2 * np.pi))
    picture, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for row in rows:
        left.hist(row["places"], bins=np.linspace(-2, 2, 81), density=True, histtype="step", color="#1f77b4")
        right.plot(np.sort(row["weights"]), ".", color="#1f77b4", ms=4)
    left.plot(grid, law, color="#404040", lw=1)
    left.set(xlabel="place between the modes", ylabel="density of samples, and exact")
    right.axhspan(0.4, 0.6, color="#404040", alpha=0.1, lw=0)
    right.set(xlabel="observation, sorted", ylabel="weight of the first mode", ylim=(0, 1))
    return picture


if __name__ == "__main__":
    main()
