"""Floor 2: networks unrolled around a forward operator, and the Jacobian of a map as a PyLops operator.

`irim_loop` is the invertible recurrent inference machine as a reversible map, `IRIM` the point estimator it makes;
`UnrolledDescent` and `LearnedProximal` are what it is compared with, `train_estimator` trains any of them; their
``calls`` say how often the operator was applied. `UnrolledSummary` puts an i-RIM before a conditional flow.
"""

from bayesinv.unrolled.baselines import LearnedProximal, UnrolledDescent
from bayesinv.unrolled.blocks import DilatedBlock
from bayesinv.unrolled.estimator import IRIM
from bayesinv.unrolled.irim_loop import irim_layer, irim_loop
from bayesinv.unrolled.jacobian import jacobian
from bayesinv.unrolled.misfit import MisfitGradient, per_record
from bayesinv.unrolled.misfit_step import MisfitStep
from bayesinv.unrolled.summary import UnrolledSummary
from bayesinv.unrolled.training import train_estimator
from bayesinv.unrolled.unconditioned import Unconditioned

__all__ = [
    "IRIM",
    "DilatedBlock",
    "LearnedProximal",
    "MisfitGradient",
    "MisfitStep",
    "Unconditioned",
    "UnrolledDescent",
    "UnrolledSummary",
    "irim_layer",
    "irim_loop",
    "jacobian",
    "per_record",
    "train_estimator",
]
