"""Training a hyperbolic network that segments a volume from labels at a few points: memory against layers, and time.

Two states of 16 channels at 48x48x48, two resolutions, a third of the layers' hidden width of 32. In the paper, 18
layers on 307x241x154 voxels with 128 channels took 17 GB reversible and 307 GB otherwise, a ratio of 18.

Source: Witte et al., InvertibleNetworks.jl, 2024, doi 10.21105/joss.06554.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from side_by_side.reporting import Report, options
from side_by_side.trained import Step, compared, drawn, measured_memory, measured_time, seeded
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from bayesinv.flows import hyperbolic_network
from bayesinv.reversible import Hyperbolic, plain

CLASSES, POINTS = 4, 35


class Checkpointed(nn.Module):
    """A force whose activations are computed again in the backward pass."""

    def __init__(self, force: nn.Module) -> None:
        super().__init__()
        self.force = force

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = checkpoint(self.force, x, use_reentrant=False)
        return found


class Segmentation(nn.Module):
    """Two states of the input's features, a network, and classes from its second state."""

    def __init__(self, shape: tuple[int, ...], steps: int, *, way: str) -> None:
        super().__init__()
        self.network = hyperbolic_network((2 * shape[0], *shape[1:]), levels=2, steps=steps, hidden=32)
        self.head = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[len(shape) - 2](shape[0], CLASSES, 1)
        self.way = way
        if way == "checkpoint":
            for layer in [part for part in self.network.modules() if isinstance(part, Hyperbolic)]:
                layer.force = Checkpointed(layer.force)

    def forward(self, features: Tensor) -> Tensor:
        with nullcontext() if self.way == "bayesinv" else plain():
            states, _ = self.network(torch.cat([features, features], 1))
        classes: Tensor = self.head(states[:, features.shape[1] :])
        return classes


def build(way: str, device: str, shape: Sequence[int], layers: int) -> Step:
    """The network with ``layers`` layers (a multiple of four) and its loss at labelled points."""
    with seeded(device):
        net = Segmentation(tuple(shape), layers // 4, way=way)
        features = torch.randn(1, *shape)
        points = torch.randint(math.prod(shape[1:]), (POINTS * CLASSES,))
        labels = torch.arange(CLASSES).repeat(POINTS)
    return Step(net, lambda: F.cross_entropy(net(features)[0].flatten(1)[:, points].T, labels))


def memory(way: str, device: str, shape: list[int], layers: int) -> dict[str, Any]:
    """The task of a child."""
    return measured_memory(build(way, device, shape, layers), device)


def time(way: str, device: str, shape: list[int], layers: int) -> dict[str, Any]:
    """The task of a child."""
    return measured_time(build(way, device, shape, layers), device)


def main(arguments: Sequence[str] | None = None) -> dict[str, float | None]:
    """Measures, prints, draws."""
    report = Report("hyperbolic_segmentation", options(__doc__ or "", arguments))
    shape, depths, rounds = ([2, 8, 8, 8], (4, 8), 2) if report.options.small else ([16, 48, 48, 48], (4, 8, 16, 32), 7)
    orders = {layers: {"shape": shape, "layers": layers} for layers in depths}
    peaks = compared(
        report, "hyperbolic_segmentation", orders, unit="layers", rounds=rounds, state=4 * math.prod(shape)
    )
    return report.finish(drawn(peaks, label="layers"))


if __name__ == "__main__":
    main()
