"""Floor 1: densities and the builders of flows on reversible layers, and the networks that digest a condition."""

from bayesinv.flows.conditional_hint import LaneFlows, conditional_hint
from bayesinv.flows.flow import Flow
from bayesinv.flows.glow import glow
from bayesinv.flows.hint import hint, multiscale_hint
from bayesinv.flows.hyperbolic_network import hyperbolic_network
from bayesinv.flows.iunet import iunet
from bayesinv.flows.published_glow import published_glow
from bayesinv.flows.realnvp import realnvp
from bayesinv.flows.squeezed_condition import SqueezedCondition
from bayesinv.flows.summary import (
    DeepSet,
    DenseSummary,
    EncoderSummary,
    Fusion,
    RecurrentSummary,
    RegressedSummary,
    ResNetSummary,
    SetTransformer,
    Spread,
    UNet,
)

__all__ = [
    "DeepSet",
    "DenseSummary",
    "EncoderSummary",
    "Flow",
    "Fusion",
    "LaneFlows",
    "RecurrentSummary",
    "RegressedSummary",
    "ResNetSummary",
    "SetTransformer",
    "Spread",
    "SqueezedCondition",
    "UNet",
    "conditional_hint",
    "glow",
    "hint",
    "hyperbolic_network",
    "iunet",
    "multiscale_hint",
    "published_glow",
    "realnvp",
]
