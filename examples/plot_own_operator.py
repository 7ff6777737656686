r"""
Your own operator and prior
===========================

Any PyLops operator is a forward model in one line, and any class with ``shape`` and ``sample`` is a prior. Here: check
shots in six boreholes. The travel time from the surface to depth :math:`z` is the integral of the slowness on the way,

.. math:: y(z, x_b) = \int_0^z x(z', x_b)\, dz' + \text{noise},

and between the boreholes only the prior knows.
"""

import matplotlib.pyplot as plt
import numpy as np
import pylops
import torch
from scipy.ndimage import gaussian_filter

import bayesinv as bi

SIZE, DEPTH, BOREHOLES = 48, 0.96, np.array([3, 11, 19, 28, 37, 44])  # pixels, km, columns

# %%
# The operator in the algebra of PyLops, and a forward model around it with 5 % noise. The dot test compares
# :math:`\langle A x, y \rangle` with :math:`\langle x, A^T y \rangle`; they differ by rounding only.

integral = pylops.CausalIntegration((SIZE, SIZE), sampling=DEPTH / SIZE, axis=0)
survey = pylops.Restriction((SIZE, SIZE), BOREHOLES, axis=1) @ integral
forward = bi.ForwardModel(bi.from_pylops(survey), bi.GaussianNoise(0.05), quantity="slowness anomaly", unit="s/km")
print(f"{forward.model_shape} to {forward.data_shape}, dot test {bi.physics.dot_test(forward.operator, seed=2):.0e}")

# %%
# The prior: smooth random layers. Image ``i`` of a stream depends on ``(seed, i)`` only, whatever the batch.


class Layers:
    shape = (1, SIZE, SIZE)

    def sample(self, n: int, seed: int, *, start: int = 0) -> torch.Tensor:
        noise = [np.random.default_rng((seed, i)).standard_normal(self.shape[1:]) for i in range(start, start + n)]
        smooth = np.stack([gaussian_filter(image, (2, 10), mode="wrap") for image in noise])
        return torch.from_numpy(0.05 * smooth / smooth.std()).float()[:, None]


problem = bi.Problem(Layers(), forward)
x, y, sigma = problem.sample(3, seed=0)
estimate = bi.physics.cgls(forward.operator, y, iterations=3).numpy()

# %%
# One truth, its data, and what least squares alone makes of them. ``bi.Posterior.build(problem)`` is the next step.

_, panels = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
panels[1].plot(1000 * y[0, 0].numpy(), np.linspace(0, DEPTH, SIZE), color="#08519c", lw=1)
panels[1].set(title="Data", xlabel="travel time anomaly (ms)", ylim=(DEPTH, 0))
for axes, image, title in zip(panels[::2], (x.numpy(), estimate), ("Truth", "Least squares"), strict=True):
    drawn = axes.imshow(image[0, 0], cmap="RdBu_r", vmin=-0.12, vmax=0.12, extent=(0, SIZE, DEPTH, 0), aspect="auto")
    axes.vlines(BOREHOLES, 0, DEPTH, color="black", lw=0.5)
    axes.set(title=title, xlabel="column", ylabel="depth (km)")
plt.colorbar(drawn, ax=panels, label="slowness anomaly (s/km)")
plt.show()
