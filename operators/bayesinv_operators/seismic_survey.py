"""A seismic survey on a line in a known layer above the image, acoustic: what Born and full waveforms share.

    (1/v^2) d^2 u / dt^2 - laplace u = s(t) delta(p - p_s),    y(s, r, t) = u(p_r, t)

in two dimensions, absorbing layers on all sides, by deepwave (differences of fourth order in space, second in time).
Velocities are in km/s, lengths in m, times in s; a source has the size of its pixel, ``s(t) = 100 m^2 w(t)`` with a
Ricker wavelet ``w`` of unit peak.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bayesinv.physics import Axis
from bayesinv_operators.seismic_poststack import ricker
from bayesinv_operators.waves import deepwave, substeps

__all__ = ["BOUNDS", "SPACING", "Survey", "survey"]

SPACING = 10.0  # m
TIME_STEP = 0.004  # s
BOUNDS = (1.4, 4.5)  # km/s
LAYER = 12  # pixels of a known layer above the image, which hold sources and receivers
DEPTH = 1  # of these, pixels below the first row of the layer


@dataclass(frozen=True)
class Survey:
    """Where and when; ``size`` pixels of 10 m a side, samples of 4 ms, a Ricker wavelet of ``frequency`` Hz."""

    size: int
    sources: int
    receivers: int
    samples: int
    frequency: float
    name: str

    @property
    def data_shape(self) -> tuple[int, ...]:
        """``(1, sources, receivers, samples)``."""
        return (1, self.sources, self.receivers, self.samples)

    @property
    def model_axes(self) -> tuple[Axis, ...]:
        """Depth below the survey and place along it, in m."""
        position = SPACING * np.arange(self.size)
        return Axis("z", "m", position + SPACING * (LAYER - DEPTH)), Axis("x", "m", position)

    @property
    def data_axes(self) -> tuple[Axis, ...]:
        """Sources, receivers, time."""
        sources, receivers = (SPACING * self._columns(count) for count in (self.sources, self.receivers))
        time = TIME_STEP * np.arange(self.samples)
        return Axis("source", "m", sources), Axis("receiver", "m", receivers), Axis("time", "s", time)

    def record(
        self,
        velocity: torch.Tensor,
        contrast: torch.Tensor | None = None,
        *,
        above: float,
        fastest: float = BOUNDS[1],
    ) -> torch.Tensor:
        """Traces ``(batch, 1, sources, receivers, samples)`` of velocities ``(batch, z, x)`` in km/s.

        With a contrast ``dv (batch, z, x)`` in km/s, the waves that it scatters once (Born) instead. The layer
        above the image has a velocity ``above``; the solver's step is short enough for the ``fastest``, in km/s.
        """
        solver: Any = deepwave(self.name)
        fine = substeps(TIME_STEP, SPACING, 1e3 * fastest)
        step, steps = TIME_STEP / fine, (self.samples - 1) * fine + 1
        shots = len(velocity) * self.sources

        def each_shot(images: torch.Tensor) -> torch.Tensor:
            return images.repeat_interleave(self.sources, dim=0)

        settings: dict[str, Any] = {
            "source_amplitudes": -self.wavelet(fine, steps).to(velocity).expand(shots, 1, -1).contiguous(),
            "source_locations": self._places(self._columns(self.sources))[:, None].repeat(len(velocity), 1, 1),
            "pml_freq": self.frequency,
            "max_vel": 1e3 * fastest,
        }
        places = self._places(self._columns(self.receivers)).expand(shots, -1, -1).contiguous()
        fill = torch.nn.functional.pad
        speed = 1e3 * each_shot(fill(velocity, (0, 0, LAYER, 0), value=above))
        if contrast is None:
            traces = solver.scalar(speed, SPACING, step, receiver_locations=places, **settings).receiver_amplitudes
        else:
            with warnings.catch_warnings():  # it says that contrasts go on into the absorbing layer, as ours do
                warnings.simplefilter("ignore", solver.MigrationWarning)
                scattered = solver.scalar_born(
                    speed,
                    SPACING,
                    step,
                    dv=1e3 * each_shot(fill(contrast, (0, 0, LAYER, 0))),
                    sc_receiver_locations=places,
                    **settings,
                )
            traces = scattered.sc_receiver_amplitudes
        return traces[..., ::fine].reshape(len(velocity), *self.data_shape)

    def _columns(self, count: int) -> np.ndarray:
        return np.rint(np.linspace(0, self.size - 1, count + 2)[1:-1]).astype(int)

    def _places(self, columns: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.stack([np.full(len(columns), DEPTH), columns], 1))

    def wavelet(self, fine: int, steps: int) -> torch.Tensor:
        """At the solver's step, from its beginning; deepwave takes the source with the opposite sign."""
        wave = ricker(self.frequency * TIME_STEP / fine)
        padded = np.zeros(steps)
        count = min(steps, len(wave))
        padded[:count] = wave[:count]
        return torch.from_numpy(padded)


def survey(
    name: str, size: int, sources: int | None, receivers: int | None, samples: int | None, frequency: float
) -> Survey:
    """A survey with the usual numbers where none are given: ``size / 16`` sources, ``size / 2`` receivers.

    Raises:
        ValueError: if a number is out of range.
    """
    deepwave(name)
    sources = max(1, size // 16) if sources is None else sources
    receivers = max(1, size // 2) if receivers is None else receivers
    samples = 3 * size + 48 if samples is None else samples
    if size < 8 or samples < 2 or not (1 <= sources <= size and 1 <= receivers <= size):
        raise ValueError(
            f"expected a size from 8, samples, and 1 to size sources and receivers, got {size}, {samples}, "
            f"{sources} and {receivers}"
        )
    if not 0 < frequency <= 30:
        raise ValueError(f"expected a frequency of at most 30 Hz, which the grid carries, got {frequency}")
    return Survey(size, sources, receivers, samples, frequency, name)
