"""Forward models ``y = A x + noise``: operators, the bridges to them, algebra, noise, solvers, checks, plug-ins."""

from bayesinv.physics import plugins
from bayesinv.physics.adapters import from_callables, from_cuqipy, from_deepinv, from_scipy, from_torch
from bayesinv.physics.algebra import add, compose, diagonal, identity, restrict, scale, stack
from bayesinv.physics.checks import CheckResult, check
from bayesinv.physics.classical import fista_tv, lsqr
from bayesinv.physics.counting import Calls, counted
from bayesinv.physics.forward_model import Axis, ForwardModel
from bayesinv.physics.gauss_newton import gauss_newton_iterates
from bayesinv.physics.laws import dot_test, taylor_test
from bayesinv.physics.noise import GaussianNoise, Noise
from bayesinv.physics.noise_colour import Covariance, Spectrum
from bayesinv.physics.noise_counting import PoissonNoise, SignalDependentNoise
from bayesinv.physics.nonlinear import from_function, from_simulator
from bayesinv.physics.norms import lipschitz, normal, to_dense
from bayesinv.physics.operator import AnyOperator, NonlinearOperator, Operator, as_linear, as_pylops, is_linear
from bayesinv.physics.pylops_bridge import from_pylops
from bayesinv.physics.solvers import cgls, cgls_iterates, regularised_least_squares
from bayesinv.physics.whitening import Whitening

__all__ = [
    "AnyOperator",
    "Axis",
    "Calls",
    "CheckResult",
    "Covariance",
    "ForwardModel",
    "GaussianNoise",
    "Noise",
    "NonlinearOperator",
    "Operator",
    "PoissonNoise",
    "SignalDependentNoise",
    "Spectrum",
    "Whitening",
    "add",
    "as_linear",
    "as_pylops",
    "cgls",
    "cgls_iterates",
    "check",
    "compose",
    "counted",
    "diagonal",
    "dot_test",
    "fista_tv",
    "from_callables",
    "from_cuqipy",
    "from_deepinv",
    "from_function",
    "from_pylops",
    "from_scipy",
    "from_simulator",
    "from_torch",
    "gauss_newton_iterates",
    "identity",
    "is_linear",
    "lipschitz",
    "lsqr",
    "normal",
    "plugins",
    "regularised_least_squares",
    "restrict",
    "scale",
    "stack",
    "taylor_test",
    "to_dense",
]
