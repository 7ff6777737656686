"""`Case`: what is trained, the same for every package; and the floor of the memory of its training step."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

__all__ = ["PAPER", "TRIAL", "Case", "case_of"]

FLOAT = 4


@dataclass(frozen=True)
class Case:
    """A multiscale Glow: ``levels`` times (squeeze, ``steps`` flow steps, half of the channels leave).

    Args:
        batch: images a step.
        channels: of an image.
        space: its size.
        levels: scales.
        steps: flow steps a level.
        hidden: hidden channels of the 3x3-1x1-3x3 networks.
    """

    batch: int = 2
    channels: int = 3
    space: tuple[int, ...] = (64, 64)
    levels: int = 3
    steps: int = 8
    hidden: int = 64

    def sized(self, size: int) -> Case:
        """The same with another size."""
        return replace(self, space=(size,) * len(self.space))

    def deep(self, steps: int) -> Case:
        """The same with another number of steps."""
        return replace(self, steps=steps)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image."""
        return (self.channels, *self.space)

    @property
    def input_bytes(self) -> int:
        """Of the input tensor."""
        return FLOAT * self.batch * math.prod(self.shape)

    def workspace_bytes(self) -> int:
        """Three hidden tensors and two outputs of a network, on the widest level."""
        hidden = FLOAT * self.batch * self.hidden * math.prod(self.space) // 2 ** len(self.space)
        return 3 * hidden + 2 * self.input_bytes

    def floor(self, gradients: int) -> int:
        """Bytes of a step above parameters and input: gradients, the stream and its gradient, and the workspace.

        The workspace holds the whole batch: two activations and a gradient of the hidden layers, and the network's
        output with its gradient. Tiles make it as small as one likes.
        """
        return gradients + 2 * self.input_bytes + self.workspace_bytes()

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


def case_of(stored: dict[str, Any]) -> Case:
    """From `Case.to_json`."""
    return Case(**{**stored, "space": tuple(stored["space"])})


TRIAL = Case()
PAPER = Case(batch=8, space=(256, 256), hidden=256)
