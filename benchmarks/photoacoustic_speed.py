"""Time of the photoacoustic operators on a batch of 32 images of 64 x 64: python benchmarks/photoacoustic_speed.py.

Best of several runs, float32, all cores of the machine (OMP_NUM_THREADS sets how many). The last line is one JSON
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


def milliseconds(call: Callable[[], object]) -> float:
    """Best of `RUNS` calls, after two to warm up."""
    times = []
    for run in range(RUNS + 2):
        start = time.perf_counter()
        call()
        if run > 1:
            times.append(time.perf_counter() - start)
    return 1e3 * min(times)


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
            figures[f"{name}_forward_ms"] = round(milliseconds(lambda a=operator, x=x: a(x)), 2)
            figures[f"{name}_adjoint_ms"] = round(milliseconds(lambda a=operator, y=y: a.adjoint(y)), 2)
        print(f"{name}: {figures[f'{name}_forward_ms']} ms, adjoint {figures[f'{name}_adjoint_ms']} ms")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
