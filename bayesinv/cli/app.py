"""``bayesinv``: the verbs in the order of the work, from what is installed to the report."""

from __future__ import annotations

from typing import Annotated

import typer

from bayesinv.cli import demo, plugins, results, training
from bayesinv.cli.console import OUT, Verbs

__all__ = ["app"]

app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="All at once: bayesinv demo --small. Step by step: simulate, fit, sample, diagnose, report.",
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        OUT.print(f"bayesinv {version('bayesinv')}", highlight=False)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Amortized posteriors for imaging inverse problems: all images that noisy data allow, and how sure to be."""


for module in (demo, plugins, training, results):
    for verb, example in module.VERBS.items():
        app.command(epilog=f"Example: {example}")(verb)
