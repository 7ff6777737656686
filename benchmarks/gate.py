"""Does the gate tell mildly wrong data from data as simulated? Area under the ROC curve, without any training.

For each problem three gates are fitted, each on 200 simulated records; 200 fresh records and 200 of each kind of wrong
data are scored: noise twice the trained level, an operator off by 10 % (wavelet, sound speed or blur), images of
another prior.

Run: python benchmarks/gate.py [--small] [--out FOLDER]; the last line is one JSON object.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from side_by_side import reporting

from bayesinv.inference import Problem, load_problem
from bayesinv.inference.gate import fit_gate
from bayesinv.inference.gate_features import data_features
from bayesinv.physics import GaussianNoise, plugins

# problem -> (parameters of the wrong operator, another prior)
CASES = {
    "photoacoustic-line": ({"time_step": 0.55}, ("layered-sections", {})),
    "seismic-poststack": ({"wavelet_frequency": 0.11}, ("vessels", {})),
    "deblur": ({"blur": 1.65}, ("layered-sections", {})),
}


def wrong_data(name: str, size: int, problem: Problem) -> dict[str, Problem]:
    """Simulators of wrong data, to be looked at with the right forward model."""
    parameters, (prior, settings) = CASES[name]
    operator = replace(problem.forward, operator=plugins.load(name)(size=size, **parameters).operator)
    return {
        "noise x 2": Problem(problem.prior, replace(problem.forward, noise=GaussianNoise(0.1))),
        "operator + 10 %": Problem(problem.prior, operator),
        "another prior": Problem(plugins.load(prior, "priors")(size=size, **settings), problem.forward),
    }


def main(arguments: Sequence[str] | None = None) -> dict[str, float | None]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="16 x 16 instead of 32 x 32, 50 records of each kind")
    parser.add_argument("--out", type=Path, help="where the numbers go (default: benchmarks/results)")
    read = parser.parse_args(arguments)
    out = read.out or (Path("runs/benchmarks") if read.small else reporting.RESULTS)
    report = reporting.Report("gate", reporting.Options(read.small, out, "cpu", ()))
    size, count, seeds = (16, 50, (1,)) if read.small else (32, 200, (1, 2, 3))
    title = f"{count} records of each kind, {size} x {size}; median and range over {len(seeds)} gates"
    table = reporting.Table(title, ["problem", "data", "area under the ROC curve", "stopped at 1 %"])
    report.tables.append(table)
    for name in CASES:
        problem = load_problem(name, size=size)
        began = time.process_time()
        gates = [fit_gate(problem, seed=seed) for seed in seeds]
        seconds = (time.process_time() - began) / len(seeds)
        report.note(f"{name}: {len(gates[0].mean)} features, a gate is fitted in {seconds:.1f} s")

        def features(simulator: Problem, problem: Problem = problem) -> np.ndarray:
            _, y, _ = simulator.sample(count, seed=20)
            return data_features(problem.forward, y, problem.forward.noise.sigma_of(y))

        simulators = {"as simulated": problem, **wrong_data(name, size, problem)}
        found = {kind: features(simulator) for kind, simulator in simulators.items()}
        inside = [gate.score(found["as simulated"]) for gate in gates]
        for kind, rows in found.items():
            stopped = np.mean([(gate.p_value(rows) < gate.level).mean() for gate in gates])
            if kind == "as simulated":
                report.figures[f"{name}: false alarms at 1 %"] = round(float(stopped), 4)
                table.rows.append([name, kind, "-", f"{stopped:.1%}"])
                continue
            areas = [float((gate.score(rows)[:, None] > here).mean()) for gate, here in zip(gates, inside, strict=True)]
            report.figures[f"{name}, {kind}: area under the ROC curve"] = round(float(np.median(areas)), 4)
            table.rows.append(
                [name, kind, f"{np.median(areas):.3f} ({min(areas):.3f} to {max(areas):.3f})", f"{stopped:.0%}"]
            )
    return report.finish(None)


if __name__ == "__main__":
    main()
