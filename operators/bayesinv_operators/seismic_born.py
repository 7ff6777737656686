"""Born modelling: the waves that a contrast of velocity scatters once; its adjoint is reverse-time migration.

    (1/v^2) d^2 u0/dt^2 - laplace u0 = s,      (1/v^2) d^2 u/dt^2 - laplace u = (2 dv / v^3) d^2 u0/dt^2

with ``dv = v x`` about a known background ``v`` that grows with depth, ``y(s, r, t) = u(p_r, t) + noise``, by deepwave.
Sources and receivers lie in a layer of the velocity ``top`` above the image.

Sources: A. Tarantola, Geophysics 49 (1984) 1259, doi:10.1190/1.1441754; A. Richardson, Deepwave,
doi:10.5281/zenodo.8381177.
"""

from __future__ import annotations

import numpy as np
import torch

from bayesinv.physics import ForwardModel, GaussianNoise, Operator, from_torch
from bayesinv.seeding import normal, stream
from bayesinv_operators.seismic_survey import BOUNDS, Survey, survey
from bayesinv_operators.waves import transpose

__all__ = ["Born", "seismic_born"]


def seismic_born(
    size: int = 32,
    *,
    sources: int | None = None,
    receivers: int | None = None,
    samples: int | None = None,
    frequency: float = 15.0,
    top: float = 2.0,
    bottom: float = 3.0,
    noise: float | tuple[float, float] = 0.1,
) -> ForwardModel:
    """Relative contrast of velocity ``(1, size, size)`` to scattered waves ``(1, sources, receivers, samples)``.

    It needs deepwave: pip install 'bayesinv[wave]'.

    Args:
        size: pixels of 10 m along depth ``z``, from 110 m below the survey, and ``x``.
        sources: how many, evenly over the line, by default ``size / 16``.
        receivers: how many, evenly over the line, by default ``size / 2``.
        samples: of 4 ms, by default ``3 size + 48``.
        frequency: peak of the Ricker wavelet in Hz.
        top: velocity of the background at the top, in km/s.
        bottom: at the bottom.
        noise: relative noise level, or a pair from which each record draws its own.

    Raises:
        ImportError: if deepwave is not installed.
        ValueError: if a number or a velocity is out of range.
    """
    if not all(BOUNDS[0] <= velocity <= BOUNDS[1] for velocity in (top, bottom)):
        raise ValueError(f"expected velocities of {BOUNDS[0]} to {BOUNDS[1]} km/s, got {top} and {bottom}")
    plan = survey("seismic-born", size, sources, receivers, samples, frequency)
    background = np.repeat(np.linspace(top, bottom, size)[:, None], size, axis=1)
    return ForwardModel(
        Born(plan, background),
        GaussianNoise(noise),
        name="seismic-born",
        title=f"Born modelling, {plan.sources} sources, {plan.receivers} receivers, Ricker of {frequency:g} Hz",
        equation="y = J(v) (v x) + noise,  J the derivative of the acoustic wave equation's traces in v",
        model_axes=plan.model_axes,
        data_axes=plan.data_axes,
        quantity="relative contrast of velocity",
        unit="1",
        data_quantity="scattered pressure",
        data_unit="a.u.",
        prior="layered-sections",
        prior_parameters={"size": size},
        dot_tolerance=1e-5,  # hundreds of time steps, in single precision in use
        known_answer=_by_differences,
        known_answer_tolerance=1e-5,  # central differences of the full wave equation
    )


class Born:
    """The derivative of a survey about a background velocity in km/s, ``(z, x)``."""

    def __init__(self, plan: Survey, background: np.ndarray) -> None:
        self.plan, self.background = plan, background
        self.fastest = 1.001 * float(background.max())
        self.model_shape, self.data_shape = (1, *background.shape), plan.data_shape
        self.operator = from_torch(
            self._forward, self._adjoint, model_shape=self.model_shape, data_shape=self.data_shape
        )

    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        """Scattered waves ``(*batch, 1, sources, receivers, samples)`` of contrasts ``(*batch, 1, z, x)``."""
        return self.operator(model)

    def adjoint(self, data: torch.Tensor) -> torch.Tensor:
        """The exact transpose, by reverse mode through the solver."""
        return self.operator.adjoint(data)

    def _forward(self, images: torch.Tensor) -> torch.Tensor:
        velocity = torch.from_numpy(self.background).to(images).expand(len(images), -1, -1)
        return self.plan.record(
            velocity, velocity * images[:, 0], above=float(self.background[0, 0]), fastest=self.fastest
        )

    def _adjoint(self, data: torch.Tensor) -> torch.Tensor:
        return transpose(self._forward, (len(data), *self.model_shape), data)


def _by_differences(operator: Operator) -> tuple[torch.Tensor, torch.Tensor]:
    """Central differences of the full wave equation in the velocity."""
    assert isinstance(operator, Born)
    x = normal(operator.model_shape, 0, stream("seismic-born")).double()
    velocity, step = torch.from_numpy(operator.background), 1e-4  # of steps, well below the margin of 1e-3
    two = torch.stack([velocity * (1 + sign * step * x[0]) for sign in (1, -1)])
    with torch.no_grad():
        after, before = operator.plan.record(two, above=float(velocity[0, 0]), fastest=operator.fastest)
    return operator(x), (after - before) / (2 * step)
