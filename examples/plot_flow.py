r"""
A flow
======

A flow is a reversible map to white noise. It gives samples and a density that integrates to one, and is trained by
maximum likelihood in a plain loop. Here it learns a banana of known density: the loss cannot fall below its entropy.

.. math:: x_1 \sim N(0, 1), \qquad x_2 = x_1^2 - 1 + \tfrac{1}{4} e, \quad e \sim N(0, 1).
"""

import math
import os

import matplotlib.pyplot as plt
import torch

from bayesinv.flows import glow

SMALL = os.environ.get("BAYESINV_SMOKE") == "1"
torch.manual_seed(0)


def banana(n: int) -> torch.Tensor:
    x = torch.randn(n, 2)
    return torch.stack([x[:, 0], x[:, 0] ** 2 - 1 + 0.25 * x[:, 1]], 1)


# %%
# The same builder makes flows for images; numbers without space are "dense" input of shape ``(channels,)``.

flow = glow((2,), levels=1, steps=6, hidden=32)
optimizer = torch.optim.Adam(flow.parameters(), lr=5e-3)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps := 300 if SMALL else 1000)
for _ in range(steps):
    loss = -flow.log_prob(banana(512)).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
entropy = math.log(2 * math.pi * math.e * 0.25)
with torch.no_grad():
    print(f"loss {float(-flow.log_prob(banana(20_000)).mean()):.3f} nats, entropy of the banana {entropy:.3f} nats")

# %%
# The density on a grid, beside fresh draws of the banana and samples of the flow.

z, x = torch.linspace(-2.2, 7.0, 200), torch.linspace(-3.2, 3.2, 200)
grid = torch.stack([x.repeat(200, 1), z[:, None].expand(200, 200)], -1).reshape(-1, 2)
with torch.no_grad():
    density = flow.log_prob(grid).exp().reshape(200, 200).numpy()
print(f"integral of the density {density.sum() * 6.4 / 199 * 9.2 / 199:.3f}")
figure, panels = plt.subplots(1, 3, figsize=(9, 3.2), sharex=True, sharey=True, layout="constrained")
for axes, points in zip(panels, (banana(1500), flow.sample(1500, seed=1)), strict=False):
    axes.plot(*points.T.numpy(), ".", ms=2, color="#08519c", alpha=0.5)
panels[2].imshow(density, origin="lower", extent=(-3.2, 3.2, -2.2, 7.0), aspect="auto", cmap="magma")
for axes, title in zip(panels, ("Draws", "Samples of the flow", "Density of the flow"), strict=True):
    axes.set(title=title, xlabel="$x_1$")
panels[0].set(ylabel="$x_2$", ylim=(-2.2, 7.0))
plt.show()
