"""The verbs about installed plug-ins: ``operators``, ``check``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from bayesinv.cli.arguments import Settings, parse_settings
from bayesinv.cli.console import OUT

__all__ = ["VERBS"]


def operators() -> None:
    """List the installed forward operators and priors, one line each."""
    from rich.markup import escape
    from rich.table import Table

    from bayesinv.physics import plugins

    kinds: dict[plugins.Kind, str] = {"operators": "operator", "priors": "prior"}
    for kind, title in kinds.items():
        table = Table(title_justify="left", box=None, pad_edge=False)
        table.add_column(title, style="bold", no_wrap=True)
        table.add_column("what it does")
        for name, line in plugins.summaries(kind).items():
            table.add_row(name, escape(line))
        OUT.print(table)


def check(
    name: Annotated[str, typer.Argument(help="Name of an operator, as `bayesinv operators` lists them.")],
    settings: Settings = None,
) -> None:
    """Test an operator: dot test, Taylor test, gradients, batches and its known answer; exit code 1 if one fails."""
    from rich.table import Table

    from bayesinv.physics import plugins
    from bayesinv.physics.checks import check as run_checks

    results = run_checks(_called(name, plugins.load(name), parse_settings(settings)))
    table = Table(box=None, pad_edge=False)
    for heading, justify in (("check", "left"), ("result", "left"), ("value", "right"), ("wanted", "right")):
        table.add_column(heading, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("what it means")
    for result in results:
        verdict = "[green]passed[/]" if result.passed else "[bold red]FAILED[/]"
        table.add_row(result.name, verdict, f"{result.value:.2g}", f"{result.tolerance:.2g}", result.detail)
    OUT.print(table)
    failed = [result.name for result in results if not result.passed]
    if failed:
        OUT.print(f"[bold red]{name}: {len(failed)} of {len(results)} checks failed: {', '.join(failed)}[/]")
        raise typer.Exit(1)
    OUT.print(f"[green]{name}: all {len(results)} checks passed[/]")


def _called(name: str, factory: Callable[..., Any], parameters: dict[str, Any]) -> Any:
    """What the factory makes of the parameters, lists as tuples.

    Raises:
        ValueError: for a parameter that it does not have.
    """
    import inspect

    known = inspect.signature(factory).parameters
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise ValueError(f"expected parameters of {name!r} ({', '.join(known)}), got {', '.join(unknown)}")
    return factory(**{key: tuple(value) if isinstance(value, list) else value for key, value in parameters.items()})


VERBS: dict[Callable[..., None], str] = {
    operators: "bayesinv operators",
    check: "bayesinv check photoacoustic-line --set size=64",
}
