"""The registry of flows: every builder on some ranks of space, with no condition, one tensor, or a pyramid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bayesinv.flows import Flow, conditional_hint, glow, hint, multiscale_hint, published_glow, realnvp
from bayesinv.reversible import Condition


def joint(shape: tuple[int, ...], *, condition: int = 0, **options: Any) -> Flow:
    """The flow of ``[y; x]`` with one channel of y in the shape."""
    return conditional_hint((shape[0] - 1, *shape[1:]), condition=1, **options).joint


def x_lane(shape: tuple[int, ...], **options: Any) -> Flow:
    return conditional_hint(shape, **options).x


@dataclass(frozen=True)
class FlowCase:
    """A small flow, awake: every parameter is random, for fresh couplings are the identity."""

    shape: tuple[int, ...]
    condition: int | tuple[int, ...] = 0
    levels: int | None = 2
    options: tuple[tuple[str, Any], ...] = ()
    build: Callable[..., Flow] = glow

    def flow(self, dtype: torch.dtype = torch.float64) -> Flow:
        torch.manual_seed(1)
        options = {"steps": 2, "hidden": 6} | ({"levels": self.levels} if self.levels else {}) | dict(self.options)
        flow = self.build(self.shape, condition=self.condition, **options)
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


ONE = (("steps", 1),)
FLOWS = {
    "dense": FlowCase((4,)),
    "dense-two": FlowCase((2,), levels=1),
    "dense-cond": FlowCase((5,), 3, levels=2),
    "dense-pyramid": FlowCase((4,), (8, 3, 2)),
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
    "dense-unsplit-spline": FlowCase((3,), 2, options=(("coupling", "spline"), ("split", False), *ONE)),
    "realnvp-dense": FlowCase((3,), levels=1, options=(("coupling", "spline"), *ONE), build=realnvp),
    "realnvp-1d-pyramid": FlowCase((1, 8), (2, 3, 2), options=ONE, build=realnvp),
    "realnvp-2d-cond": FlowCase((1, 8, 4), 2, options=ONE, build=realnvp),
    "hint-dense-cond": FlowCase((6,), 2, levels=None, build=hint),
    "hint-2d": FlowCase((1, 4, 4), levels=None, options=ONE, build=hint),
    "multiscale-hint-2d-pyramid": FlowCase((1, 4, 4), (2, 3, 2), options=ONE, build=multiscale_hint),
    "hint-joint-1d": FlowCase((2, 6), levels=None, build=joint),
    "hint-lane-dense": FlowCase((2,), 3, levels=None, build=x_lane),
    "published-dense": FlowCase((4,), levels=1, build=published_glow),
    "published-2d": FlowCase((1, 4, 4), options=ONE, build=published_glow),
}
# Their condition goes through a network of the flow's own, which `Flow` calls and the map alone does not.
WITH_SUMMARY = {
    "hint-lane-2d": FlowCase((1, 4, 4), 2, levels=None, options=ONE, build=x_lane),
    "published-2d-cond": FlowCase((1, 4, 4), 1, options=ONE, build=published_glow),
}
