r"""
An unrolled network around a PyLops operator
============================================

A seismic trace is a wavelet convolved with sparse reflectivity, :math:`y = w * x + e`. An invertible recurrent
inference machine starts at zero and repeats

.. math:: s \leftarrow s + \mathrm{norm}(A^T (A \eta - y)), \qquad [\eta; s] \leftarrow \mathrm{layer}([\eta; s]),

with reversible layers, so that its memory does not grow with iterations. It learns that reflectors are few.
"""

import matplotlib.pyplot as plt
import numpy as np
import pylops
import torch

import bayesinv as bi
from bayesinv.unrolled import IRIM, train_estimator

SAMPLES, STEP = 96, 4.0  # ms
time = STEP * np.arange(-16, 17) / 1000
ricker = (1 - 2 * (np.pi * 30 * time) ** 2) * np.exp(-((np.pi * 30 * time) ** 2))
A = bi.from_pylops(pylops.signalprocessing.Convolve1D(SAMPLES, ricker, offset=16))


def pairs(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(seed)
    spikes = random.standard_normal((count, 1, SAMPLES)) * (random.random((count, 1, SAMPLES)) < 0.08)
    x = torch.from_numpy(spikes).float()
    return x, A(x) + 0.1 * torch.from_numpy(random.standard_normal(x.shape)).float()


# %%
# Three iterations, each with a layer of its own, trained on the squared error for a few seconds. Each applies the
# operator twice forward and four times in the backward pass.

torch.manual_seed(0)
x, y = pairs(384, seed=1)
held, data = pairs(64, seed=2)
network = IRIM(A, iterations=3, memory=5, hidden=24, dilations=(1, 2))
history = train_estimator(network, x, y, epochs=4, batch_size=16, learning_rate=2e-2, held=(held, data))
found = {"Least squares": bi.physics.cgls(A, data, iterations=30, damping=0.3), "i-RIM": network(data).detach()}
ratio = {name: 20 * torch.log10(held.norm() / (held - estimate).norm()) for name, estimate in found.items()}
print(", ".join(f"{name} {float(value):.1f} dB" for name, value in ratio.items()), network.calls)

# %%
# One held-out trace: the data, and the reflectors that either method finds.

_, rows = plt.subplots(3, sharex=True, figsize=(8, 5), layout="constrained")
t = STEP * np.arange(SAMPLES)
rows[0].plot(t, data[0, 0], color="black", lw=1)
rows[0].set(title="Data", ylabel="amplitude")
for axes, (name, estimate) in zip(rows[1:], found.items(), strict=True):
    axes.vlines(t, 0, held[0, 0], color="0.6", lw=3, label="truth")
    axes.plot(t, estimate[0, 0], color="#b2182b", lw=1.2, label=f"{name}, {float(ratio[name]):.1f} dB")
    axes.set(ylabel="reflectivity", ylim=(-2.2, 3.2))
    axes.legend(loc="upper center", ncol=2, frameon=False)
rows[2].set(xlabel="two-way time (ms)", xlim=(0, t[-1]))
plt.show()
