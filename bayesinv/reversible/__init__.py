"""Floor 0: reversible layers that rebuild their inputs in the backward pass, and the laws they obey."""

from bayesinv.reversible.actnorm import ActNorm
from bayesinv.reversible.base import Condition, Gradients, Reversible
from bayesinv.reversible.chain import Chain
from bayesinv.reversible.conditioners import Concatenated, Conditioner, convolution
from bayesinv.reversible.coupling import Coupling, ShiftScale
from bayesinv.reversible.householder import Householder
from bayesinv.reversible.on_part import OnPart
from bayesinv.reversible.squeezed import Squeeze, Squeezed, coarser, squeeze, unsqueeze

__all__ = [
    "ActNorm",
    "Chain",
    "Concatenated",
    "Condition",
    "Conditioner",
    "Coupling",
    "Gradients",
    "Householder",
    "OnPart",
    "Reversible",
    "ShiftScale",
    "Squeeze",
    "Squeezed",
    "coarser",
    "convolution",
    "squeeze",
    "unsqueeze",
]
