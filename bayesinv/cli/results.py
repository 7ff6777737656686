"""The verbs that use a posterior: ``sample``, ``diagnose``, ``report``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from bayesinv.cli.arguments import counting, output_file, posterior_file
from bayesinv.cli.console import OUT

__all__ = ["VERBS"]

PosteriorPath = Annotated[
    Path, typer.Argument(metavar="POSTERIOR", help="A posterior's file, or the run folder that holds it.")
]


def sample(
    posterior: PosteriorPath,
    data: Annotated[Path, typer.Argument(help="Observed data: .npy, or .nc with one variable or one called y or data; "
                                         "also a .zarr store of pairs.")],
    samples: Annotated[int, typer.Option("--samples", "-n", min=2, help="How many images to draw.")] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Sample i depends on (seed, i) only.")] = 1,
    refine: Annotated[int, typer.Option(min=0, help="Data-consistency steps on each sample, such as 8.")] = 0,
    record: Annotated[int | None, typer.Option(min=0, help="Which record, where the file holds several.")] = None,
    sigma: Annotated[float | None, typer.Option(help="Known noise level in the unit of the data; by default as "
                                                "the problem or the file of pairs says.")] = None,
    out: Annotated[Path, typer.Option(help="netCDF file to write.")] = Path("samples.nc"),
) -> None:  # fmt: skip
    """Draw posterior images for observed data."""
    output_file(out)
    from bayesinv.cli.observed import read_observed
    from bayesinv.inference import Posterior
    from bayesinv.inference.gate import LEVEL, gate_unheard

    trained = Posterior.load(posterior_file(posterior))
    observed = read_observed(data, trained.problem.forward.data_shape, record)
    conditioned = trained(observed.y, observed.sigma if sigma is None else sigma)
    with gate_unheard():
        drawn = conditioned.sample(samples, seed=seed, refine=refine)
    p_values = drawn.provenance["gate_p_value"]
    if p_values and p_values[0] < LEVEL:
        OUT.print(
            f"[yellow]these data are unlike the simulated ones (p = {p_values[0]:.2g})[/]: the posterior was not "
            "trained for them; check noise level, units and operator", highlight=False, soft_wrap=True,
        )  # fmt: skip
    drawn = drawn.with_baseline(trained.baseline(conditioned.y[0]).numpy())
    if observed.truth is not None:
        drawn = drawn.with_truth(observed.truth)
    drawn.save(out)
    misfit = float(drawn.chi2.mean()) if drawn.chi2 is not None else float("nan")
    OUT.print(
        f"{len(drawn)} samples in {out}: mean standard deviation {float(drawn.std().mean()):.3g}, chi-square per datum "
        f"{misfit:.2f} (1 fits the noise)", highlight=False, soft_wrap=True,
    )  # fmt: skip


def diagnose(
    posterior: PosteriorPath,
    simulations: Annotated[int, typer.Option(min=2, help="How many held-out pairs to simulate.")] = 100,
    samples: Annotated[int, typer.Option(min=4, help="Samples for each; 99 makes 90 % intervals exact.")] = 99,
    refine: Annotated[int, typer.Option(min=0, help="Data-consistency steps of the refined figures; 0: none.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Of pairs and samples.")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="netCDF file to write, by default checks.nc beside the posterior.")
    ] = None,
) -> None:
    """Check a posterior on simulations it has not seen: coverage, ranks, spread, misfit, a verdict in words."""
    file = posterior_file(posterior)
    target = output_file(out or file.parent / "checks.nc")
    from bayesinv.inference import Posterior
    from bayesinv.inference import diagnose as run_diagnosis

    trained = Posterior.load(file)
    with counting("diagnosing", simulations) as progress:
        checks = run_diagnosis(
            trained, trained.problem, simulations=simulations, samples=samples, seed=seed, refine=refine,
            progress=progress,
        )  # fmt: skip
    checks.save(target)
    OUT.print(repr(checks), highlight=False, markup=False)
    OUT.print(f"checks in {target}", highlight=False, soft_wrap=True)


def report(
    samples: Annotated[Path, typer.Argument(help="Samples, as `bayesinv sample` writes them.")],
    checks: Annotated[
        Path | None, typer.Option(help="Checks of the posterior, by default checks.nc beside the samples.")
    ] = None,
    second: Annotated[Path | None, typer.Option(help="Checks on a second input, real or shifted.")] = None,
    history: Annotated[
        Path | None, typer.Option(help="Training history, by default history.json beside the samples.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Heading of the report.")] = None,
    out: Annotated[Path, typer.Option(help="HTML file to write; metrics.json comes beside it.")] = Path("report.html"),
) -> None:
    """Write the uncertainty report, one self-contained HTML file, and metrics.json beside it."""
    output_file(out)
    found = checks or samples.parent / "checks.nc"
    if not found.is_file():
        raise FileNotFoundError(
            f"expected the checks of the posterior, found no file {found}; make it with "
            f"`bayesinv diagnose POSTERIOR --out {found}`, or name another with --checks"
        )
    from bayesinv.inference import Checks, History, Samples
    from bayesinv.reporting import report as write_report
    from bayesinv.reporting import write_metrics

    drawn, first = Samples.load(samples), Checks.load(found)
    other = None if second is None else Checks.load(second)
    log = history or samples.parent / "history.json"
    rows = History.load(log).rows if history is not None or log.is_file() else None
    write_report(drawn, first, out=out, second=other, history=rows, title=title)
    metrics = write_metrics(first, out.parent / "metrics.json", second=other)
    OUT.print(f"verdict: [bold]{first.verdict.level}[/]\nreport in {out}\nfigures in {metrics}", highlight=False)


VERBS: dict[Callable[..., None], str] = {
    sample: "bayesinv sample runs/deblur pairs.zarr --record 0 --refine 8 --out runs/deblur/samples.nc",
    diagnose: "bayesinv diagnose runs/deblur --simulations 200",
    report: "bayesinv report runs/deblur/samples.nc --out runs/deblur/report.html",
}
