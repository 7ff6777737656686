"""Floor 3: problems, posteriors, training, samples and diagnostics."""

from bayesinv.inference.checks import Checks
from bayesinv.inference.conditioned import Conditioned
from bayesinv.inference.diagnostics import diagnose
from bayesinv.inference.exact import ExactPosterior, exact_posterior
from bayesinv.inference.gate import OutOfDistributionWarning
from bayesinv.inference.heldout import HeldOut
from bayesinv.inference.history import History
from bayesinv.inference.importance import importance_weights
from bayesinv.inference.pairs import load_pairs, simulate
from bayesinv.inference.posterior import Posterior
from bayesinv.inference.problem import Prior, Problem, load_problem
from bayesinv.inference.samples import Samples
from bayesinv.inference.training import fit

__all__ = [
    "Checks",
    "Conditioned",
    "ExactPosterior",
    "HeldOut",
    "History",
    "OutOfDistributionWarning",
    "Posterior",
    "Prior",
    "Problem",
    "Samples",
    "diagnose",
    "exact_posterior",
    "fit",
    "importance_weights",
    "load_pairs",
    "load_problem",
    "simulate",
]
