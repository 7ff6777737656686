r"""Training an invertible recurrent inference machine that deblurs: memory against its iterations, and time.

The state is ``[eta; s]``, the image and 31 channels of memory. An iteration is
``s_1 += A^T (A eta - y)``, then twice ``[eta; s] -> Q^T g(Q [eta; s])`` with an additive coupling ``g`` and hidden 64.

Source: Putzky and Welling, Invert to learn to invert, 2019, arXiv 1911.10914.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from side_by_side.reporting import Report, options
from side_by_side.trained import Step, compared, drawn, measured_memory, measured_time, seeded
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bayesinv.physics import Operator
from bayesinv.reversible import Additive, Chain, Conditioner, Coupling, OnPart, Reversible, irim_coupling, plain
from bayesinv_operators.deblur import deblur

CHANNELS = 32


class Residual(nn.Module):
    """``A^T (A eta - y)``."""

    def __init__(self, operator: Operator) -> None:
        super().__init__()
        self.operator = operator

    def forward(self, eta: Tensor, y: Tensor) -> Tensor:
        return self.operator.adjoint(self.operator(eta) - y)


class Machine(nn.Module):
    """The iterations, each with weights of its own."""

    def __init__(self, operator: Operator, iterations: int, *, way: str) -> None:
        super().__init__()
        network = partial(Conditioner, hidden=64, rank=2, cond_channels=1)

        def iteration() -> Chain:
            pulled = OnPart(Coupling(Residual(operator), passive=1, how=Additive()), start=0, stop=2)
            return Chain(pulled, *[irim_coupling(CHANNELS, network) for _ in range(2)])

        self.chain, self.way = Chain(*[iteration() for _ in range(iterations)]), way

    def forward(self, y: Tensor) -> Tensor:
        state = torch.cat([y, y.new_zeros(y.shape[0], CHANNELS - 1, *y.shape[2:])], 1)
        if self.way == "bayesinv":
            state, _ = self.chain(state, y)
        elif self.way == "plain":
            state = _plainly(self.chain, state, y)
        else:
            for one in self.chain:
                state = checkpoint(_plainly, one, state, y, use_reentrant=False)
        return state[:, :1]


def _plainly(one: Reversible, state: Tensor, y: Tensor) -> Tensor:
    with plain():
        state, _ = one(state, y)
    return state


def build(way: str, device: str, size: int, iterations: int) -> Step:
    """The machine and its squared error on blurred noise."""
    with seeded(device):
        operator = deblur(size).operator
        machine = Machine(operator, iterations, way=way)
        x = torch.randn(2, 1, size, size)
        y = operator(x)
    return Step(machine, lambda: (machine(y) - x).square().mean())


def memory(way: str, device: str, size: int, iterations: int) -> dict[str, Any]:
    """The task of a child."""
    return measured_memory(build(way, device, size, iterations), device)


def time(way: str, device: str, size: int, iterations: int) -> dict[str, Any]:
    """The task of a child."""
    return measured_time(build(way, device, size, iterations), device)


def main(arguments: Sequence[str] | None = None) -> dict[str, float | None]:
    """Measures, prints, draws."""
    report = Report("irim_iterations", options(__doc__ or "", arguments))
    size, counts, rounds = (16, (1, 2), 2) if report.options.small else (128, (1, 2, 4, 8, 16, 32), 7)
    orders = {iterations: {"size": size, "iterations": iterations} for iterations in counts}
    state = 4 * 2 * math.prod((CHANNELS, size, size))
    peaks = compared(report, "irim_iterations", orders, unit="iterations", rounds=rounds, state=state)
    return report.finish(drawn(peaks, label="iterations"))


if __name__ == "__main__":
    main()
