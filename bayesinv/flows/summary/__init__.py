"""Networks that digest data into a flow's condition: a vector, one tensor at full resolution, or a pyramid.

A flow with ``condition=c`` takes a vector ``(batch, c)`` where ``x`` has no space, else a tensor ``(batch, c, *space)``
(block means go to the coarser levels); one with ``condition=(2 channels, c_1, ...)`` takes a pyramid. The identity is
`torch.nn.Identity`: the data themselves are the condition.
"""

from bayesinv.flows.summary.convolutional import EncoderSummary, ResNetSummary
from bayesinv.flows.summary.deep_set import DeepSet
from bayesinv.flows.summary.dense import DenseSummary
from bayesinv.flows.summary.fusion import Fusion, Spread
from bayesinv.flows.summary.recurrent import RecurrentSummary
from bayesinv.flows.summary.regressed import RegressedSummary
from bayesinv.flows.summary.set_transformer import SetTransformer
from bayesinv.flows.summary.unet import UNet

__all__ = [
    "DeepSet",
    "DenseSummary",
    "EncoderSummary",
    "Fusion",
    "RecurrentSummary",
    "RegressedSummary",
    "ResNetSummary",
    "SetTransformer",
    "Spread",
    "UNet",
]
