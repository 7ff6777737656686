"""Floor 1: densities and the builders of flows on reversible layers, and the networks that digest a condition."""

from bayesinv.flows.builders import glow
from bayesinv.flows.flow import Flow
from bayesinv.flows.summary import DenseSummary, UNet

__all__ = ["DenseSummary", "Flow", "UNet", "glow"]
