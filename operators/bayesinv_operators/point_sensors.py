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
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bayesinv.physics import from_torch
from bayesinv_operators.kspace import Transducer, cos_sin, mode_weights, modes

__all__ = ["PointSensors"]

KEPT = 2**25  # numbers, 134 MB in float32: matrices up to this size are kept
BLOCK = 2**22  # numbers, 17 MB

Block = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class PointSensors:
    """``y(s, t)`` of images ``(*batch, 1, depth, width)``, see the head of the module; pixels, ``c = 1``.

    Of the last two products it keeps the matrices where they are small (8 MB for 64 x 64 pixels and 64 sensors, 90 MB
    for 128 x 128 and 128). Else it makes them again, 16 MB at a time, at every call: 256 x 256 and 256 would be 700 MB.

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
        self.operator = from_torch(
            self._forward, self._adjoint, model_shape=self.model_shape, data_shape=self.data_shape
        )
        self._tables: dict[tuple[torch.dtype, torch.device], tuple[torch.Tensor, ...]] = {}
        self._kept: dict[tuple[torch.dtype, torch.device], Block] = {}

    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        """Traces ``(*batch, 1, sensors, samples)`` of initial pressures ``(*batch, 1, depth, width)``."""
        return self.operator(model)

    def adjoint(self, data: torch.Tensor) -> torch.Tensor:
        """The exact transpose: images ``(*batch, 1, depth, width)``."""
        return self.operator.adjoint(data)

    def _forward(self, model: torch.Tensor) -> torch.Tensor:
        to_z, to_x, *_ = self._table(model)
        coefficients = (to_z @ model[:, 0] @ to_x.T).flatten(1)  # (batch, (2 modes)^2)
        traces = model.new_zeros(self.samples, len(self.points) * len(model))
        for place, to_sensors, oscillation in self._blocks(model):
            octant = coefficients[:, place].permute(1, 2, 0)  # (pairs of modes, 8, batch)
            traces.addmm_(oscillation, (to_sensors @ octant).flatten(1))  # (samples, sensors * batch)
        return traces.reshape(self.samples, len(self.points), -1).permute(2, 1, 0)[:, None]

    def _adjoint(self, data: torch.Tensor) -> torch.Tensor:
        to_z, to_x, *_ = self._table(data)
        traces = data[:, 0].permute(2, 1, 0).flatten(1)
        coefficients = data.new_zeros(len(data), len(to_z) * len(to_x))
        for place, to_sensors, oscillation in self._blocks(data):
            waves = (oscillation.T @ traces).reshape(len(place), len(self.points), -1)
            octant = (to_sensors.transpose(1, 2) @ waves).permute(2, 0, 1)
            coefficients.index_add_(1, place.flatten(), octant.flatten(1))
        return (to_z.T @ coefficients.unflatten(1, (len(to_z), len(to_x))) @ to_x)[:, None]

    def _table(self, like: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """``trig z (2 modes, depth)``, ``trig x``, and at sensors ``w trig z (modes, sensors, 2)``, ``w trig x``."""
        key = (like.dtype, like.device)
        if key not in self._tables:
            k, w = modes(self.period), mode_weights(self.period)
            tables = [cos_sin(k, np.arange(size)).reshape(-1, size) for size in (self.depth, self.width)]
            tables += [w[:, None, None] * cos_sin(k, self.points[:, i]).transpose(0, 2, 1) for i in (0, 1)]
            with torch.inference_mode(False):
                self._tables[key] = tuple(torch.from_numpy(table).to(like.device, like.dtype) for table in tables)
        return self._tables[key]

    def _blocks(self, like: torch.Tensor) -> Iterator[Block]:
        """By blocks of pairs: places of Q ``(pairs, 8)``, ``U/Q (pairs, sensors, 8)``, cosines ``(samples, pairs)``."""
        key = (like.dtype, like.device)
        if key in self._kept:
            yield self._kept[key]
            return
        count = len(modes(self.period))
        pairs, each = count * (count + 1) // 2, 8 * len(self.points) + self.samples
        number = pairs if pairs * each <= KEPT else max(1, BLOCK // each)
        first, second = np.triu_indices(count)
        for start in range(0, pairs, number):
            with torch.inference_mode(False), torch.no_grad():
                block = self._block(like, first[start : start + number], second[start : start + number])
            if number == pairs:
                self._kept[key] = block
            yield block

    def _block(self, like: torch.Tensor, first: npt.NDArray[Any], second: npt.NDArray[Any]) -> Block:
        k = modes(self.period)
        total = np.hypot(k[first], k[second])
        gain = np.ones_like(total) if self.response is None else self.response(total)
        total, gain = (torch.from_numpy(array).to(like.device) for array in (total, gain))
        time = self.time_step * torch.arange(self.samples, dtype=torch.float64, device=like.device)
        oscillation = (gain * torch.cos(time[:, None] * total)).to(like.dtype)
        j, l = (torch.from_numpy(index).to(like.device) for index in (first, second))  # noqa: E741
        *_, at_z, at_x = self._table(like)
        halves = [(at_z[a][..., None] * at_x[b][..., None, :]).flatten(2) for a, b in ((j, l), (l, j))]
        halves[1][j == l] = 0
        row, column = (torch.tensor(bits, device=like.device) for bits in ([0, 0, 1, 1], [0, 1, 0, 1]))
        places = [(2 * a[:, None] + row) * 2 * len(k) + 2 * b[:, None] + column for a, b in ((j, l), (l, j))]
        return torch.cat(places, 1), torch.cat(halves, 2), oscillation

    def __getstate__(self) -> dict[str, Any]:
        """Without what is made at first use."""
        return self.__dict__ | {"_tables": {}, "_kept": {}}
