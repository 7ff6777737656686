"""``bayesinv demo``: the main job end to end, from an untrained posterior to the report, by a recipe."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bayesinv.cli.arguments import counting
from bayesinv.cli.console import OUT
from bayesinv.cli.recipes import Recipe, recipe_of

if TYPE_CHECKING:
    from bayesinv.inference import Checks, Conditioned, History, Posterior, Problem, Samples

__all__ = ["VERBS"]

_STEPS = 6
_FIGURES = {
    "psnr_baseline": "PSNR of the classical reconstruction (dB)",
    "psnr_posterior_mean": "PSNR of the posterior mean (dB)",
    "psnr_refined": "PSNR of the mean of refined samples (dB)",
    "snr_baseline": "SNR of the classical reconstruction (dB)",
    "snr_posterior_mean": "SNR of the posterior mean (dB)",
    "snr_refined": "SNR of the mean of refined samples (dB)",
    "coverage_90": "coverage of 90 % intervals",
    "coverage_90_vessels": "coverage of 90 % intervals on vessels",
    "error_spread_correlation": "correlation of error and spread",
    "chi2_raw": "chi-square per datum of samples",
    "chi2_refined": "chi-square per datum of refined samples",
}


def demo(
    name: Annotated[
        str, typer.Argument(help="Which demo: photoacoustic-line or seismic-poststack.")
    ] = "photoacoustic-line",
    small: Annotated[
        bool, typer.Option("--small", help="Small and barely trained, in a minute: only shows that all parts work.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Run folder, by default runs/NAME, with --small runs/NAME-small.")
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Throw a former training in the folder away.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is drawn.")] = 0,
) -> None:
    """Train, diagnose, sample and report, end to end, with no download; a finished training is reused."""
    began = time.perf_counter()
    recipe = recipe_of(name, small=small)
    folder = out or Path("runs") / (f"{name}-small" if small else name)
    _say(1, f"{recipe.title}, {recipe.size} x {recipe.size}: problem and untrained posterior")
    from bayesinv.inference import Posterior, load_problem
    from bayesinv.inference import fit as run_fit

    problem = load_problem(name, size=recipe.size, **recipe.problem)
    posterior = Posterior.build(problem, seed=seed, **recipe.build)
    _say(2, f"training on {recipe.fit['simulations']} simulated pairs, {recipe.fit['epochs']} epochs, into {folder}")
    history = run_fit(posterior, problem, seed=seed, out=folder, restart=restart, **recipe.fit)
    _say(3, f"diagnosis on {recipe.heldout} held-out simulations, {recipe.samples} samples each")
    checks = _diagnosed(posterior, problem, recipe, recipe.heldout, seed + 1, None, "held-out simulations")
    checks.save(folder / "checks.nc")
    other = _second_problem(name, recipe)
    _say(4, f"diagnosis on the second input: {recipe.second.count} {recipe.second.name}")
    second = _diagnosed(posterior, problem, recipe, recipe.second.count, seed + 2, other, recipe.second.name)
    second.save(folder / f"checks_{recipe.second.prefix}.nc")
    _say(5, f"{recipe.draws} posterior images of {recipe.second.object}, as drawn and refined")
    samples = _sampled(posterior, other, recipe, folder, seed)
    _say(6, "report")
    _report(samples, checks, second, history, recipe, folder, small)
    _metrics(checks, second, history, recipe, folder, time.perf_counter() - began)
    _close(checks, second, recipe, folder, small)


def _say(step: int, what: str) -> None:
    OUT.print(f"[bold]{step}/{_STEPS}[/] {what}", highlight=False, soft_wrap=True)


def _second_problem(name: str, recipe: Recipe) -> Problem:
    """Where the second input comes from: its own images, and its own instrument where that is what is shifted."""
    from bayesinv.inference import Problem
    from bayesinv.physics import plugins

    prior = plugins.load(recipe.second.prior, "priors")(size=recipe.size, **recipe.second.prior_parameters)
    return Problem(prior, plugins.load(name)(size=recipe.size, **recipe.second.operator_parameters))


def _diagnosed(
    posterior: Posterior, problem: Problem, recipe: Recipe, count: int, seed: int, source: Problem | None, name: str
) -> Checks:
    """The diagnosis of the posterior, which knows `problem` only, on pairs of `source`."""
    from bayesinv.inference import diagnose

    pairs = None if source is None else source.sample(count, seed)
    with counting("diagnosing", count) as progress:
        return diagnose(
            posterior, problem, simulations=count, samples=recipe.samples, refine=recipe.refine, seed=seed, pairs=pairs,
            peak=recipe.peak, name=name, progress=progress,
        )  # fmt: skip


def _sampled(posterior: Posterior, source: Problem, recipe: Recipe, folder: Path, seed: int) -> Samples:
    """Samples of one object of the second input, from its data alone; refined ones go to a file of their own."""
    from bayesinv.inference.gate import gate_unheard

    x, y, _ = source.sample(1, seed + 2, start=recipe.second.shown)
    conditioned: Conditioned = posterior(y[0])
    baseline = posterior.baseline(y[0]).numpy()
    drawn = {}
    for refine in (0, recipe.refine):
        with gate_unheard():  # the report says it
            samples = conditioned.sample(recipe.draws, seed=seed + 1, refine=refine)
        samples = samples.with_truth(x[0].numpy()).with_baseline(baseline)
        about = {"object": recipe.second.object, "object_index": recipe.second.shown, "object_seed": seed + 2}
        drawn[refine] = replace(samples, provenance={**about, **samples.provenance})
    drawn[recipe.refine].save(folder / "samples_refined.nc")
    drawn[0].save(folder / "samples.nc")
    return drawn[0]


def _report(
    samples: Samples, checks: Checks, second: Checks, history: History, recipe: Recipe, folder: Path, small: bool
) -> None:
    from bayesinv.reporting import report

    title = f"{recipe.title}: {recipe.second.object}" + (" (small mode, barely trained)" if small else "")
    report(samples, checks, out=folder / "report.html", second=second, history=history.rows, title=title)


def _metrics(checks: Checks, second: Checks, history: History, recipe: Recipe, folder: Path, seconds: float) -> None:
    from bayesinv.reporting import write_metrics

    extra = {"train_seconds": round(history.seconds, 1), "total_seconds": round(seconds, 1)}
    write_metrics(checks, folder / "metrics.json", second=second, prefix=f"{recipe.second.prefix}_", extra=extra)


def _close(checks: Checks, second: Checks, recipe: Recipe, folder: Path, small: bool) -> None:
    """The closing table, the verdicts in words, and where the report is."""
    from rich.table import Table

    from bayesinv.reporting.words import shortfall

    table = Table("figure", title=None)
    table.add_column("held-out", justify="right")
    table.add_column(recipe.second.prefix, justify="right")
    for key, label in _FIGURES.items():
        if key in checks.metrics:
            table.add_row(label, f"{checks.metrics[key]:.3g}", f"{second.metrics[key]:.3g}")
    OUT.print(table)
    verdict = checks.verdict
    worst = [finding for finding in verdict.findings if finding.level == verdict.level != "trust"]
    OUT.print(f"[bold]Verdict on held-out simulations: {verdict.level}.[/]", highlight=False)
    for finding in worst:
        OUT.print(f"  {finding.test}: {finding.text}", highlight=False, markup=False)
    OUT.print(f"[bold]Verdict on the second input: {second.verdict.level}.[/]", highlight=False)
    for line in shortfall(second, checks):
        OUT.print(f"  {line}", highlight=False, markup=False)
    if small:
        OUT.print(
            "[yellow]Small mode only shows that all parts work: its posterior is barely trained and not to be trusted. "
            "For the real one, run the same command without --small.[/]", highlight=False,
        )  # fmt: skip
    OUT.print(f"report: {folder / 'report.html'}", highlight=False, soft_wrap=True)


VERBS: dict[Callable[..., None], str] = {demo: "bayesinv demo photoacoustic-line --small"}
