"""`Forge`: a process that has imported the packages, and forks one fresh child for each configuration.

A child runs a task, a function that is named ``module:function`` and returns a JSON object, and ends. A child that dies
(out of memory) is a result of None.
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
from functools import cache
from pathlib import Path
from typing import Any

from side_by_side.heap import counting

__all__ = ["Forge", "Result", "started"]

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

    def once(self, task: str, **arguments: Any) -> Result:
        """What the task returns in a fresh process; None if that died."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._control, [b"+"], [theirs.fileno()])
        line = ""
        with contextlib.suppress(ConnectionError), ours, ours.makefile("rw", encoding="utf-8") as stream:
            print(json.dumps({"task": task, "arguments": arguments}), file=stream, flush=True)
            line = stream.readline()
        if not line:
            return None
        result: dict[str, Any] = json.loads(line)
        if "failure" in result:
            raise RuntimeError(f"expected a result, got in the child: {result['failure']}")
        return result

    def close(self) -> None:
        """Ends it."""
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
    """The life of a child: an order comes in, a result goes out."""
    stream = end.makefile("rw", encoding="utf-8")
    try:
        order = json.loads(stream.readline())
        module, function = order["task"].split(":")
        result = getattr(importlib.import_module(module), function)(**order["arguments"])
        print(json.dumps(result), file=stream, flush=True)
    except BaseException as error:
        with contextlib.suppress(OSError):
            print(json.dumps({"failure": f"{type(error).__name__}: {error}"}), file=stream, flush=True)
