r"""
A Gauss-Newton step
===================

The Jacobian of a reversible map is a PyLops operator, never assembled. So any least-squares solver finds a step

.. math:: \min_\delta \| J \delta - (y - f(x; \theta)) \|^2 + \epsilon^2 \|\delta\|^2,

for the parameters, and an exact line search says how far it carries. Here a map is to warp a grid as another one does.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.sparse.linalg import lsqr
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from bayesinv.reversible import Chain, Conditioner, Coupling
from bayesinv.unrolled import jacobian

torch.manual_seed(0)
x = torch.cartesian_prod(*[torch.linspace(-1.5, 1.5, 20, dtype=torch.float64)] * 2)
nets = [Conditioner(1, 2, hidden=8, rank=0) for _ in range(4)]
map = Chain(*[Coupling(net, passive=1, passive_last=bool(i % 2), bound=0.5) for i, net in enumerate(nets)]).double()
theta = 0.3 * torch.randn_like(parameters_to_vector(map.parameters()).detach())


def warped(parameters: torch.Tensor) -> torch.Tensor:
    vector_to_parameters(parameters, map.parameters())
    return map(x)[0].detach()


target, start = warped(theta), theta + 0.03 * torch.randn_like(theta)

# %%
# Two directions from the start: 50 iterations of LSQR on the Jacobian, and the gradient.

residual = (target - warped(start)).numpy().ravel()
J = jacobian(map, x, wrt="parameters")
directions = {"Gauss-Newton": lsqr(J, residual, damp=0.1, iter_lim=50)[0], "gradient": J.H @ residual}


def misfit(step: float, direction: np.ndarray) -> float:
    return float(((warped(start + step * torch.from_numpy(direction)) - target) ** 2).sum())


# %%
# An exact line search: the misfit along each, in units of the step where it is smallest, and where the grid went.

steps, (_, (curve, grid)) = np.linspace(0, 1.5, 31), plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
for name, direction in directions.items():
    best = minimize_scalar(misfit, bracket=(0.0, 0.1 / np.linalg.norm(direction)), args=(direction,)).x
    curve.plot(steps, [misfit(best * s, direction) for s in steps], label=name)
    grid.plot(*warped(start + best * torch.from_numpy(direction)).T.numpy(), ".", ms=4, label=name)
    print(f"{name}: misfit {misfit(0.0, direction):.3g} to {misfit(best, direction):.3g}, step {best:.3g}")
grid.plot(*target.T.numpy(), "k+", ms=3, label="target")
curve.set(xlabel="step", ylabel="misfit")
grid.legend()
plt.show()
