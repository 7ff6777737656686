"""
A report, written and read back
===============================

Samples and checks are labelled arrays in netCDF files; the report is one HTML file made of both. All that it shows can
be read back and worked with.
"""

import json
import tempfile
from pathlib import Path

import bayesinv as bi
from bayesinv.reporting.calibration_figures import calibration_figure

folder = tempfile.TemporaryDirectory()
out = Path(folder.name)

# %%
# A posterior that is hardly trained, so that the verdict has something to say.

problem = bi.load_problem("deblur", size=16)
posterior = bi.Posterior.build(problem, steps=2, hidden=16)
history = bi.fit(posterior, problem, simulations=256, epochs=3, validation=8, show_progress=False)
x, y, sigma = problem.sample(1, seed=7)
samples = posterior(y[0]).sample(99, seed=1).with_truth(x[0]).with_baseline(posterior.baseline(y[0]))
checks = bi.diagnose(posterior, problem, simulations=24, refine=4)

# %%
# Write everything.

samples.save(out / "samples.nc")
checks.save(out / "checks.nc")
bi.report(samples, checks, history=history.rows, out=out / "report.html")
bi.reporting.write_metrics(checks, out, extra={"train_seconds": history.seconds})
print(*(f"{path.name:13} {path.stat().st_size / 1000:6.0f} kB" for path in sorted(out.iterdir())), sep="\n")

# %%
# Read it back: arrays with names and units, the figures of merit under stable names, the verdict in words.

samples, checks = bi.Samples.load(out / "samples.nc"), bi.Checks.load(out / "checks.nc")
print(samples.interval(0.9).sel(bound="upper").sel(x=4.0, method="nearest"))
print(json.loads((out / "metrics.json").read_text())["coverage_90"], checks.metrics["coverage_90"])
print(checks.verdict.level, *checks.verdict.reasons, sep="\n- ")

# %%
# The figures of the report can be drawn one by one.

folder.cleanup()
calibration_figure(checks)
