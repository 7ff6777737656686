"""Time of the photoacoustic operators on a batch of 32 images of 64 x 64: python benchmarks/photoacoustic_speed.py.

Best of several runs, float32: wall time on all cores (OMP_NUM_THREADS sets how many; on a busy machine threads wait for
each other), and time of the processor on one thread. The last line is one JSON
object.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import torch

from bayesinv_operators.photoacoustic_line import photoacoustic_line
from bayesinv_operators.photoacoustic_ring import photoacoustic_ring

BATCH, SIZE, RUNS = 32, 64, 20


def milliseconds(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Best of `RUNS` calls, after two to warm up."""
    times = []
    for run in range(RUNS + 2):
        start = clock()
        call()
        if run > 1:
            times.append(clock() - start)
    return round(1e3 * min(times), 2)


def processor_milliseconds(call: Callable[[], object]) -> float:
    """Time of the processor on one thread, which other work on the machine does not change much."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    best = milliseconds(call, time.process_time)
    torch.set_num_threads(threads)
    return best


def main() -> None:
    """Both operators, both ways."""
    figures: dict[str, float] = {"threads": torch.get_num_threads()}
    for name, forward in (
        ("line", photoacoustic_line(SIZE)),
        ("line_band", photoacoustic_line(SIZE, band=(3.0, 0.8))),
        ("ring", photoacoustic_ring(SIZE)),
    ):
        operator = forward.operator
        x = torch.randn(BATCH, *operator.model_shape)
        with torch.no_grad():
            y = operator(x)
            for way, call in (
                ("forward", lambda a=operator, x=x: a(x)),
                ("adjoint", lambda a=operator, y=y: a.adjoint(y)),
            ):
                figures[f"{name}_{way}_ms"] = milliseconds(call)
                figures[f"{name}_{way}_processor_ms"] = processor_milliseconds(call)
        print(f"{name}: {figures[f'{name}_forward_ms']} ms, adjoint {figures[f'{name}_adjoint_ms']} ms")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
