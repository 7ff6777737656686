"""Photoacoustic tomography where the speed of sound varies: the wave equation, a line of sensors above the object.

    d^2 p / dt^2 = c(z, x)^2 laplace p,    p(0) = p0,    dp/dt(0) = 0,    y(s, t) = p(0, x_s, t)

by deepwave: differences of eighth order in space, of second in time, an absorbing layer around. The first step is that
of zero initial velocity, ``p(-dt) = p(dt) = p0 + dt^2/2 c^2 laplace p0``. Detail below three pixels travels too slowly,
as on any such grid; where the speed is constant `photoacoustic-line` is exact and far cheaper.

Sources: B. E. Treeby, B. T. Cox, J. Biomed. Opt. 15 (2010) 021314, doi:10.1117/1.3360308 (the problem);
A. Richardson, Deepwave, doi:10.5281/zenodo.8381177.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bayesinv.physics import Axis, ForwardModel, GaussianNoise, Operator, from_torch
from bayesinv.seeding import generator
from bayesinv_operators.kspace import PIXEL, SPEED_OF_SOUND
from bayesinv_operators.photoacoustic_line import LineSensor
from bayesinv_operators.waves import deepwave, substeps, transpose

__all__ = ["HeterogeneousLine", "photoacoustic_heterogeneous", "tissue_speed"]

MARGIN = 5  # pixels between image and absorbing layer: the stencil of the first step fits in
STENCIL = (-1 / 560, 8 / 315, -1 / 5, 8 / 5, -205 / 72, 8 / 5, -1 / 5, 8 / 315, -1 / 560)


def photoacoustic_heterogeneous(
    size: int = 32,
    *,
    contrast: float = 0.1,
    speed_seed: int = 0,
    samples: int | None = None,
    time_step: float = 0.5,
    noise: float | tuple[float, float] = 0.05,
) -> ForwardModel:
    """Initial pressure ``(1, size, size)`` to traces ``(1, size, samples)`` through varying speed; needs deepwave.

    Args:
        size: pixels of 0.1 mm along depth ``z`` and width ``x``; a sensor above each column.
        contrast: greatest relative departure of the speed from 1.5 mm/us, smooth over a fifth of the image.
        speed_seed: draws the map of speed, which is known.
        samples: time samples, by default ``3 * size``.
        time_step: pixels that sound travels in a sample at 1.5 mm/us.
        noise: relative noise level, or a pair from which each record draws its own.

    Raises:
        ImportError: if deepwave is not installed: pip install 'bayesinv[wave]'.
        ValueError: if the contrast is not in 0 to 0.3.
    """
    deepwave("photoacoustic-heterogeneous")
    samples = 3 * size if samples is None else samples
    operator = HeterogeneousLine(tissue_speed(size, contrast, speed_seed), samples, time_step)
    position = PIXEL * np.arange(size)
    return ForwardModel(
        operator,
        GaussianNoise(noise),
        name="photoacoustic-heterogeneous",
        title=f"Photoacoustic tomography, a line of sensors, speed of sound varying by {contrast:.0%}",
        equation="d^2 p/dt^2 = c(z, x)^2 laplace p, p(0) = x, dp/dt(0) = 0;  y(s, t) = p(z=0, s, t) + noise",
        model_axes=(Axis("z", "mm", position), Axis("x", "mm", position)),
        data_axes=(
            Axis("x", "mm", position),
            Axis("time", "us", time_step * PIXEL / SPEED_OF_SOUND * np.arange(samples)),
        ),
        quantity="initial pressure",
        unit="a.u.",
        data_quantity="pressure",
        data_unit="a.u.",
        prior="vessels",
        prior_parameters={"size": size},
        dot_tolerance=1e-5,  # hundreds of time steps, in single precision in use
        known_answer=_in_a_homogeneous_medium,
        known_answer_tolerance=0.02,  # differences of finite order against the exact propagator
    )


def tissue_speed(size: int, contrast: float, seed: int) -> npt.NDArray[np.float64]:
    """Speed of sound relative to 1.5 mm/us, ``(size, size)``: a smooth random map within ``1 +- contrast``.

    Raises:
        ValueError: if the contrast is not in 0 to 0.3.
    """
    from scipy.ndimage import gaussian_filter

    if not 0 <= contrast <= 0.3:
        raise ValueError(f"expected a contrast of 0 to 0.3, got {contrast}")
    smooth = gaussian_filter(generator(seed, 14).standard_normal((size, size)), size / 10, mode="nearest")
    smooth -= smooth.mean()
    return np.asarray(1 + contrast * smooth / np.abs(smooth).max())


class HeterogeneousLine:
    """The traces of a line of sensors on the row ``z = 0``; pixels, and speeds relative to that of the time step.

    Args:
        speed: ``(depth, width)``.
        samples: number of time samples, from ``t = 0``.
        time_step: of a sample.
    """

    def __init__(self, speed: npt.NDArray[np.float64], samples: int, time_step: float) -> None:
        self.speed, self.samples, self.time_step = speed, samples, time_step
        self.model_shape, self.data_shape = (1, *speed.shape), (1, speed.shape[1], samples)
        self.substeps = substeps(time_step, 1.0, 1.001 * float(speed.max()))
        self.operator = from_torch(
            self._forward, self._adjoint, model_shape=self.model_shape, data_shape=self.data_shape
        )

    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        """Traces ``(*batch, 1, width, samples)`` of initial pressures ``(*batch, 1, depth, width)``."""
        return self.operator(model)

    def adjoint(self, data: torch.Tensor) -> torch.Tensor:
        """The exact transpose, by reverse mode through the solver."""
        return self.operator.adjoint(data)

    def _forward(self, images: torch.Tensor) -> torch.Tensor:
        solver: Any = deepwave("photoacoustic-heterogeneous")
        width = self.speed.shape[1]
        step = self.time_step / self.substeps
        speed = torch.from_numpy(np.pad(self.speed, MARGIN, mode="edge")).to(images)
        start = torch.nn.functional.pad(images[:, 0], (MARGIN,) * 4)
        before = start + 0.5 * step**2 * speed**2 * _laplacian(start)
        row = torch.arange(MARGIN, MARGIN + width, device=images.device)
        places = torch.stack([torch.full_like(row, MARGIN), row], 1).expand(len(images), -1, -1)
        result = solver.scalar(
            speed, 1.0, step, receiver_locations=places.contiguous(), wavefield_0=start, wavefield_m1=before,
            accuracy=8, pml_width=20, pml_freq=0.1, max_vel=1.001 * float(self.speed.max()), survey_pad=None,
            nt=(self.samples - 1) * self.substeps + 1, origin=(0, 0),
        )  # fmt: skip
        return result.receiver_amplitudes[:, None, :, :: self.substeps]

    def _adjoint(self, data: torch.Tensor) -> torch.Tensor:
        return transpose(self._forward, (len(data), *self.model_shape), data)


def _laplacian(image: torch.Tensor) -> torch.Tensor:
    """Sum of second differences of eighth order of ``(batch, z, x)``, zero outside."""
    stencil = torch.tensor(STENCIL, dtype=image.dtype, device=image.device)
    whole = image[:, None]
    down = torch.nn.functional.conv2d(whole, stencil[None, None, :, None], padding=(4, 0))
    across = torch.nn.functional.conv2d(whole, stencil[None, None, None, :], padding=(0, 4))
    return (down + across)[:, 0]


def _in_a_homogeneous_medium(operator: Operator) -> tuple[torch.Tensor, torch.Tensor]:
    """The exact k-space propagator, where the speed is one and the source smooth."""
    assert isinstance(operator, HeterogeneousLine)
    depth, width = operator.speed.shape
    plain = HeterogeneousLine(np.ones((depth, width)), operator.samples, operator.time_step)
    exact = LineSensor(depth, width, range(width), operator.samples, operator.time_step)
    z, x = np.meshgrid(np.arange(depth), np.arange(width), indexing="ij")
    source = sum(
        math.cos(k) * np.exp(-((z - depth * a) ** 2 + (x - width * b) ** 2) / (2 * 2.0**2))
        for k, (a, b) in enumerate([(0.4, 0.3), (0.6, 0.7), (0.75, 0.4)])
    )
    image = torch.from_numpy(np.asarray(source))[None]
    return plain(image), exact(image)
