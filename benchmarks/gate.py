"""Does the gate tell mildly wrong data from data as simulated? Area under the ROC curve, without any training.

For each problem the gate is fitted on 200 simulated records; 200 fresh records and 200 of each kind of wrong data are
scored: noise twice the trained level, an operator off by 10 % (wavelet, sound speed or blur), images of another prior.

Run: python benchmarks/gate.py [--small]; the last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace

import numpy as np

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="16 x 16 instead of 32 x 32, 50 records of each kind")
    small = parser.parse_args().small
    size, count = (16, 50) if small else (32, 200)
    figures: dict[str, float] = {}
    for name in CASES:
        problem = load_problem(name, size=size)
        began = time.process_time()
        gate = fit_gate(problem, seed=1)
        seconds = time.process_time() - began

        def score(simulator: Problem, problem: Problem = problem, gate=gate) -> tuple[np.ndarray, np.ndarray]:
            _, y, _ = simulator.sample(count, seed=2)
            features = data_features(problem.forward, y, problem.forward.noise.sigma_of(y))
            return gate.score(features), gate.p_value(features)

        inside, p_values = score(problem)
        figures[f"{name}: false alarms at {gate.level:.0%}"] = float((p_values < gate.level).mean())
        print(f"\n{name}: {len(gate.mean)} features, fitted in {seconds:.1f} s")
        print(f"  as simulated: stopped at 1 %: {(p_values < gate.level).mean():.3f}")
        for kind, simulator in wrong_data(name, size, problem).items():
            outside, p_values = score(simulator)
            area = float((outside[:, None] > inside).mean())
            figures[f"{name}, {kind}: area under the ROC curve"] = round(area, 4)
            print(f"  {kind:18} area {area:.3f}, stopped at 1 %: {(p_values < 0.01).mean():.2f}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
