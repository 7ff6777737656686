"""Time of the photoacoustic operators in float32, beside that of another implementation: a minute.

For one image the time of the processor on one thread, which other work on the machine changes little; for a batch of 32
the wall time on all cores. Best of 20 runs each. What is asked is 1.2 times what an independent NumPy code of the line
(FFT over x, one real matrix a wavenumber) and of points anywhere (one inverse FFT a sample), and a batched torch code
of the line, took on two cores of another machine; and 15 ms for the line and 32 images of 64 x 64.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from side_by_side.reporting import Report, against, options

from bayesinv_operators.photoacoustic_line import photoacoustic_line
from bayesinv_operators.photoacoustic_ring import photoacoustic_ring

RUNS = 20
FACTORIES = {"line": photoacoustic_line, "ring": photoacoustic_ring}
OTHERS = {  # milliseconds, forward and adjoint
    ("line", 64, 1): (0.7, 0.7),
    ("line", 128, 1): (5.4, 4.7),
    ("line", 256, 1): (26.0, 25.0),
    ("line", 64, 32): (10.7, 11.1),
    ("line", 128, 32): (52.0, 52.0),
    ("ring", 64, 1): (20.0, 22.0),
    ("ring", 128, 1): (98.0, 100.0),
}


def milliseconds(call: Callable[[], object], clock: Callable[[], float], runs: int) -> float:
    """Best of a number of calls, after two to warm up."""
    times = []
    for _ in range(runs + 2):
        start = clock()
        call()
        times.append(clock() - start)
    return 1e3 * min(times[2:])


def main(arguments: Sequence[str] | None = None) -> dict[str, float | None]:
    """Every case, both ways."""
    report = Report("photoacoustic_speed", options(__doc__ or "", arguments))
    small, threads = report.options.small, torch.get_num_threads()
    runs = 2 if small else RUNS
    rows = []
    for name, size, batch in [("line", 16, 2), ("ring", 16, 2)] if small else OTHERS:
        operator = FACTORIES[name](size).operator
        x = torch.randn(batch, *operator.model_shape)
        torch.set_num_threads(1 if batch == 1 else threads)
        clock = time.process_time if batch == 1 else time.perf_counter
        with torch.no_grad():
            calls = {"forward": partial(operator, x), "adjoint": partial(operator.adjoint, operator(x))}
            for i, (way, call) in enumerate(calls.items()):
                asked = None if small else 1.2 * OTHERS[name, size, batch][i]
                if (name, size, batch, way) == ("line", 64, 32, "forward"):
                    asked = 15.0
                rows.append((f"{name} {size}x{size}, batch {batch}, {way}, ms", milliseconds(call, clock, runs), asked))
    torch.set_num_threads(threads)
    against(report, "Photoacoustic operators", rows)
    return report.finish(None)


if __name__ == "__main__":
    main()
