"""Ctrl-C at a step's end: the first asks a loop to stop when its state is whole, the second stops at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

__all__ = ["Stop", "interruptible"]


@dataclass
class Stop:
    """Whether the user has asked to stop."""

    asked: bool = False


@contextmanager
def interruptible() -> Iterator[Stop]:
    """Turns the first SIGINT into a request; outside the main thread it does nothing."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    former = signal.getsignal(signal.SIGINT)

    def ask(number: int, frame: FrameType | None) -> None:
        stop.asked = True
        signal.signal(signal.SIGINT, former)

    signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, former)
