"""Sound of an image at any points: on a ring, an arc, scattered, on the pixels or between them, inside or outside.

With the modes ``k_j = 2 pi j / L`` and their weights ``w_j`` (`bayesinv_operators.kspace`), the pressure at a sensor is

    y(s, t) = sum_{j, l} cos(|k_jl| t) H(|k_jl|) w_j w_l sum_{z, x} cos(k_j (z_s - z)) cos(k_l (x_s - x)) p0(z, x)

where ``|k_jl|^2 = k_j^2 + k_l^2`` is that of ``(l, j)`` too: modes ``j <= l`` are enough for the time. Three products:

    eight coefficients a mode   Q = sum_{z, x} trig(k_j z) trig(k_l x) p0, and with j and l exchanged
    its amplitude at a sensor   U(s, jl) = w_j w_l sum_8 trig(k_j z_s) trig(k_l x_s) Q
    its oscillation             y(s, t) = sum_{j <= l} cos(|k_jl| t) H(|k_jl|) U(s, jl)

The Fourier series is exact between the pixels. Its period is odd, so that no mode is its own mirror image, and so long
that no periodic image of a pixel reaches a sensor in the time of the record: free space.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bayesinv.physics.operator import check_batch
from bayesinv_operators.kspace import Transducer, cos_sin, mode_weights, modes

__all__ = ["PointSensors"]


class PointSensors:
    """``y(s, t)`` of images ``(*batch, 1, depth, width)``, see the head of the module; pixels, ``c = 1``.

    It keeps ``4 (L/2)^2 sensors`` numbers, 8 MB for 64 x 64 pixels and 64 sensors, 500 MB for 256 x 256 and 256.

    Args:
        depth: pixels of the image along ``z``.
        width: pixels of the image along ``x``.
        positions: ``(z, x)`` of each sensor, in pixels from the first.
        samples: number of time samples, from ``t = 0``.
        time_step: pixels that sound travels in a sample.
        response: that of the sensors, by default one.
    """

    def __init__(
        self,
        depth: int,
        width: int,
        positions: Sequence[tuple[float, float]],
        samples: int,
        time_step: float,
        *,
        response: Transducer | None = None,
    ) -> None:
        if min(depth, width, samples) < 1 or not time_step > 0:
            raise ValueError(
                f"expected positive sizes and time step, got {depth} x {width}, {samples} samples of {time_step}"
            )
        points = np.array(positions, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
            raise ValueError(f"expected a list of sensor positions (z, x), got an array of {points.shape}")
        self.depth, self.width, self.points = depth, width, points
        self.samples, self.time_step, self.response = samples, time_step, response
        farthest = max(np.abs(points).max(), np.abs(points - [depth - 1, width - 1]).max())
        self.period = 2 * math.ceil((farthest + samples * time_step) / 2) + 1
        self.model_shape = (1, depth, width)
        self.data_shape = (1, len(points), samples)
        self._kernels: dict[tuple[torch.dtype, torch.device], tuple[torch.Tensor, ...]] = {}

    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        """Traces ``(*batch, 1, sensors, samples)`` of initial pressures ``(*batch, 1, depth, width)``."""
        check_batch(model, self.model_shape, "model")
        to_z, to_x, to_sensors, oscillation, pick = self._kernel(model)
        coefficients = (to_z @ model.reshape(-1, self.depth, self.width) @ to_x.T).flatten(1)  # (batch, (2 modes)^2)
        octant = coefficients[:, pick].permute(1, 2, 0)  # (pairs of modes, 8, batch)
        waves = to_sensors @ octant  # (pairs of modes, sensors, batch)
        traces = oscillation @ waves.flatten(1)  # (samples, sensors * batch)
        traces = traces.reshape(self.samples, len(self.points), -1).permute(2, 1, 0)
        return traces.reshape(*model.shape[:-3], *self.data_shape)

    def adjoint(self, data: torch.Tensor) -> torch.Tensor:
        """The exact transpose: images ``(*batch, 1, depth, width)``."""
        check_batch(data, self.data_shape, "data")
        to_z, to_x, to_sensors, oscillation, pick = self._kernel(data)
        traces = data.reshape(-1, len(self.points), self.samples).permute(2, 1, 0).flatten(1)
        waves = (oscillation.T @ traces).reshape(len(pick), len(self.points), -1)
        octant = (to_sensors.transpose(1, 2) @ waves).permute(2, 0, 1).flatten(1)  # (batch, pairs of modes * 8)
        zeros = octant.new_zeros(len(octant), len(to_z) * len(to_x))
        coefficients = zeros.index_add(1, pick.flatten(), octant).unflatten(1, (len(to_z), len(to_x)))
        return (to_z.T @ coefficients @ to_x).reshape(*data.shape[:-3], *self.model_shape)

    def _kernel(self, like: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The five arrays of `_arrays` in a tensor's dtype, on its device."""
        key = (like.dtype, like.device)
        if key not in self._kernels:
            with torch.inference_mode(False), torch.no_grad():
                *arrays, pick = self._arrays()
                wide = np.float32 if like.dtype.itemsize <= 4 else np.float64
                tensors = [torch.from_numpy(array.astype(wide)).to(like.device, like.dtype) for array in arrays]
                self._kernels[key] = (*tensors, torch.from_numpy(pick).to(like.device))
        return self._kernels[key]

    def _arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """``trig z (2 modes, depth)``, ``trig x``, ``U/Q (pairs, sensors, 8)``, ``(samples, pairs)``, place of Q."""
        k, w = modes(self.period), mode_weights(self.period)
        j, l = np.triu_indices(len(k))  # noqa: E741 (the letters of the formula)
        total = np.hypot(k[j], k[l])
        oscillation = np.cos(self.time_step * np.arange(self.samples)[:, None] * total)
        if self.response is not None:
            oscillation *= self.response(total)
        at_z, at_x = (cos_sin(k, self.points[:, axis]).transpose(0, 2, 1) for axis in (0, 1))  # (modes, sensors, 2)
        halves, places = [], []
        for a, b, weight in ((j, l, w[j] * w[l]), (l, j, w[j] * w[l] * (j != l))):
            product = at_z[a][:, :, :, None] * at_x[b][:, :, None, :]  # (pairs, sensors, 2, 2)
            halves.append(weight[:, None, None] * product.reshape(len(a), len(self.points), 4))
            rows, columns = 2 * a[:, None, None] + np.array([[0], [1]]), 2 * b[:, None, None] + np.array([[0, 1]])
            places.append((rows * 2 * len(k) + columns).reshape(len(a), 4))
        return (
            cos_sin(k, np.arange(self.depth)).reshape(-1, self.depth),
            cos_sin(k, np.arange(self.width)).reshape(-1, self.width),
            np.concatenate(halves, axis=2),
            oscillation,
            np.concatenate(places, axis=1),
        )

    def __getstate__(self) -> dict[str, Any]:
        """Without the kernels, which are rebuilt at first use."""
        return self.__dict__ | {"_kernels": {}}
