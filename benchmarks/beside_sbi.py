"""Beside sbi's NPE with a neural spline flow, on the same simulations: how far are the samples from the posterior?

Two moons, gaussian linear and SLCP with 1,000 and 10,000 simulations. Ours is the posterior of a user who names only
the problem: ``Posterior.build(problem)`` and ``fit``, which trains on nine tenths of a stored set and simulates as many
pairs as the last tenth by itself, for early stopping. sbi is given the whole set, of which it holds a tenth back. Both
have their defaults, one thread, and a process of their own for every set. Of observations 1 to 3 of each problem 2,000
samples of either posterior are compared with 2,000 of the reference by a random forest (C2ST: 0.5 is perfect).

Run: python benchmarks/beside_sbi.py [--tasks slcp] [--simulations 1000] [--seeds 0 1 2] [--small]; the last line is one
JSON object. What was measured before is kept in OUT/beside_sbi.jsonl and not measured again, so that an interrupted
command goes on, and the whole can be made of parts. A whole run takes about an hour of one core.

sbi comes with ``pip install 'bayesinv[bench]'``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from side_by_side import reporting

from bayesinv.inference import Posterior, Problem, fit
from bayesinv.inference.pairs import load_pairs, simulate
from bayesinv.inference.two_samples import c2st
from bayesinv_datasets.vector_problems import VECTOR_PROBLEMS

METHODS = ("bayesinv", "sbi")
TASKS = ("two-moons", "gaussian-linear", "slcp")
SIMULATIONS = (1000, 10_000)
SEEDS = (0, 1, 2)
OBSERVATIONS, SAMPLES = 3, 2000
FIRST_SEED = 100  # of the sets; the observations are of seed 0

Draw = Callable[[torch.Tensor], torch.Tensor]


def one(method: str, task: str, simulations: int, seed: int, samples: int) -> dict[str, Any]:
    """Trains once, and compares the samples at each observation with the reference."""
    torch.set_num_threads(1)
    made = VECTOR_PROBLEMS[task]()
    problem = Problem(made.prior, made.forward)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # where sbi leaves its logs
        paths = [
            simulate(problem, count, seed=FIRST_SEED + seed, out=f"{count}.zarr")
            for count in (simulations, simulations - simulations // 10)
        ]
        began = time.process_time()
        if method == "sbi":
            draw = train_sbi(*load_pairs(paths[0], problem)[:2], made, seed, samples)
        else:
            draw = train_ours(paths[1], problem, seed, samples)
        training = time.process_time() - began
    found, seconds = [], []
    for number, y in enumerate(made.sample(OBSERVATIONS, 0)[1]):
        reference = made.reference(y, samples, 1 + number)
        start = time.process_time()
        drawn = draw(y)
        seconds.append(time.process_time() - start)
        found.append(float(c2st(reference, drawn, seed=number).c2st))
    return {"c2st": found, "training": training, "sampling": statistics.mean(seconds)}


def train_ours(pairs: Path, problem: Problem, seed: int, samples: int) -> Draw:
    """Our posterior, all by default."""
    posterior = Posterior.build(problem, seed=seed)
    fit(posterior, problem, simulations=pairs, seed=seed, show_progress=False, device="cpu")
    return lambda y: posterior(y).draw(samples, seed=seed)[:, 0]


def train_sbi(x: torch.Tensor, y: torch.Tensor, made: Any, seed: int, samples: int) -> Draw:
    """sbi's neural posterior estimation with a neural spline flow, all by default."""
    warnings.simplefilter("ignore")
    from sbi.inference import NPE
    from sbi.utils import BoxUniform

    torch.manual_seed(seed)
    scale = made.prior.scale * torch.ones(x.shape[1])
    normal = torch.distributions.MultivariateNormal
    prior = BoxUniform(-scale, scale) if made.prior.uniform else normal(0 * scale, torch.diag(scale**2))
    trainer = NPE(prior=prior, density_estimator="nsf", show_progress_bars=False)
    trainer.append_simulations(x, y).train()
    posterior = trainer.build_posterior()
    return lambda y: posterior.sample((samples,), x=y, show_progress_bars=False)


def measured(path: Path, wanted: Sequence[tuple[str, str, int, int]], samples: int) -> dict[tuple[Any, ...], Any]:
    """The stored configurations, after those that are wanted and missing have been added, each by its own process."""
    stored = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {tuple(key): result for *key, result in stored}
    for key in wanted:
        if key in done:
            continue
        order = [sys.executable, __file__, "--one", *map(str, key), str(samples)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        child = subprocess.run(order, env=environment, capture_output=True, text=True, check=False)
        if child.returncode:
            raise RuntimeError(f"{key}: {child.stderr}")
        done[key] = json.loads(child.stdout.splitlines()[-1])
        print(*key, json.dumps(done[key]), flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(json.dumps([*key, done[key]]) + "\n")
    return done


def main(arguments: Sequence[str] | None = None) -> dict[str, float | None]:
    """Measures what is missing, prints and keeps the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--simulations", nargs="+", type=int, default=SIMULATIONS)
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--small", action="store_true", help="two moons with 200 simulations and 200 samples, one seed")
    parser.add_argument("--out", type=Path, help="where the numbers go (default: benchmarks/results)")
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    read = parser.parse_args(arguments)
    if read.one:
        method, task, *numbers = read.one
        print("\n" + json.dumps(one(method, task, *map(int, numbers))))  # sbi ends no line
        return {}
    out = read.out or (Path("runs/benchmarks") if read.small else reporting.RESULTS)
    tasks, simulations, seeds = (TASKS[:1], (200,), (0,)) if read.small else (read.tasks, read.simulations, read.seeds)
    methods = [name for name in METHODS if find_spec(name)]
    configurations = [(m, task, n, seed) for task in tasks for n in simulations for seed in seeds for m in methods]
    done = measured(out / "beside_sbi.jsonl", configurations, 200 if read.small else SAMPLES)
    report = reporting.Report("beside_sbi", reporting.Options(read.small, out, "cpu", ()))
    if len(methods) < len(METHODS):
        report.note("sbi is not installed: its lines are left out")
    tabulate(report, done)
    return report.finish(None)


def tabulate(report: reporting.Report, done: dict[tuple[Any, ...], Any]) -> None:
    """All that is stored: C2ST by seed, its mean, times."""
    columns = ["problem, simulations", "package", "C2ST", "by seed", "training s", "sampling s"]
    report.tables.append(
        reporting.Table("C2ST over 3 observations; CPU seconds of one thread, medians over seeds", columns)
    )
    excess = []
    for task, simulations in sorted({key[1:3] for key in done}, key=lambda key: (TASKS.index(key[0]), key[1])):
        means = {}
        for method in METHODS:
            runs = [done[key] for key in sorted(done) if key[:3] == (method, task, simulations)]
            if not runs:
                continue
            seeds = [statistics.mean(run["c2st"]) for run in runs]
            means[method] = statistics.mean(seeds)
            times = {name: statistics.median(run[name] for run in runs) for name in ("training", "sampling")}
            case = f"{task} {simulations}, {method}"
            report.figures |= {f"C2ST, {case}": round(means[method], 4)}
            report.figures |= {f"{name} s, {case}": round(value, 3) for name, value in times.items()}
            by_seed = " ".join(f"{value:.3f}" for value in seeds)
            cells = [f"{means[method]:.3f}", by_seed, f"{times['training']:.0f}", f"{times['sampling']:.2f}"]
            report.tables[0].rows.append([f"{task}, {simulations:,}", method, *cells])
        if len(means) == len(METHODS):
            excess.append(means["bayesinv"] - means["sbi"])
    if excess:
        report.figures |= {"cases": len(excess), "cases at or below sbi": sum(value <= 0 for value in excess)}
        report.figures["largest excess over sbi"] = round(max(excess), 4)


if __name__ == "__main__":
    main()
