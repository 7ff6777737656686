"""
Can this posterior be trusted?
==============================

Two posteriors of the same data, one of them exact, the other sure of a noise level that is 30 % too low. Their samples
look alike. Held-out pairs, of which the truth is known, tell them apart.
"""

import matplotlib.pyplot as plt
import numpy as np
from torch import Tensor

import bayesinv as bi
from bayesinv.inference.exact import ExactConditioned, ExactPosterior
from bayesinv.inference.heldout import HeldOut
from bayesinv.inference.mean_accuracy import mean_accuracy
from bayesinv.inference.sbc import expected_coverage, sbc
from bayesinv.inference.tarp import tarp
from bayesinv.reporting.rank_figures import coverage_figure, sbc_figure, tarp_figure
from bayesinv_datasets.matern import matern

# %%
# With a Gaussian prior and a linear operator the posterior is known: mean, covariance and samples in closed form.

prior = matern(12, lengths=(3.0, 3.0))
forward = bi.load_problem("deblur", size=12).forward
problem = bi.Problem(prior, bi.ForwardModel(forward.operator, bi.GaussianNoise(0.1, relative=False)))
exact = ExactPosterior(problem.prior, problem.forward)


class TooSure:
    """The exact posterior of noise of 0.7 times the level."""

    target_noise = 0.0

    def __call__(self, y: Tensor, sigma: Tensor) -> ExactConditioned:
        """Of data and their noise levels."""
        return exact(y, 0.7 * sigma)


# %%
# Side by side one sees no difference.

x, y, sigma = problem.sample(1, seed=5)
picture, axes = plt.subplots(1, 4, figsize=(9, 2.6), layout="constrained")
panels = {"truth": x[0, 0], "data": y[0, 0]}
for name, posterior in {"a sample, exact": exact, "a sample, too sure": TooSure()}.items():
    panels[name] = posterior(y, sigma).draw(1, seed=1)[0, 0, 0]
for axis, (name, image) in zip(axes, panels.items(), strict=True):
    axis.imshow(np.asarray(image), vmin=-2.5, vmax=2.5, cmap="viridis")
    axis.set(title=name, xticks=[], yticks=[])

# %%
# A diagnostic is a function of `HeldOut`, a posterior beside pairs that it was not trained on. If the posterior is
# right, the rank of the truth among its samples is uniform: in every pixel, and of every number that can be made of an
# image or of its data. The curves are differences from the uniform law; bands hold 95 % of them, all points together.

held = HeldOut(exact, problem, simulations=200, samples=99, seed=3, keep=True)
wrong = HeldOut(TooSure(), problem, simulations=200, samples=99, seed=3, keep=True)
sbc_figure(sbc(held))

# %%
# The same of the posterior that is too sure: too many truths lie beyond all of its samples, and too few in the middle.

ranks = sbc(wrong)
print(ranks.p_value.to_series().round(4))
sbc_figure(ranks)

# %%
# How often intervals hold the truth, and balls about reference images.

coverage_figure(expected_coverage(wrong))

# %%
tarp_figure(tarp(wrong))

# %%
# The mean alone cannot tell: its error is nearly the same.

for name, one in {"exact": held, "too sure": wrong}.items():
    found = mean_accuracy(one)
    print(name, {key: round(float(found[key].mean()), 3) for key in ("rmse", "psnr", "ssim")})

# %%
# `diagnose` does all this at once, and puts it into words.

checks = bi.diagnose(TooSure(), problem, simulations=200)
print(checks.verdict.level, *checks.verdict.reasons, sep="\n- ")
