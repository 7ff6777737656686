"""The progress bar of long work: what is done, the loss, the rate, the time left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Bar", "progress_bar"]


class Bar:
    """A bar of one task after the other; does nothing without a display."""

    def __init__(self, display: Any = None) -> None:
        self._display = display
        self._task: Any = None

    def start(self, what: str, total: int, *, done: int = 0) -> None:
        """Ends the task before and starts another."""
        if self._display is not None:
            if self._task is not None:
                self._display.stop_task(self._task)
            self._task = self._display.add_task(what, total=total, completed=done, note="")

    def advance(self, count: int = 1, note: str | None = None) -> None:
        """Counts ``count`` more, with a note such as the loss."""
        if self._display is not None and self._task is not None:
            self._display.update(self._task, advance=count, **({} if note is None else {"note": note}))


@contextmanager
def progress_bar(shown: bool) -> Iterator[Bar]:
    """A bar on standard error, or a silent one."""
    if not shown:
        yield Bar()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    class Rate(TextColumn):
        def __init__(self) -> None:
            super().__init__("")

        def render(self, task: Any) -> Any:
            from rich.text import Text

            speed = task.finished_speed or task.speed
            return Text("" if not speed else f"{speed:.1f}/s")

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"), Rate(),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=2, speed_estimate_period=60) as display:
        yield Bar(display)
