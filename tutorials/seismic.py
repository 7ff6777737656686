r"""
A seismic section: layers thinner than the wave
===============================================

Post-stack seismic data are echoes: every trace is the wavelet :math:`w` convolved with the reflectivity, half the
derivative of the logarithm of the impedance :math:`I` (density times velocity) in two-way time,

.. math::

    y(t, x) = w(t) * \tfrac{1}{2} \frac{\partial}{\partial t} \ln I(t, x) + \sigma e, \qquad e \sim N(0, I).

We want :math:`x = \ln (I / I_0)` about its background :math:`I_0`. The wavelet of 25 Hz hears neither the slow trends,
which well logs give, nor layers much thinner than its length. Here a posterior :math:`p(x \mid y)` is trained once, on
simulated sections, and then tells for any new one which layers are possible, how sure we may be of each, and whether to
believe the answer. The story in full is that of :doc:`photoacoustic`; here is what differs.

The settings are those of ``bayesinv demo seismic-poststack``, whose training is reused where it lies in ``runs/``.
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
RECIPE = recipe_of("seismic-poststack", small=SMALL)
BUILD = {**RECIPE.build, "steps": 2, "hidden": 24} if SMALL else RECIPE.build
OUT = Path(tempfile.mkdtemp() if SMALL else "runs/seismic-poststack")
mpl.rcParams.update(STYLE)

# %%
# The physics, and what it does not see
# -------------------------------------
# The plug-in builds its operator with PyLops. Two-way time is in seconds, distance in metres.

problem = bi.load_problem("seismic-poststack", size=RECIPE.size, **RECIPE.problem)
forward = problem.forward
section = (forward.model_axes, forward.quantity, forward.unit)
record = (forward.data_axes, forward.data_quantity, forward.data_unit)
print(forward.title, forward.model_shape, "->", forward.data_shape)

# %%
# Take two sections, and remove from the second all that twelve steps of least squares find again in its data. What is
# left, :math:`v`, is slow trend and thin layers. Added to the first section it makes another one, whose data differ by
# less than the noise.

first, second = problem.prior.sample(2, seed=5)
silent = second - bi.physics.cgls(forward.operator, forward.operator(second), iterations=12)
heard, wave = forward.operator(silent), forward.operator(first)
noise = 0.05 * float(wave.square().mean().sqrt())
ratio, level = float(silent.norm() / first.norm()), float(heard.square().mean().sqrt()) / noise
print(f"|v| is {ratio:.0%} of |x|, A v is {level:.0%} of the noise")
figures.row_figure([first, first + silent, silent], ["A section $x$", "Another one, $x + v$", "$v$"], *section)

# %%
figures.row_figure([wave, wave + heard, heard], ["$A x$", "$A (x + v)$", "$A v$"], *record)

# %%
# What we know beforehand
# -----------------------
# The prior tells geology backwards: layers of random thickness and contrast are laid down, folded, cut by an
# unconformity and broken by faults.

figures.row_figure(problem.prior.sample(4, seed=0), [f"Prior section {i + 1}" for i in range(4)], *section)

# %%
# Training
# --------
# The classical way to compare with is least squares with damping and smoothing, both tuned on held-out pairs.

posterior = bi.Posterior.build(problem, **BUILD)
history = bi.fit(posterior, problem, **RECIPE.fit, out=OUT, show_progress=False)
print(f"{history.seconds:.0f} s of training, best at step {history.best_step}, temperature {history.temperature:.2f}")
calibration_figures.history_figure(history.rows)

# %%
# The posterior of one section
# ----------------------------
# A section that was never trained on, and its noisy data.

x, y, _ = problem.sample(1, seed=1_000)
conditioned = posterior(y[0])
baseline = posterior.baseline(y[0])
samples = conditioned.sample(RECIPE.draws, seed=1).with_truth(x[0]).with_baseline(baseline)
figures.data_figure(samples)

# %%
# Every sample is a possible section. Thick layers are in all of them, thin ones come and go.

figures.sample_figure(samples)

# %%
figures.reconstruction_figure(samples)

# %%
# A column of the section is what a well would find. The truth should leave the 90 % band at one sample in ten.

figures.profile_figure(samples)

# %%
# A question of one's own, say where the impedance is 10 % above the background, is a count over the samples.

figures.row_figure(
    [samples.exceedance(0.1)], ["Probability of $I > 1.1\\,I_0$"], forward.model_axes, "probability", "1"
)

# %%
# Fitting the data better
# -----------------------
# A few least-squares steps from each sample, towards the data with fresh noise on them, bring the misfit
# :math:`\chi^2 = \|y - A x\|^2 / (n \sigma^2)` near one.

refined = conditioned.sample(RECIPE.draws, seed=1, refine=RECIPE.refine)
print(f"chi-square per datum {float(samples.chi2.mean()):.2f}, refined {float(refined.chi2.mean()):.2f}")
figures.misfit_figure(refined)

# %%
# Can it be trusted?
# ------------------
# First on sections of the generator that it was trained on. Then on what it will meet in the field: layers thinner than
# we thought, contrasts with heavier tails, and data recorded with a wavelet of 30 Hz where we take 25 Hz for granted.
# No section from the field can be shipped, so a shifted generator stands in for it. The diagnosis, in red, shows by
# how much the intervals fall short.

settings = {"samples": RECIPE.samples, "refine": RECIPE.refine, "peak": RECIPE.peak}
checks = bi.diagnose(posterior, problem, simulations=RECIPE.heldout, seed=1, **settings)
print(checks.verdict.level, *checks.verdict.reasons, sep="\n- ")
shift = {**RECIPE.second.prior_parameters, **RECIPE.second.operator_parameters}
pairs = bi.load_problem("seismic-poststack", size=RECIPE.size, **shift).sample(RECIPE.second.count, seed=2)
shifted = bi.diagnose(posterior, problem, pairs=pairs, seed=2, name=RECIPE.second.name, **settings)
calibration_figures.calibration_figure(checks, second=shifted)

# %%
calibration_figures.example_figure(shifted)

# %%
# The report
# ----------
# One file holds it all, with the verdict in words and where every number comes from.

report = bi.report(samples, checks, second=shifted, history=history.rows, out=OUT / "tutorial.html")
print(f"{report.name}; held-out simulations: {checks.verdict.level}; shifted: {shifted.verdict.level}")
