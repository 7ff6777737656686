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
from bayesinv.seeding import generator

SIZE, BOREHOLES = 48, np.array([3, 11, 19, 28, 37, 44])

# %%
# The operator in the algebra of PyLops, and a forward model around it with 5 % noise. The dot test compares
# :math:`\langle A x, y \rangle` with :math:`\langle x, A^T y \rangle`: they differ by rounding, or the adjoint is wrong.

section = (SIZE, SIZE)
survey = pylops.Restriction(section, BOREHOLES, axis=1) @ pylops.CausalIntegration(section, sampling=0.02, axis=0)
forward = bi.ForwardModel(bi.from_pylops(survey), bi.GaussianNoise(0.05), quantity="slowness anomaly", unit="s/km")
print(f"images {forward.model_shape}, data {forward.data_shape}")
print(f"dot test {bi.physics.dot_test(forward.operator):.0e}")

# %%
# The prior: smooth random layers. Image ``i`` of a stream depends on ``(seed, i)`` only, whatever the batch.


class Layers:
    shape = (1, SIZE, SIZE)

    def sample(self, n: int, seed: int, *, start: int = 0) -> torch.Tensor:
        noise = [generator(seed, i).standard_normal(self.shape[1:]) for i in range(start, start + n)]
        smooth = np.stack([gaussian_filter(image, (2, 10), mode="wrap") for image in noise])
        return torch.from_numpy(0.05 * smooth / smooth.std()).float()[:, None]


problem = bi.Problem(Layers(), forward)
x, y, sigma = problem.sample(3, seed=0)
estimate = bi.physics.cgls(forward.operator, y, iterations=10)

# %%
# One truth, its data, and what least squares alone makes of them. ``bi.Posterior.build(problem)`` is the next step.

figure, panels = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
style = {"cmap": "RdBu_r", "vmin": -0.12, "vmax": 0.12, "extent": (0, SIZE, 0.02 * SIZE, 0), "aspect": "auto"}
drawn = panels[0].imshow(x[0, 0].numpy(), **style)
panels[2].imshow(estimate[0, 0].numpy(), **style)
panels[1].plot(1000 * y[0, 0].numpy(), 0.02 * np.arange(SIZE), color="#08519c", lw=1)
panels[1].set(title="Data", xlabel="travel time anomaly (ms)", ylim=(0.02 * SIZE, 0))
for axes, title in zip(panels[::2], ("Truth", "Least squares"), strict=True):
    axes.vlines(BOREHOLES, 0, 0.02 * SIZE, color="black", lw=0.5)
    axes.set(title=title, xlabel="x (trace)", ylabel="depth (km)")
figure.colorbar(drawn, ax=panels, label="slowness anomaly (s/km)")
plt.show()
