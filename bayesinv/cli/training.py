"""The verbs that make a posterior: ``simulate``, ``fit``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from bayesinv.cli.arguments import Settings, output_folder, parse_settings
from bayesinv.cli.console import OUT

__all__ = ["VERBS"]

Operator = Annotated[str, typer.Argument(help="Name of an operator, as `bayesinv operators` lists them.")]


def simulate(
    name: Operator,
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="How many pairs of image and data.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Pair i depends on (seed, i) only.")] = 0,
    out: Annotated[
        Path, typer.Option(help="Zarr store to write: x, y, sigma, axes, provenance; an unfinished one goes on.")
    ] = Path("pairs.zarr"),
    workers: Annotated[
        str, typer.Option(metavar="NUMBER|ADDRESS", help="Processes here, or a Dask scheduler such as tcp://host:8786.")
    ] = "1",
    settings: Settings = None,
) -> None:
    """Draw images from the operator's prior, compute their noisy data, and store the pairs."""
    output_folder(out)
    from bayesinv.inference import load_problem
    from bayesinv.inference import simulate as run_simulation
    from bayesinv.inference.progress import progress_bar

    problem = load_problem(name, **parse_settings(settings))
    with progress_bar(True) as bar:
        bar.start("simulating", number)
        run_simulation(
            problem, number, seed=seed, out=out, advance=bar.advance,
            workers=int(workers) if workers.lstrip("-").isdigit() else workers,
        )  # fmt: skip
    OUT.print(f"{number} pairs of {problem!r} in {out}", highlight=False)


def fit(
    name: Operator,
    simulations: Annotated[
        str,
        typer.Option(
            metavar="NUMBER|STORE|fresh|auto",
            help="How many pairs to simulate, or a store made by `bayesinv simulate`, or 'fresh': new at every step. "
            "'auto': fresh for small images whose pairs are cheap, else 4000.",
        ),
    ] = "auto",
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Passes over the pairs, on which the schedules count; by default 10, fresh 12 or 24."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Run folder: posterior.bayesinv, history.json, checkpoint.safetensors; by default runs/NAME-fit."
        ),
    ] = None,
    settings: Settings = None,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, pairs, order and noise.")] = 0,
    restart: Annotated[bool, typer.Option("--restart", help="Throw a former run in the folder away.")] = False,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Pairs a step, by default by size.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak of Adam's rate, by default 4e-3.")] = None,
    validation: Annotated[
        int | None, typer.Option(min=2, help="Held-out pairs for best weights and temperature, by default 100.")
    ] = None,
    checkpoint_steps: Annotated[int, typer.Option(min=1, help="Steps between two checkpoints.")] = 100,
    summary: Annotated[
        str | None,
        typer.Option(
            help="What physics computes from the data: cgls, tikhonov, adjoint, data, residual, score, unrolled; by "
            "default by size."
        ),
    ] = None,
    baseline: Annotated[
        str, typer.Option(help="Classical method to compare with: cgls (Gauss-Newton if nonlinear), regularised.")
    ] = "cgls",
    steps: Annotated[int | None, typer.Option(min=1, help="Flow steps a level, by default by size.")] = None,
    hidden: Annotated[int | None, typer.Option(min=1, help="Hidden channels, by default by level.")] = None,
    levels: Annotated[int | None, typer.Option(min=1, help="Number of scales, by default by size.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
) -> None:
    """Train a posterior; the same command goes on after an interruption and reuses a finished run."""
    from bayesinv.inference import Posterior, load_problem
    from bayesinv.inference import fit as run_fit

    folder = out or Path("runs") / f"{name}-fit"
    problem = load_problem(name, **parse_settings(settings))
    posterior = Posterior.build(
        problem, summary=summary, baseline=baseline, steps=steps, hidden=hidden, levels=levels, seed=seed,  # type: ignore[arg-type]
    )  # fmt: skip
    history = run_fit(
        posterior, problem, simulations=_simulations(simulations), epochs=epochs, seed=seed, out=folder, device=device,
        batch_size=batch_size, learning_rate=learning_rate, validation=validation, checkpoint_steps=checkpoint_steps,
        restart=restart,
    )  # fmt: skip
    best = posterior.record["training"]["heldout_nats_per_dim"]
    OUT.print(
        f"posterior in {folder / 'posterior.bayesinv'}: held-out loss {best:.3f} nats per dimension at step "
        f"{history.best_step}, temperature {history.temperature:.2f}, {history.seconds:.0f} s of training",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    OUT.print(f"next: bayesinv diagnose {folder}, bayesinv sample {folder} DATA", highlight=False, soft_wrap=True)


def _simulations(given: str) -> int | str | None:
    """A number, a store, or ``None`` for fresh pairs."""
    if given == "fresh":
        return None
    if given == "auto":
        return given
    try:
        return int(given)
    except ValueError:
        if not Path(given).is_dir():
            raise ValueError(
                f"expected --simulations as a number, a store of pairs, 'fresh' or 'auto', got {given!r}"
            ) from None
        return given


VERBS: dict[Callable[..., None], str] = {
    simulate: "bayesinv simulate deblur -n 500 --set size=32 --out pairs.zarr",
    fit: "bayesinv fit deblur --set size=32 --simulations 2000 --epochs 10 --out runs/deblur",
}
