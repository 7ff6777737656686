"""What does the report say of a posterior that was trained too little?

Deblurring and inpainting at 16 x 16, trained for a few dozen steps with each of three seeds, diagnosed and reported.
The verdict must be "do not trust", and the reader must see why in the first screen: the reasons, worst first, come
before any picture.

Run: python benchmarks/undertrained.py [--small] [--out FOLDER]; the last line is one JSON object. Four minutes;
the reports are undertrained_PROBLEM_SEED.html in the folder, by default in runs/benchmarks.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from side_by_side import reporting

import bayesinv as bi

PROBLEMS = ("deblur", "inpaint")
SEEDS = (0, 1, 2)


def main(arguments: Sequence[str] | None = None) -> dict[str, float | None]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="one seed, a smaller diagnosis")
    parser.add_argument("--out", type=Path, help="where the numbers go (default: benchmarks/results), and the reports")
    read = parser.parse_args(arguments)
    reports = read.out or Path("runs/benchmarks")
    reports.mkdir(parents=True, exist_ok=True)
    out = reports if read.small else read.out or reporting.RESULTS
    report = reporting.Report("undertrained", reporting.Options(read.small, out, "cpu", ()))
    table = reporting.Table(
        "The verdict, and what the reader sees before the first picture", ["problem, seed", "line", "says"]
    )
    report.tables.append(table)
    distrusted, seen = [], []
    for name, seed in [("deblur", 0)] if read.small else product(PROBLEMS, SEEDS):
        path = reports / f"undertrained_{name}_{seed}.html"
        verdict = reported(path, name, seed, 40 if read.small else 100)
        before = path.read_text(encoding="utf-8").split("<figure>")[0]
        distrusted.append(verdict.level == "do not trust")
        seen.append(sum(finding.level == "do not trust" and finding.test in before for finding in verdict.findings))
        objections = [finding for finding in verdict.findings if finding.level != "trust"]
        table.rows.extend(
            [f"{name}, {seed}", f"{finding.test}: {finding.level}", finding.text] for finding in objections
        )
    report.figures["share of verdicts 'do not trust'"] = sum(distrusted) / len(distrusted)
    report.figures["fewest reasons not to trust before the first picture"] = min(seen)
    return report.finish(None)


def reported(path: Path, name: str, seed: int, simulations: int) -> bi.inference.verdict.Verdict:
    """Trains a little, writes the report, and gives back the verdict."""
    problem = bi.load_problem(name, size=16)
    posterior = bi.Posterior.build(problem, seed=seed)
    history = bi.fit(
        posterior, problem, simulations=256, epochs=3, validation=20, seed=seed, show_progress=False, device="cpu"
    )
    x, y, _ = problem.sample(1, 7)
    samples = posterior(y[0]).sample(99, seed=1).with_truth(x[0]).with_baseline(posterior.baseline(y[0]))
    checks = bi.diagnose(posterior, problem, simulations=simulations)
    bi.report(samples, checks, history=history.rows, out=path, title=f"{name}, trained too little")
    return checks.verdict


if __name__ == "__main__":
    main()
