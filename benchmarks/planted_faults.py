"""Which diagnostic finds which planted fault: power of every test and of the verdict, from repeated runs.

Exact posteriors of 16 x 16 problems, made wrong by a fault of stated size, are diagnosed at 200 observations with 99
samples each, again and again with fresh pairs. The first column holds the false alarms of the exact posterior; the
others the share of runs in which the fault was found. The rank tests reject at 1 %, TARP too; a line of the verdict
counts where it says less than "trust".

Run: python benchmarks/planted_faults.py [--small] [--out FILE]; the last line is one JSON object. FILE keeps all runs,
so that an interrupted command goes on; the tables are kept beside it.
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Sequence
from pathlib import Path

from exact_problems import exact_problem
from faulty_posteriors import Faulty
from side_by_side import reporting

from bayesinv.inference import diagnose
from bayesinv.inference.heldout import HeldOut
from bayesinv.inference.sbc import sbc
from bayesinv.inference.tarp import tarp

IMAGES = ("exact", "mean shifted", "sd too small", "sd too large", "uncorrelated", "data ignored")
CASES = {"deblur": IMAGES, "poststack": IMAGES, "two-modes": ("exact", "mode dropped")}
OFTEN = {*((name, "exact") for name in CASES), ("poststack", "mean shifted")}  # rates too near a bound for 20 runs
OBSERVATIONS, SAMPLES, ALPHA = 200, 99, 0.01


def one_run(problem, posterior, seed: int, observations: int) -> dict[str, bool]:
    """What each test says of one diagnosis."""
    posterior = Remembered(posterior)
    checks = diagnose(posterior, problem, simulations=observations, samples=SAMPLES, seed=seed)
    found = {f"verdict line: {_short(line.test)}": line.level != "trust" for line in checks.verdict.findings}
    ranks = {
        key.removeprefix("functional_p_"): p for key, p in checks.metrics.items() if key.startswith("functional_p_")
    }
    bands = [p for name, p in ranks.items() if name.startswith("band")]
    found |= {f"ranks: {name}": p < ALPHA for name, p in ranks.items() if not name.startswith("band")}
    found["ranks: cosine bands"] = min(bands) * len(bands) < ALPHA
    held = HeldOut(posterior, problem, simulations=observations, samples=SAMPLES, seed=seed, keep=True)  # same draws
    found["ranks: density"] = float(sbc(held, functionals={}).sel(functional="density").p_value) < ALPHA
    for kind in ("adjoint", "prior"):
        found[f"TARP: {kind} references"] = float(tarp(held, references=kind).p_value) < ALPHA
    found["VERDICT: not trust"] = checks.verdict.level != "trust"
    found["VERDICT: do not trust"] = checks.verdict.level == "do not trust"
    return found


class Remembered:
    """A posterior whose last samples are kept, since several diagnostics ask for the same."""

    def __init__(self, posterior) -> None:
        self.posterior, self.target_noise, self.seen = posterior, posterior.target_noise, {}

    def __call__(self, y, sigma=None):
        key = y.numpy().tobytes()
        if key not in self.seen:
            conditioned = self.posterior(y, sigma)
            conditioned.sample = functools.lru_cache(conditioned.sample)
            self.seen[key] = conditioned
        return self.seen[key]


def _short(test: str) -> str:
    return "Coverage of pixels" if test.startswith("Coverage of") else test


def main(arguments: Sequence[str] | None = None) -> dict[str, float | None]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="two runs of one problem, with 40 observations")
    parser.add_argument("--out", type=Path, help="JSON lines of all runs, to which an interrupted command adds")
    read = parser.parse_args(arguments)
    cases = {"deblur": IMAGES} if read.small else CASES
    observations = 40 if read.small else OBSERVATIONS
    out = read.out or (Path("runs/benchmarks") if read.small else reporting.RESULTS) / "planted_faults.jsonl"
    out.parent.mkdir(parents=True, exist_ok=True)
    done = _read(out)
    made = {name: exact_problem(name) for name in cases}
    posteriors = {(name, fault): Faulty(made[name], fault) for name, faults in cases.items() for fault in faults}
    repeats = {case: 2 if read.small else 60 if case in OFTEN else 20 for case in posteriors}
    for run in range(max(repeats.values())):  # round by round, so that an interrupted command has something of all
        for (name, fault), posterior in posteriors.items():
            if run >= repeats[name, fault] or (name, fault, run) in done:
                continue
            done[name, fault, run] = one_run(made[name], posterior, 1000 + run, observations)
            with out.open("a") as file:
                file.write(json.dumps([name, fault, run, done[name, fault, run]]) + "\n")
    report = reporting.Report("planted_faults", reporting.Options(read.small, out.parent, "cpu", ()))
    for name, faults in cases.items():
        _tabulate(report, name, faults, done)
    alarms = [r["VERDICT: not trust"] for (_, fault, _), r in done.items() if fault == "exact"]
    report.figures["false alarms of the verdict, all problems"] = sum(alarms) / len(alarms)
    report.figures["diagnoses of exact posteriors"] = len(alarms)
    return report.finish(None)


def _read(path: Path) -> dict[tuple[str, str, int], dict[str, bool]]:
    if not path.exists():
        return {}
    return {tuple(row[:3]): row[3] for row in map(json.loads, path.read_text().splitlines())}


def _tabulate(report: reporting.Report, name: str, faults: tuple[str, ...], done: dict) -> None:
    runs = {fault: [run for (*key, _), run in done.items() if key == [name, fault]] for fault in faults}
    counts = ", ".join(f"{len(found)} {fault}" for fault, found in runs.items())
    table = reporting.Table(f"{name}: share of diagnoses that object (of {counts})", ["test", *faults])
    for test in runs["exact"][0]:
        share = [sum(run[test] for run in found) / len(found) for found in runs.values()]
        table.rows.append([test, *[f"{value:.2f}" for value in share]])
        if test == "VERDICT: not trust":
            report.figures |= {f"{name}, {fault}: verdict objects": s for fault, s in zip(faults, share, strict=True)}
    report.tables.append(table)


if __name__ == "__main__":
    main()
