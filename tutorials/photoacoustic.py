r"""
Photoacoustic tomography: what half a view can tell
===================================================

A short laser pulse warms the blood in a tissue. The vessels expand, and the initial pressure :math:`x = p_0(z, x)` runs
off as sound. A line of sensors above the tissue records it,

.. math::

    y(s, t) = p(z=0, x_s, t) + \sigma e, \qquad
    p(z, x, t) = \mathcal F^{-1}\big[\cos(c\,|k|\,t)\,\mathcal F p_0\big](z, x), \qquad e \sim N(0, I),

and we want the vessels back. The sensors see the tissue from one side only, so many images explain the data equally
well. Here we draw them: a posterior :math:`p(x \mid y)` is trained once, on simulated pairs, and then tells for any new
record which images are possible, how sure we may be of every pixel, and whether to believe the answer.

The settings are those of ``bayesinv demo photoacoustic-line``, whose training is reused where it lies in ``runs/``.
``BAYESINV_SMOKE=1``, as on these pages, is the small version of a minute: hardly trained, as its verdict says.
"""

import os
import tempfile
from pathlib import Path

import matplotlib as mpl

import bayesinv as bi
from bayesinv.cli.recipes import recipe_of
from bayesinv.reporting import calibration_figures, figures
from bayesinv.reporting.panels import STYLE

SMALL = os.environ.get("BAYESINV_SMOKE") == "1"
RECIPE = recipe_of("photoacoustic-line", small=SMALL)
BUILD = {**RECIPE.build, "steps": 2, "hidden": 24} if SMALL else RECIPE.build
OUT = Path(tempfile.mkdtemp() if SMALL else "runs/photoacoustic-line")
mpl.rcParams.update(STYLE)

# %%
# The physics, and what it does not see
# -------------------------------------
# The plug-in holds the wave equation above, exact in free space, and its adjoint. Lengths are in millimetres, times in
# microseconds.

problem = bi.load_problem("photoacoustic-line", size=RECIPE.size, **RECIPE.problem)
forward = problem.forward
image = (forward.model_axes, forward.quantity, forward.unit)
record = (forward.data_axes, forward.data_quantity, forward.data_unit)
print(forward.title, forward.model_shape, "->", forward.data_shape)

# %%
# Sound leaves a vessel at right angles to its wall. A wall that stands upright sends it sideways, past the sensors. How
# much is lost? Take two images, and remove from the second all that forty steps of least squares find again in its
# data. What is left, :math:`v`, is nearly silent. Added to the first image it makes another one with almost the same
# data: branches may stand there or not, and these sensors will never know.

first, second = problem.prior.sample(2, seed=54)
silent = second - bi.physics.cgls(forward.operator, forward.operator(second), iterations=40)
heard, wave = forward.operator(silent), forward.operator(first)
noise = 0.05 * float(wave.square().mean().sqrt())
ratio, level = float(silent.norm() / first.norm()), float(heard.square().mean().sqrt()) / noise
print(f"|v| is {ratio:.0%} of |x|, A v is {level:.0%} of the noise")
figures.row_figure([first, first + silent, silent], ["An image $x$", "Another one, $x + v$", "$v$"], *image)

# %%
figures.row_figure([wave, wave + heard, heard], ["$A x$", "$A (x + v)$", "$A v$"], *record)

# %%
# What we know beforehand
# -----------------------
# Where the data cannot tell, something else has to. The prior is a generator of vessel trees: they grow towards points
# in want of blood, taper by Murray's law, and fade with depth as the light does.

figures.row_figure(problem.prior.sample(4, seed=0), [f"Prior image {i + 1}" for i in range(4)], *image)

# %%
# Training
# --------
# The posterior is a conditional flow: a reversible network between images and white noise, which is shown the adjoint
# and a few least-squares iterates of the data. Its loss is the mean of :math:`-\log q(x_i \mid y_i)` over simulated
# pairs. Stopped at any time, the same command goes on where it was.

posterior = bi.Posterior.build(problem, **BUILD)
history = bi.fit(posterior, problem, **RECIPE.fit, out=OUT, show_progress=False)
print(f"{history.seconds:.0f} s of training, best at step {history.best_step}, temperature {history.temperature:.2f}")
calibration_figures.history_figure(history.rows)

# %%
# The posterior of one record
# ---------------------------
# A tree that was never trained on, and its noisy record. From here to the images it takes seconds.

x, y, _ = problem.sample(1, seed=1_000)
conditioned = posterior(y[0])
baseline = posterior.baseline(y[0])
samples = conditioned.sample(RECIPE.draws, seed=1).with_truth(x[0]).with_baseline(baseline)
figures.data_figure(samples)

# %%
# Every sample is a possible tissue. Where they agree, the data have spoken.

figures.sample_figure(samples)

# %%
# The mean of the samples is the estimate of least squared error, their standard deviation tells how far to trust it.
# The baseline is the classical way: least squares, stopped at the best iteration, which held-out pairs told.

figures.reconstruction_figure(samples)

# %%
# An interval for each pixel. The truth should leave a 90 % band at one pixel in ten.

figures.profile_figure(samples)

# %%
# Fitting the data better
# -----------------------
# A learnt sample explains its data less exactly than the physics could. ``refine`` takes a few least-squares steps from
# each sample towards the data, with fresh noise on them: it mends what the sensors see and leaves the rest alone. Then
# :math:`\chi^2 = \|y - A x\|^2 / (n \sigma^2)` should be near one.

refined = conditioned.sample(RECIPE.draws, seed=1, refine=RECIPE.refine).with_truth(x[0]).with_baseline(baseline)
print(f"chi-square per datum {float(samples.chi2.mean()):.2f}, refined {float(refined.chi2.mean()):.2f}")
figures.reconstruction_figure(refined)

# %%
# Can it be trusted?
# ------------------
# On held-out simulations the truth is known. If the posterior is right, the rank of the truth among the samples is
# uniform, 90 % intervals hold it nine times in ten, and the spread is as large as the error.

settings = {"samples": RECIPE.samples, "refine": RECIPE.refine, "peak": RECIPE.peak}
checks = bi.diagnose(posterior, problem, simulations=RECIPE.heldout, seed=1, **settings)
print(checks.verdict.level, *checks.verdict.reasons, sep="\n- ")

# %%
# And on vessels of flesh and blood? Patches from a photograph of a retina are no draws of our prior, and the posterior
# meets them with its old convictions. The diagnosis, in red, shows by how much its intervals fall short.

retina = bi.Problem(bi.physics.plugins.load("retina", "priors")(size=RECIPE.size), forward)
pairs = retina.sample(RECIPE.second.count, seed=2)
real = bi.diagnose(posterior, problem, pairs=pairs, seed=2, name=RECIPE.second.name, **settings)
calibration_figures.calibration_figure(checks, second=real)

# %%
calibration_figures.example_figure(real)

# %%
# The report
# ----------
# One file holds it all, with the verdict in words and where every number comes from.

report = bi.report(samples, checks, second=real, history=history.rows, out=OUT / "tutorial.html")
print(f"{report.name}; held-out simulations: {checks.verdict.level}; retina: {real.verdict.level}")
