"""Photoacoustic tomography with a line of sensors above the object: exact, in free space, as three matrix products.

A short laser pulse raises the pressure to ``p0(z, x)`` where light is absorbed; the sound then runs to sensors on the
row ``z = 0``. In a homogeneous medium, with zero initial velocity,

    p(z, x, t) = F^-1[ cos(c |k| t) F p0 ](z, x),      y(s, t) = p(0, x_s, t)

(`bayesinv_operators.kspace`; the response ``H(c |k|)`` of a transducer goes with the cosine). With ``L`` the period of
the Fourier series and the sum over the wavenumbers ``k_z = 2 pi j / L`` done beforehand,

    K[k_x](z, t) = sum_kz cos(c sqrt(k_x^2 + k_z^2) t) cos(k_z z) / L
    y(s, t) = sum_kx w(k_x)/L sum_z K[k_x](z, t) sum_x cos(k_x (x_s - x)) p0(z, x),    w = 1 for k_x = 0, pi, else 2,

and ``cos(a - b) = cos a cos b + sin a sin b`` makes it ``S^T K C p0``: a matrix to wavenumbers, one small real matrix
for each wavenumber, a matrix to the sensors. ``L >= n + c t_max`` keeps the periodic images from arriving: free space.

Limited view: the sensors cover the top line only. Walls of vessels that stand upright send their sound sideways, past
the sensors, and are not seen; the data leave a real null space that a prior has to fill.

Sources: B. T. Cox and P. C. Beard, J. Acoust. Soc. Am. 117 (2005) 3616, doi:10.1121/1.1920227 (k-space propagator);
K. P. Koestli, M. Frenz, H. Bebie, H. P. Weber, Phys. Med. Biol. 46 (2001) 1863, doi:10.1088/0031-9155/46/7/309 (line
and plane sensors in the Fourier domain).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bayesinv.physics import Axis, ForwardModel, GaussianNoise, Operator
from bayesinv.physics.operator import check_batch
from bayesinv.seeding import generator
from bayesinv_operators.kspace import PIXEL, SPEED_OF_SOUND, Transducer, cos_sin, mode_weights, modes, transducer

__all__ = ["LineSensor", "photoacoustic_line"]


def photoacoustic_line(
    size: int = 32,
    *,
    samples: int | None = None,
    time_step: float = 0.5,
    sensors: Sequence[int] | None = None,
    band: tuple[float, float] | None = None,
    noise: float | tuple[float, float] = 0.05,
) -> ForwardModel:
    """Initial pressure ``(1, size, size)`` to sensor traces ``(1, sensors, samples)``, limited view from above.

    Args:
        size: pixels of 0.1 mm along depth ``z`` and width ``x``.
        samples: time samples, by default ``3 * size``.
        time_step: pixels that sound travels in a sample; 0.5 is 0.033 us at c = 1.5 mm/us.
        sensors: columns that hold a sensor, by default all.
        band: ``(centre in MHz, width at -6 dB over the centre)`` of the transducers, by default perfect ones.
        noise: relative noise level, or a pair from which each record draws its own.

    Raises:
        ValueError: if the sensors are not columns of the image, or the band is not positive.
    """
    columns = list(range(size)) if sensors is None else [int(column) for column in sensors]
    samples = 3 * size if samples is None else samples
    operator = LineSensor(size, size, columns, samples, time_step, response=transducer(band))
    position = PIXEL * np.arange(size)
    symmetric = sorted(columns) == sorted(size - 1 - column for column in columns)
    return ForwardModel(
        operator,
        GaussianNoise(noise),
        name="photoacoustic-line",
        title="Photoacoustic tomography, a line of sensors above (limited view)",
        equation="y(s, t) = F^-1[cos(c |k| t) F x](z=0, s) + noise",
        model_axes=(Axis("z", "mm", position), Axis("x", "mm", position)),
        data_axes=(
            Axis("x", "mm", PIXEL * np.array(columns)),
            Axis("time", "us", time_step * PIXEL / SPEED_OF_SOUND * np.arange(operator.data_shape[2])),
        ),
        quantity="initial pressure",
        unit="a.u.",
        data_quantity="pressure",
        data_unit="a.u.",
        prior="vessels",
        prior_parameters={"size": size},
        mirror=("x",) if symmetric and columns == sorted(columns) else (),
        known_answer=_wave_by_fft,
    )


class LineSensor:
    """``y = S^T K C x``, see the head of the module; lengths in pixels, ``c = 1``.

    Args:
        depth: pixels of the image along ``z``.
        width: pixels of the image along ``x``.
        columns: where on the row ``z = 0`` the sensors lie.
        samples: number of time samples, from ``t = 0``.
        time_step: pixels that sound travels in a sample.
        response: that of the sensors, by default one.
    """

    def __init__(
        self,
        depth: int,
        width: int,
        columns: Sequence[int],
        samples: int,
        time_step: float,
        *,
        response: Transducer | None = None,
    ) -> None:
        if min(depth, width, samples) < 1 or not time_step > 0:
            raise ValueError(
                f"expected positive sizes and time step, got {depth} x {width}, {samples} samples of {time_step}"
            )
        if not columns or min(columns) < 0 or max(columns) >= width or len(set(columns)) != len(columns):
            raise ValueError(f"expected distinct sensor columns in 0..{width - 1}, got {list(columns)}")
        self.depth, self.width, self.columns = depth, width, tuple(columns)
        self.samples, self.time_step, self.response = samples, time_step, response
        self.period = 2 * math.ceil((max(depth, width) + samples * time_step) / 2)
        self.model_shape = (1, depth, width)
        self.data_shape = (1, len(columns), samples)
        self._kernels: dict[tuple[torch.dtype, torch.device], tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = {}

    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        """Traces ``(*batch, 1, sensors, samples)`` of initial pressures ``(*batch, 1, depth, width)``."""
        check_batch(model, self.model_shape, "model")
        to_modes, propagate, to_sensors = self._kernel(model)
        batch = model.shape[:-3]
        modes = to_modes @ model.reshape(-1, self.width).T  # (2 modes, batch * depth)
        waves = modes.reshape(len(propagate), -1, self.depth) @ propagate  # (modes, 2 * batch, samples)
        traces = to_sensors.T @ waves.reshape(2 * len(propagate), -1)  # (sensors, batch * samples)
        traces = traces.reshape(len(self.columns), -1, self.samples).transpose(0, 1)
        return traces.reshape(*batch, *self.data_shape)

    def adjoint(self, data: torch.Tensor) -> torch.Tensor:
        """The exact transpose ``C^T K^T S y``: images ``(*batch, 1, depth, width)``."""
        check_batch(data, self.data_shape, "data")
        to_modes, propagate, to_sensors = self._kernel(data)
        batch = data.shape[:-3]
        traces = data.reshape(-1, len(self.columns), self.samples).transpose(0, 1).reshape(len(self.columns), -1)
        waves = to_sensors @ traces  # (2 modes, batch * samples)
        modes = waves.reshape(len(propagate), -1, self.samples) @ propagate.transpose(1, 2)
        images = modes.reshape(2 * len(propagate), -1).T @ to_modes  # (batch * depth, width)
        return images.reshape(*batch, *self.model_shape)

    def _kernel(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """``C (2 modes, width)``, ``K (modes, depth, samples)``, ``S (2 modes, sensors)`` in a tensor's dtype."""
        key = (like.dtype, like.device)
        if key not in self._kernels:
            with torch.inference_mode(False), torch.no_grad():
                wide = np.float32 if like.dtype.itemsize <= 4 else np.float64
                arrays = [torch.from_numpy(array.astype(wide)) for array in self._arrays()]
                c, k, s = (array.to(device=like.device, dtype=like.dtype) for array in arrays)
            self._kernels[key] = (c, k, s)
        return self._kernels[key]

    def _arrays(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        wavenumbers = modes(self.period)
        time = self.time_step * np.arange(self.samples)
        to_depth = mode_weights(self.period)[:, None] * np.cos(wavenumbers[:, None] * np.arange(self.depth))
        propagate = []
        for k in wavenumbers:
            total = np.hypot(k, wavenumbers)
            response = 1.0 if self.response is None else self.response(total)
            propagate.append((response * np.cos(time[:, None] * total)) @ to_depth)
        to_sensors = mode_weights(self.period)[:, None, None] * cos_sin(wavenumbers, np.array(self.columns))
        to_modes = cos_sin(wavenumbers, np.arange(self.width))
        return (
            to_modes.reshape(-1, self.width),
            np.ascontiguousarray(np.stack(propagate).transpose(0, 2, 1)),
            to_sensors.reshape(-1, len(self.columns)),
        )

    def __getstate__(self) -> dict[str, Any]:
        """Without the kernels, which are rebuilt at first use."""
        return self.__dict__ | {"_kernels": {}}


def _wave_by_fft(operator: Operator) -> tuple[torch.Tensor, torch.Tensor]:
    """The definition, sample by sample: ``p(t) = F^-1[H(|k|) cos(|k| t) F p0]``."""
    assert isinstance(operator, LineSensor)
    x = generator(0, 1).standard_normal(operator.model_shape[1:])
    k = 2 * np.pi * np.fft.fftfreq(operator.period)
    speed = np.hypot(k[:, None], k)
    spectrum = np.fft.fft2(x, s=(operator.period, operator.period))
    spectrum = spectrum if operator.response is None else operator.response(speed) * spectrum
    row = [np.fft.ifft2(np.cos(speed * t * operator.time_step) * spectrum).real[0] for t in range(operator.samples)]
    expected = torch.from_numpy(np.array(row).T[list(operator.columns)].copy())[None]
    return operator(torch.from_numpy(x)[None]), expected
