"""Full-waveform inversion: the whole seismic record as a nonlinear function of the velocity.

    (1/x^2) d^2 u / dt^2 - laplace u = s(t) delta(p - p_s),    y(s, r, t) = u(p_r, t) - u_0(p_r, t) + noise

with the velocity ``x(z, p)`` in km/s below 110 m of water (1.5 km/s) that hold the survey, by deepwave. The
direct wave ``u_0``, that of water everywhere, is taken away: it says nothing of ``x``. The linearisation is Born
modelling, whose adjoint is the gradient of full-waveform inversion. Half a period too far from the truth the misfit has
other minima (cycle skipping).

Sources: A. Tarantola, Geophysics 49 (1984) 1259, doi:10.1190/1.1441754; J. Virieux, S. Operto, Geophysics 74 (2009)
WCC1, doi:10.1190/1.3238367; A. Richardson, Deepwave, doi:10.5281/zenodo.8381177.
"""

from __future__ import annotations

from typing import Any

import torch

from bayesinv.physics import ForwardModel, GaussianNoise, Operator, from_torch
from bayesinv.physics.operator import check_batch
from bayesinv_operators.seismic_survey import BOUNDS, Survey, survey
from bayesinv_operators.waves import transpose

__all__ = ["Waveforms", "seismic_fwi"]

WATER = 1.5  # km/s


def seismic_fwi(
    size: int = 32,
    *,
    sources: int | None = None,
    receivers: int | None = None,
    samples: int | None = None,
    frequency: float = 10.0,
    noise: float | tuple[float, float] = 0.05,
) -> ForwardModel:
    """Velocity ``(1, size, size)`` in km/s to seismic records ``(1, sources, receivers, samples)``, nonlinear.

    It needs deepwave: pip install 'bayesinv[wave]'.

    Args:
        size: pixels of 10 m along depth ``z``, from 110 m below the survey, and ``x``.
        sources: how many, evenly over the line, by default ``size / 16``.
        receivers: how many, evenly over the line, by default ``size / 2``.
        samples: of 4 ms, by default ``3 size + 48``.
        frequency: peak of the Ricker wavelet in Hz.
        noise: relative noise level, or a pair from which each record draws its own.

    Raises:
        ImportError: if deepwave is not installed.
        ValueError: if a number is out of range.
    """
    plan = survey("seismic-fwi", size, sources, receivers, samples, frequency)
    return ForwardModel(
        Waveforms(plan),
        GaussianNoise(noise),
        name="seismic-fwi",
        title=f"Full waveforms, {plan.sources} sources, {plan.receivers} receivers, Ricker of {frequency:g} Hz",
        equation="(1/x^2) d^2 u/dt^2 - laplace u = s(t) delta(p - p_s);  y(s, r, t) = u(p_r, t) - direct wave + noise",
        model_axes=plan.model_axes,
        data_axes=plan.data_axes,
        quantity="velocity",
        unit="km/s",
        bounds=BOUNDS,
        data_quantity="pressure",
        data_unit="a.u.",
        prior="velocity-sections",
        prior_parameters={"size": size},
        dot_tolerance=1e-5,  # hundreds of time steps, in single precision in use
        known_answer=_by_the_green_function,
        known_answer_tolerance=0.005,  # differences of finite order, an absorbing layer of finite width
    )


class Waveforms:
    """The records of a survey as a function of velocity in km/s, below a layer of known velocity."""

    complex_data = False

    def __init__(self, plan: Survey, *, above: float = WATER) -> None:
        self.plan, self.above = plan, above
        self._directs: dict[tuple[torch.dtype, torch.device], torch.Tensor] = {}
        self.model_shape, self.data_shape = (1, plan.size, plan.size), plan.data_shape

    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        """Records ``(*batch, 1, sources, receivers, samples)`` of velocities ``(*batch, 1, z, x)``.

        Raises:
            ValueError: for velocities out of bounds, for which the time step is too long or the grid too coarse.
        """
        check_batch(model, self.model_shape, "velocity")
        if not bool(((model >= BOUNDS[0]) & (model <= BOUNDS[1])).all()):
            low, high = float(model.detach().amin()), float(model.detach().amax())
            raise ValueError(f"expected velocities of {BOUNDS[0]} to {BOUNDS[1]} km/s, got {low:.3g} to {high:.3g}")
        batch = model.shape[: model.ndim - 3]
        velocity = model.reshape(-1, *self.model_shape[1:])
        records = self.plan.record(velocity, above=self.above) - self._direct(velocity)
        return records.reshape(*batch, *self.data_shape)

    def _direct(self, like: torch.Tensor) -> torch.Tensor:
        """The record of water everywhere, in a tensor's dtype and on its device."""
        key = (like.dtype, like.device)
        if key not in self._directs:
            with torch.inference_mode(False), torch.no_grad():
                water = torch.full(self.model_shape, self.above, dtype=like.dtype, device=like.device)
                self._directs[key] = self.plan.record(water, above=self.above)
        return self._directs[key]

    def __getstate__(self) -> dict[str, Any]:
        """Without the direct waves, which are computed again at first use."""
        return self.__dict__ | {"_directs": {}}

    def linearize(self, model: torch.Tensor) -> Operator:
        """Born modelling about a velocity, or about each of a batch of them."""
        check_batch(model, self.model_shape, "velocity")
        about = model.detach()
        lead = about.shape[: about.ndim - 3]

        def background(images: torch.Tensor) -> torch.Tensor:
            return about.reshape(-1, *self.model_shape[1:]).repeat(len(images) // max(1, lead.numel()), 1, 1).to(images)

        def forward(images: torch.Tensor) -> torch.Tensor:
            return self.plan.record(background(images), images[:, 0], above=self.above)

        def adjoint(data: torch.Tensor) -> torch.Tensor:
            return transpose(forward, (len(data), *self.model_shape), data)

        return from_torch(forward, adjoint, model_shape=self.model_shape, data_shape=self.data_shape)


def _by_the_green_function(operator: Waveforms) -> tuple[torch.Tensor, torch.Tensor]:
    """The field of a line source in a homogeneous medium, ``(1/4i) H_0^(2)(omega r / v)`` in the frequency domain."""
    import numpy as np
    from scipy.special import hankel2

    from bayesinv_operators.seismic_survey import SPACING, TIME_STEP

    assert isinstance(operator, Waveforms)
    plan, velocity, fine = operator.plan, 2.0, 8
    steps = 4 * plan.samples * fine
    wavelet = np.fft.rfft(plan.wavelet(fine, steps).numpy())
    omega = 2 * np.pi * np.fft.rfftfreq(steps, TIME_STEP / fine)
    source, receiver = (axis.coordinates for axis in plan.data_axes[:2])
    distance = np.maximum(np.abs(source[:, None] - receiver), SPACING)
    far = distance >= 4 * SPACING  # nearer, a point is as large as a pixel
    with np.errstate(invalid="ignore"):
        green = -0.25j * hankel2(0, omega * distance[..., None] / (1e3 * velocity))
    green[..., 0] = 0
    field = SPACING**2 * np.fft.irfft(green * wavelet, steps)[..., ::fine][..., : plan.samples] * far[..., None]
    image = torch.full(operator.model_shape, velocity, dtype=torch.float64)
    return plan.record(image, above=velocity)[0] * torch.from_numpy(far)[..., None], torch.from_numpy(field)[None]
