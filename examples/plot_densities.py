r"""
Densities in the plane
======================

Four laws whose density and entropy are known: no flow can have a lower loss than the entropy, and what is lost above it
is the Kullback-Leibler divergence from the truth. RealNVP with rational-quadratic splines learns them in some hundred
steps; affine couplings need more layers and more steps, as a chain of them must tear apart what splines bend.
This is what `benchmarks/plane_densities.py` finds at full size, in nats above the entropy:

.. image:: ../../../benchmarks/results/plane_densities.png
   :alt: four laws and what six flows make of them
"""

import os

import matplotlib.pyplot as plt
import torch

from bayesinv.flows import Flow, realnvp
from bayesinv_datasets.plane import banana, ring, swirl, two_moons

SMALL = os.environ.get("BAYESINV_SMOKE") == "1"
torch.manual_seed(0)


def learned(law, steps: int) -> Flow:
    """Maximum likelihood on a pool of draws."""
    pool = law.sample(50_000, seed=0)
    flow = realnvp((2,), levels=1, steps=2, hidden=32, coupling="spline")
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    for _ in range(steps):
        loss = -flow.log_prob(pool[torch.randint(len(pool), (256,))]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return flow.eval()


# %%
# Train one flow for each law, and compare the densities on a grid. In the small mode the training stops early.

figure, panels = plt.subplots(2, 4, figsize=(9, 4.8), layout="constrained")
for law, (upper, lower) in zip((two_moons(), banana(), swirl(), ring()), panels.T, strict=True):
    flow, test = learned(law, 120 if SMALL else 1500), law.sample(10_000, seed=1)
    low, high = test.quantile(0.002, 0) - 0.4, test.quantile(0.998, 0) + 0.4
    x, y = (torch.linspace(float(a), float(b), 150) for a, b in zip(low, high, strict=True))
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(-1, 2)
    with torch.no_grad():
        loss = float(-flow.log_prob(test).mean())
        densities = [one.log_prob(grid).exp().view(150, 150).numpy() for one in (law, flow)]
    print(f"entropy {law.entropy:.3f} nats, loss of the flow {loss:.3f}")
    for axes, density in zip((upper, lower), densities, strict=True):
        axes.imshow(density, origin="lower", cmap="magma", vmax=float(densities[0].max()), aspect="auto")
        axes.set(xticks=[], yticks=[])
    lower.set_xlabel(f"entropy {law.entropy:.2f}, loss {loss:.2f}")
panels[0, 0].set_ylabel("law")
panels[1, 0].set_ylabel("flow")
plt.show()
