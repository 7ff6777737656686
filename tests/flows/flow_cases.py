"""The registry of flows: `glow` on every rank of space, with no condition, one tensor, or a pyramid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bayesinv.flows import Flow, glow
from bayesinv.reversible import Condition


@dataclass(frozen=True)
class FlowCase:
    """A small glow, awake: every parameter is random, for fresh couplings are the identity."""

    shape: tuple[int, ...]
    condition: int | tuple[int, ...] = 0
    levels: int = 2
    options: tuple[tuple[str, Any], ...] = ()

    def flow(self, dtype: torch.dtype = torch.float64) -> Flow:
        torch.manual_seed(1)
        options = {"steps": 2, "hidden": 6} | dict(self.options)
        flow = glow(self.shape, condition=self.condition, levels=self.levels, **options)
        draws = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for parameter in flow.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=draws))
        return flow.to(dtype).eval()

    def input(self, batch: int = 2, dtype: torch.dtype = torch.float64) -> Tensor:
        return torch.randn(batch, *self.shape, generator=torch.Generator().manual_seed(3)).to(dtype)

    def cond(self, batch: int = 2, dtype: torch.dtype = torch.float64) -> Condition:
        draws = torch.Generator().manual_seed(4)
        if not self.condition:
            return None
        space = self.shape[1:]
        if isinstance(self.condition, int):
            return torch.randn(batch, self.condition, *space, generator=draws).to(dtype)
        return tuple(
            torch.randn(batch, channels, *[n // 2**level for n in space], generator=draws).to(dtype)
            for level, channels in enumerate(self.condition)
        )


FLOWS = {
    "dense": FlowCase((4,)),
    "dense-two": FlowCase((2,), levels=1),
    "dense-cond": FlowCase((5,), 3, levels=2),
    "1d": FlowCase((1, 16)),
    "1d-cond": FlowCase((2, 8), 3),
    "1d-pyramid": FlowCase((1, 16), (2, 3, 4)),
    "2d": FlowCase((1, 8, 8), options=(("squeeze", "space-to-depth"),)),
    "2d-cond": FlowCase((1, 4, 8), 3, options=(("reflections", 2),)),
    "2d-pyramid": FlowCase((3, 4, 4), (6, 2, 3), options=(("hidden", (6, 4)), ("bound", 1.0))),
    "2d-three-levels": FlowCase((1, 8, 8), (2, 3, 3, 3), levels=3, options=(("steps", 1),)),
    "3d": FlowCase((1, 4, 4, 4)),
    "3d-cond": FlowCase((1, 4, 4, 2), 2, levels=1),
    "3d-pyramid": FlowCase((1, 4, 4, 4), (2, 3, 2)),
}
