"""Floor 3: problems, posteriors, training, samples and diagnostics."""

from bayesinv.inference.checks import Checks
from bayesinv.inference.conditioned import Conditioned
from bayesinv.inference.diagnostics import diagnose
from bayesinv.inference.history import History
from bayesinv.inference.pairs import load_pairs, simulate
from bayesinv.inference.posterior import Posterior
from bayesinv.inference.problem import Prior, Problem, load_problem
from bayesinv.inference.samples import Samples
from bayesinv.inference.training import fit

__all__ = [
    "Checks",
    "Conditioned",
    "History",
    "Posterior",
    "Prior",
    "Problem",
    "Samples",
    "diagnose",
    "fit",
    "load_pairs",
    "load_problem",
    "simulate",
]
