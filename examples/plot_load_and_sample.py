"""
A posterior loaded in another process
=====================================

A posterior is one file: the weights, and in words what problem and operator they belong to. Another process loads it
and draws the same samples, for sample ``i`` depends on the seed and on ``i`` only.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import bayesinv as bi

folder = tempfile.TemporaryDirectory()
out = Path(folder.name)

# %%
# Train a posterior for deblurring, as small and short as it may be, and save it beside a record to look at.

problem = bi.load_problem("deblur", size=16)
posterior = bi.Posterior.build(problem, steps=2, hidden=16)
bi.fit(posterior, problem, simulations=256, epochs=3, validation=8, show_progress=False)
posterior.save(out / "deblur.bayesinv")
x, y, sigma = problem.sample(1, seed=7)
np.save(out / "y.npy", y[0].numpy())

# %%
# The other process knows the two files only.

script = """
import sys
import numpy as np
import bayesinv as bi

posterior = bi.Posterior.load(f"{sys.argv[1]}/deblur.bayesinv")
samples = posterior(np.load(f"{sys.argv[1]}/y.npy")).sample(50, seed=1)
samples.save(f"{sys.argv[1]}/samples.nc")
print(posterior.problem, samples, sep="\\n")
"""
print(subprocess.check_output([sys.executable, "-c", script, out], text=True))

# %%
# Its samples and ours are equal.

theirs, ours = bi.Samples.load(out / "samples.nc"), posterior(y[0]).sample(50, seed=1)
print(f"largest difference {float(abs(theirs.values - ours.values).max()):.1e}")
figure, panels = plt.subplots(1, 4, figsize=(10, 2.6), layout="constrained")
images = (x[0, 0].numpy(), y[0, 0].numpy(), ours.mean()[0], theirs.mean()[0])
for axes, image, title in zip(panels, images, ("Truth", "Data", "Mean here", "Mean there"), strict=True):
    drawn = axes.imshow(image, cmap="gray", vmin=0, vmax=x.max())
    axes.set(title=title, xticks=[], yticks=[])
figure.colorbar(drawn, ax=panels)
plt.show()
folder.cleanup()
