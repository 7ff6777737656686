"""The most bytes that live at once during a piece of work: heap on the CPU, torch's allocator on CUDA.

On the CPU a small C library that is preloaded before the C library counts every block (tensors, scratch of kernels,
Python objects). It is compiled at its first use. Where there is no compiler, it is the peak of the resident memory that
the kernel keeps, which agrees within about 5 % above 10 MiB.
"""

from __future__ import annotations

import ctypes
import gc
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

__all__ = ["Meter", "counting", "library", "without_page_faults"]

SOURCE = Path(__file__).with_name("heap.c")
VARIABLE = "BAYESINV_HEAP_LIBRARY"


@cache
def library() -> Path | None:
    """The compiled counter, or None where it cannot be made."""
    compiler = next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)
    if compiler is None:
        return None
    name = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "bayesinv"
    made = folder / f"heap-{name}.so"
    if made.exists():
        return made
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        fresh = Path(scratch) / "heap.so"
        built = subprocess.run(
            [compiler, "-O2", "-std=gnu11", "-shared", "-fPIC", "-o", str(fresh), str(SOURCE)],
            capture_output=True, check=False,
        )  # fmt: skip
        if built.returncode or not _works(fresh):
            return None
        fresh.replace(made)
    return made


def _works(made: Path) -> bool:
    """Whether a program starts with it, which needs glibc."""
    run = subprocess.run(["/bin/ls", "/"], env={"LD_PRELOAD": str(made)}, capture_output=True, check=False)
    return run.returncode == 0 and not run.stderr


def counting() -> dict[str, str]:
    """The environment of a process whose memory is measured: with the counter, and freed blocks returned at once."""
    environment = {"MALLOC_MMAP_THRESHOLD_": "65536"}
    made = library()
    if made is not None:
        environment |= {"LD_PRELOAD": str(made), VARIABLE: str(made)}
    return environment


class Meter:
    """Measures in the process in which it is made.

    Args:
        device: "cpu" or "cuda".
    """

    def __init__(self, device: str) -> None:
        gc.collect()
        if device == "cuda":
            self.kind, self._now, self._most, self._reset = _cuda()
        elif made := os.environ.get(VARIABLE):
            self.kind, self._now, self._most, self._reset = _heap(made)
        else:
            self.kind, self._now, self._most, self._reset = _resident()
        self.start = self._now()
        self._reset()

    def kept(self) -> int:
        """Bytes now, above the start."""
        return self._now() - self.start

    def peak(self) -> int:
        """The most bytes since the start, above the start."""
        return self._most() - self.start


Kind = tuple[str, Callable[[], int], Callable[[], int], Callable[[], object]]


def _heap(made: str) -> Kind:
    counter = ctypes.CDLL(made)
    counter.heap_now.restype = counter.heap_most.restype = ctypes.c_long
    return "heap", counter.heap_now, counter.heap_most, counter.heap_reset


def _resident() -> Kind:
    def read(name: str) -> int:
        found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
        return 1024 * int(found[1]) if found else 0

    def reset() -> None:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")

    return "resident", lambda: read("VmRSS"), lambda: read("VmHWM"), reset


def _cuda() -> Kind:
    import torch

    def synchronised(read: Callable[[], int]) -> Callable[[], int]:
        def call() -> int:
            torch.cuda.synchronize()
            return read()

        return call

    allocated, most = torch.cuda.memory_allocated, torch.cuda.max_memory_allocated
    return "cuda", synchronised(allocated), synchronised(most), torch.cuda.reset_peak_memory_stats


def without_page_faults() -> None:
    """Tells glibc to keep what it has got from the kernel."""
    libc = ctypes.CDLL(None)
    trim_threshold, mmap_max = -1, -4
    libc.mallopt(mmap_max, 0)
    libc.mallopt(trim_threshold, -1)
