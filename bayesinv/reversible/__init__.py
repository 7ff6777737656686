"""Floor 0: reversible layers that rebuild their inputs in the backward pass, and the laws they obey.

Around them: `guard` notices where a rebuilt input has drifted, `plain` gives derivatives of any order, `jvp` and `vjp`
apply Jacobians, `memory_report` says what a step takes.
"""

from bayesinv.reversible.activations import BoundedSigmoid, ExpClamp, LeakyReLU
from bayesinv.reversible.actnorm import ActNorm
from bayesinv.reversible.affine_map import AffineMap
from bayesinv.reversible.arcsinh import Arcsinh
from bayesinv.reversible.base import Condition, Gradients, Reversible, finest
from bayesinv.reversible.chain import Chain
from bayesinv.reversible.conditioners import Concatenated, Conditioner, convolution
from bayesinv.reversible.coupling import Coupling
from bayesinv.reversible.dense_conditioner import DenseConditioner
from bayesinv.reversible.elementwise import Additive, Affine, Elementwise
from bayesinv.reversible.guard import DriftError, DriftWarning, Guard, guard
from bayesinv.reversible.hint import hint_coupling
from bayesinv.reversible.householder import Householder
from bayesinv.reversible.hyperbolic import Hyperbolic
from bayesinv.reversible.inverted import Inverted
from bayesinv.reversible.irim import irim_coupling
from bayesinv.reversible.jacobian import jvp, vjp
from bayesinv.reversible.lane import Lane
from bayesinv.reversible.lanes import Lanes, hint_lanes
from bayesinv.reversible.learned_squeezed import LearnedSqueezed
from bayesinv.reversible.linear_skip import LinearSkip
from bayesinv.reversible.lu import LU
from bayesinv.reversible.memory import MemoryReport, memory_report
from bayesinv.reversible.on_part import OnPart
from bayesinv.reversible.permute import Permute
from bayesinv.reversible.plain import plain, plain_fits
from bayesinv.reversible.replay import evaluate, graph
from bayesinv.reversible.resnet_conditioner import ResNetConditioner
from bayesinv.reversible.scales import arctan_scale, sigmoid_scale, tanh_scale
from bayesinv.reversible.shift_scale import ShiftScale
from bayesinv.reversible.spline import Spline
from bayesinv.reversible.squeezed import Squeezed, coarser
from bayesinv.reversible.squeezes import Squeeze, squeeze, unsqueeze
from bayesinv.reversible.tiles import Workspace
from bayesinv.reversible.unet_conditioner import UNetConditioner
from bayesinv.reversible.unsqueezed import Unsqueezed, finer
from bayesinv.reversible.updating import updating
from bayesinv.reversible.wave_force import WaveForce

__all__ = [
    "LU",
    "ActNorm",
    "Additive",
    "Affine",
    "AffineMap",
    "Arcsinh",
    "BoundedSigmoid",
    "Chain",
    "Concatenated",
    "Condition",
    "Conditioner",
    "Coupling",
    "DenseConditioner",
    "DriftError",
    "DriftWarning",
    "Elementwise",
    "ExpClamp",
    "Gradients",
    "Guard",
    "Householder",
    "Hyperbolic",
    "Inverted",
    "Lane",
    "Lanes",
    "LeakyReLU",
    "LearnedSqueezed",
    "LinearSkip",
    "MemoryReport",
    "OnPart",
    "Permute",
    "ResNetConditioner",
    "Reversible",
    "ShiftScale",
    "Spline",
    "Squeeze",
    "Squeezed",
    "UNetConditioner",
    "Unsqueezed",
    "WaveForce",
    "Workspace",
    "arctan_scale",
    "coarser",
    "convolution",
    "evaluate",
    "finer",
    "finest",
    "graph",
    "guard",
    "hint_coupling",
    "hint_lanes",
    "irim_coupling",
    "jvp",
    "memory_report",
    "plain",
    "plain_fits",
    "sigmoid_scale",
    "squeeze",
    "tanh_scale",
    "unsqueeze",
    "updating",
    "vjp",
]
