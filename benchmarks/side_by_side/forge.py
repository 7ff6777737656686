"""`Forge`: a process that has imported the packages, and forks one fresh child for each configuration.

A child runs a task, a generator that is named ``module:function``. It yields one result, a JSON object, whenever it is
asked for the next one, so that several children can take turns. A child that dies (out of memory) is a result of None.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from side_by_side.heap import counting

__all__ = ["Child", "Forge", "started"]

Result = dict[str, Any] | None
IMPORTED = (
    "torch",
    "torch._dynamo",  # it and sympy come with the first step otherwise, anew in every child
    "sympy",
    "bayesinv",
    "bayesinv.flows",
    "bayesinv.physics",
    "bayesinv.reversible",
    "bayesinv_operators",
    "normflows",
    "FrEIA.framework",
    "FrEIA.modules",
    "memcnn",
)


class Child:
    """The parent's end of a child."""

    def __init__(self, end: socket.socket, task: str, arguments: dict[str, Any]) -> None:
        self._end = end
        self._stream = end.makefile("rw", encoding="utf-8")
        self._say({"task": task, "arguments": arguments})

    def next(self) -> Result:
        """The next result; None if the child has died."""
        self._say({})
        return self.result()

    def result(self) -> Result:
        """The result of what was last asked."""
        line = ""
        with contextlib.suppress(ConnectionError):
            line = self._stream.readline()
        if not line:
            return None
        result: dict[str, Any] = json.loads(line)
        if "failure" in result:
            raise RuntimeError(f"expected a result, got in the child: {result['failure']}")
        return result

    def close(self) -> None:
        """Ends the child."""
        with contextlib.suppress(OSError):
            self._stream.close()
        self._end.close()

    def _say(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # it has died: the answer says so
            print(json.dumps(message), file=self._stream, flush=True)


class Forge:
    """Starts children.

    Args:
        environment: variables of the environment beyond this process's.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self._control, inner = socket.socketpair()
        folder = str(Path(__file__).resolve().parents[1])
        paths = os.pathsep.join([folder, *[path for path in sys.path if path and path != folder]])
        theirs = (":FutureWarning", ":DeprecationWarning", "torch.lu is deprecated:UserWarning")  # by the peers
        quiet = [f"-Wignore:{warning}" for warning in theirs]
        self._process = subprocess.Popen(
            [sys.executable, *quiet, "-c", f"from side_by_side.forge import serve; serve({inner.fileno()})"],
            pass_fds=[inner.fileno()], stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": paths, **environment},
        )  # fmt: skip
        inner.close()

    def child(self, task: str, **arguments: Any) -> Child:
        """A fresh process that runs the task."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._control, [b"+"], [theirs.fileno()])
        return Child(ours, task, arguments)

    def once(self, task: str, **arguments: Any) -> Result:
        """The first result of a task in a fresh process."""
        child = self.child(task, **arguments)
        try:
            return child.result()
        finally:
            child.close()

    def close(self) -> None:
        """Ends it; children go on until they are closed."""
        self._control.close()
        self._process.wait()

    def __enter__(self) -> Forge:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@cache
def started(*, memory: bool) -> Forge:
    """The forge of this process for measuring memory, or time; it ends with the process."""
    forge = Forge(counting() if memory else {})
    atexit.register(forge.close)
    return forge


def serve(descriptor: int) -> None:
    """The life of a forge: import, then fork whenever a socket comes in."""
    for name in IMPORTED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()  # what has been imported stays; a child need not look through it
    control = socket.socket(fileno=descriptor)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            return
        if os.fork() == 0:
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _live(socket.socket(fileno=descriptors[0]))
            sys.stdout.flush()
            os._exit(0)
        os.close(descriptors[0])


def _live(end: socket.socket) -> None:
    """The life of a child: one result for every line."""
    stream = end.makefile("rw", encoding="utf-8")
    try:
        order = json.loads(stream.readline())
        for result in _results(order):
            print(json.dumps(result), file=stream, flush=True)
            if not stream.readline():
                return
    except BaseException as error:
        with contextlib.suppress(OSError):
            print(json.dumps({"failure": f"{type(error).__name__}: {error}"}), file=stream, flush=True)


def _results(order: dict[str, Any]) -> Iterator[dict[str, Any]]:
    module, function = order["task"].split(":")
    yield from getattr(importlib.import_module(module), function)(**order["arguments"])
