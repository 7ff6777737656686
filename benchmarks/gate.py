"""Does the gate tell mildly wrong data from data as simulated? Area under the ROC curve, without any training.

For each problem the gate is fitted on 200 simulated records; 200 fresh records and 200 of each kind of wrong data are
scored: noise twice the trained level, an operator off by 10 % (wavelet, sound speed or blur), images of another prior.

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
    size, count = (16, 50) if read.small else (32, 200)
    title = f"{count} records of each kind, {size} x {size}; 1 % of data as simulated should be stopped"
    table = reporting.Table(title, ["problem", "data", "area under the ROC curve", "stopped"])
    report.tables.append(table)
    for name in CASES:
        problem = load_problem(name, size=size)
        began = time.process_time()
        gate = fit_gate(problem, seed=1)
        report.note(f"{name}: {len(gate.mean)} features, fitted in {time.process_time() - began:.1f} s")

        def score(simulator: Problem, problem: Problem = problem, gate=gate) -> tuple[np.ndarray, np.ndarray]:
            _, y, _ = simulator.sample(count, seed=2)
            features = data_features(problem.forward, y, problem.forward.noise.sigma_of(y))
            return gate.score(features), gate.p_value(features)

        inside, p_values = score(problem)
        alarms = float((p_values < gate.level).mean())
        report.figures[f"{name}: false alarms at {gate.level:.0%}"] = alarms
        table.rows.append([name, "as simulated", "-", f"{alarms:.1%}"])
        for kind, simulator in wrong_data(name, size, problem).items():
            outside, p_values = score(simulator)
            area = float((outside[:, None] > inside).mean())
            report.figures[f"{name}, {kind}: area under the ROC curve"] = round(area, 4)
            table.rows.append([name, kind, f"{area:.3f}", f"{(p_values < gate.level).mean():.0%}"])
    return report.finish(None)


if __name__ == "__main__":
    main()
