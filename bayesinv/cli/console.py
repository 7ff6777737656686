"""The two streams of the command line, and how a user's mistake comes out: one red line, no traceback.

Exit codes: 0 all well, 1 a check has failed, 2 a mistake or a failure that the message explains, 130 interrupted.
"""

from __future__ import annotations

from typing import Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

__all__ = ["ERR", "OUT", "Verbs"]

OUT = Console()
ERR = Console(stderr=True)


class Verbs(TyperGroup):
    """The group of all verbs; turns errors that a user can act on into a line and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the verb."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            _line(str(stop) or "interrupted; no file was left half written", "yellow")
            raise typer.Exit(130) from stop
        except BrokenPipeError:
            raise
        except (ValueError, OSError, FloatingPointError, ImportError) as error:
            _line(f"error: {_words(error)}", "bold red")
            raise typer.Exit(2) from error


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def _line(text: str, style: str) -> None:
    ERR.print(Text(" ".join(text.split()), style=style), soft_wrap=True)
