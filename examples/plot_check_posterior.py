"""
Can this posterior be trusted?
==============================

Two posteriors of the same data, one of them exact, the other sure of a noise level that is 30 % too low. Their samples
look alike. Held-out pairs, of which the truth is known, tell them apart.
"""

from torch import Tensor

import bayesinv as bi
from bayesinv.inference.exact import ExactConditioned, ExactPosterior
from bayesinv.inference.heldout import HeldOut
from bayesinv.inference.sbc import expected_coverage, sbc
from bayesinv.inference.tarp import tarp
from bayesinv.reporting.rank_figures import coverage_figure, sbc_figure, tarp_figure
from bayesinv_datasets.matern import matern

# %%
# With a Gaussian prior and a linear operator the posterior is known: mean, covariance and samples in closed form.

blur = bi.load_problem("deblur", size=12).forward.operator
problem = bi.Problem(matern(12, lengths=(3.0, 3.0)), bi.ForwardModel(blur, bi.GaussianNoise(0.1, relative=False)))
exact = ExactPosterior(problem.prior, problem.forward)


class TooSure:
    """The exact posterior of noise of 0.7 times the level."""

    target_noise = 0.0

    def __call__(self, y: Tensor, sigma: Tensor) -> ExactConditioned:
        """Of data and their noise levels."""
        return exact(y, 0.7 * sigma)


# %%
# A diagnostic is a function of `HeldOut`, a posterior beside pairs that it was not trained on. If the posterior is
# right, the rank of the truth among its samples is uniform: in every pixel, and of every number that can be made of an
# image or of its data. The curves are differences from the uniform law; bands hold 95 % of them, all points together.

sbc_figure(sbc(HeldOut(exact, problem, simulations=200, seed=3)))

# %%
# The same of the posterior that is too sure: too many truths lie beyond all of its samples, and too few in the middle.

wrong = HeldOut(TooSure(), problem, simulations=200, seed=3, keep=True)
sbc_figure(sbc(wrong))

# %%
# How often intervals hold the truth; balls about reference images are next.

coverage_figure(expected_coverage(wrong))
# %%
tarp_figure(tarp(wrong))
# %%
# `diagnose` does all this at once, and puts it into words.

checks = bi.diagnose(TooSure(), problem, simulations=200)
print(checks.verdict.level, *checks.verdict.reasons, sep="\n- ")
