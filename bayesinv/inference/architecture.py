"""The networks of a posterior: a JSON-able design with defaults by problem size, and the building of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from bayesinv.flows import Flow, RegressedSummary, UNet, glow
from bayesinv.inference.summaries import data_channels
from bayesinv.physics import ForwardModel
from bayesinv.reversible import Spline
from bayesinv.unrolled import UnrolledSummary

__all__ = ["Architecture", "build_networks", "describe_custom", "is_small"]


@dataclass(frozen=True)
class Architecture:
    """The numbers that the networks are built from, kept in the posterior's file."""

    shape: tuple[int, ...]
    summary_channels: int
    levels: int
    steps: int
    hidden: tuple[int, ...]
    widths: tuple[int, ...]
    features: int
    iterations: int = 0  # of the i-RIM before the summary network, if there is one
    memory: int = 0
    linear: bool = False  # paths beside the networks of the couplings, and in the U-Net

    @classmethod
    def default(
        cls,
        shape: tuple[int, ...],
        summary_channels: int,
        *,
        steps: int | None = None,
        hidden: int | None = None,
        levels: int | None = None,
        unrolled: bool = False,
    ) -> Architecture:
        """What trains well on a CPU in minutes: images of 16 to 64 pixels a side, and vectors of a few numbers.

        ``None`` takes the default. Small images, of at most 1024 pixels, get wider couplings down to 2 pixels a side,
        and linear paths. Vectors pass five couplings by splines, images affine ones.
        """
        space = shape[1:]
        small = is_small(shape)
        if levels is None:
            levels, last = 1, 2 if small else 4
            while space and levels < 3 and min(space) // 2 ** (levels + 1) >= last:
                levels += 1
        hiddens = (hidden,) * levels if hidden else (64,) * levels if small or not space else (32, 48, 64)[:levels]
        widths = (32, 48, 64) if small else (48, 64, 96)
        return cls(
            shape=shape,
            summary_channels=summary_channels,
            levels=levels,
            steps=steps or (4 if space else 5),
            hidden=hiddens,
            widths=(*widths, *[widths[-1]] * levels)[:levels],
            features=24,
            iterations=4 * unrolled,
            memory=max(3, shape[0]) * unrolled,
            linear=small,
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Architecture:
        """From what `to_dict` gave, lists for tuples.

        Raises:
            ValueError: if a field is missing or unknown.
        """
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        try:
            return cls(**fields)
        except TypeError as error:
            raise ValueError(f"expected the fields of an architecture, got {sorted(values)}") from error


def is_small(shape: tuple[int, ...]) -> bool:
    """Whether an image has at most 1024 pixels; numbers without a space are none.

    Example:
        >>> is_small((1, 32, 32)), is_small((1, 64, 64)), is_small((5,))
        (True, False, False)
    """
    return len(shape) > 1 and math.prod(shape[1:]) <= 1024


def build_networks(
    design: Architecture, flow: str | Flow | nn.Module, summary_network: str | nn.Module, forward: ForwardModel
) -> tuple[Flow, nn.Module]:
    """The flow and the summary network of a design, or the user's own in their place.

    Raises:
        ValueError: for an unknown name.
    """
    channels, rank = design.shape[0], len(design.shape) - 1
    network: nn.Module
    images = design.summary_channels
    if design.iterations:  # the state of the i-RIM and the noise level take the place of the data
        images += channels + design.memory - data_channels(forward)
    if isinstance(summary_network, nn.Module):
        network = summary_network
    elif summary_network != "unet":
        raise ValueError(f"expected summary_network 'unet' or a module, got {summary_network!r}")
    elif rank:
        network = UNet(
            images, 2 * channels, rank=rank, widths=design.widths, features=design.features,
            linear_ends=design.linear, space=design.shape[1:] if design.linear else None,
        )  # fmt: skip
    else:
        network = RegressedSummary(images, channels, design.features)
    if design.iterations and network is not summary_network:
        network = UnrolledSummary(
            forward.operator, network, data_channels=data_channels(forward),
            iterations=design.iterations, memory=design.memory,
        )  # fmt: skip
    if isinstance(flow, Flow):
        return flow, network
    if flow != "glow":
        raise ValueError(f"expected flow 'glow' or a Flow, got {flow!r}")
    pyramid = (2 * channels, *[design.features] * design.levels)
    made = glow(
        design.shape, condition=pyramid, levels=design.levels, steps=design.steps, hidden=design.hidden,
        coupling="affine" if rank else Spline(bins=8, tail=4.0), linear_skip=design.linear,
    )  # fmt: skip
    return made, network


def describe_custom(flow: str | nn.Module, summary_network: str | nn.Module) -> dict[str, str]:
    """Which parts are the user's own, by class name; `Posterior.load` asks for these."""
    parts = {"flow": flow, "summary_network": summary_network}
    return {name: type(part).__qualname__ for name, part in parts.items() if isinstance(part, nn.Module)}
