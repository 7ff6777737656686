"""Forward models ``y = A x + noise``: operators, the PyLops bridge, noise, solvers, checks and the plug-in door."""

from bayesinv.physics import plugins
from bayesinv.physics.checks import CheckResult, check, dot_test, taylor_test
from bayesinv.physics.forward_model import Axis, ForwardModel
from bayesinv.physics.noise import GaussianNoise
from bayesinv.physics.operator import Operator, as_pylops
from bayesinv.physics.pylops_bridge import from_pylops
from bayesinv.physics.solvers import cgls, cgls_iterates, regularised_least_squares

__all__ = [
    "Axis",
    "CheckResult",
    "ForwardModel",
    "GaussianNoise",
    "Operator",
    "as_pylops",
    "cgls",
    "cgls_iterates",
    "check",
    "dot_test",
    "from_pylops",
    "plugins",
    "regularised_least_squares",
    "taylor_test",
]
