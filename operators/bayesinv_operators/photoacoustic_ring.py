"""Photoacoustic tomography with sensors around the object, on a ring, an arc or at any points: exact, in free space.

A short laser pulse raises the pressure to ``p0(z, x)`` where light is absorbed; the sound then runs to the sensors,

    y(s, t) = F^-1[ H(c |k|) cos(c |k| t) F p0 ](z_s, x_s)

with the response ``H`` of the transducers; `bayesinv_operators.point_sensors` says how it is computed. A full ring
sees every edge. On an arc, edges whose normals do not pass through it are not seen: limited view.

Sources: B. T. Cox and P. C. Beard, J. Acoust. Soc. Am. 117 (2005) 3616, doi:10.1121/1.1920227 (k-space propagator);
Y. Xu, L. V. Wang, G. Ambartsoumian, P. Kuchment, Med. Phys. 31 (2004) 724, doi:10.1118/1.1644531 (limited view).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from bayesinv.physics import Axis, ForwardModel, GaussianNoise, Operator
from bayesinv.seeding import generator
from bayesinv_operators.kspace import PIXEL, SPEED_OF_SOUND, modes, transducer
from bayesinv_operators.point_sensors import PointSensors

__all__ = ["photoacoustic_ring", "ring"]


def photoacoustic_ring(
    size: int = 32,
    *,
    sensors: int | None = None,
    radius: float = 0.75,
    view: tuple[float, float] = (0.0, 360.0),
    positions: Sequence[tuple[float, float]] | None = None,
    samples: int | None = None,
    time_step: float = 0.5,
    band: tuple[float, float] | None = None,
    noise: float | tuple[float, float] = 0.05,
) -> ForwardModel:
    """Initial pressure ``(1, size, size)`` to traces ``(1, sensors, samples)`` on a ring, an arc or anywhere.

    Args:
        size: pixels of 0.1 mm along depth ``z`` and width ``x``.
        sensors: how many, evenly spaced, by default ``size``.
        radius: of the ring, over the side of the image; 0.75 clears its corners.
        view: first and last angle of the arc in degrees, clockwise in the picture: 0 is right of the image, 90 below.
        positions: ``(z, x)`` of the sensors in mm from the first pixel, instead of a ring.
        samples: time samples, by default until the farthest pixel is heard.
        time_step: pixels that sound travels in a sample; 0.5 is 0.033 us at c = 1.5 mm/us.
        band: ``(centre in MHz, width at -6 dB over the centre)`` of the transducers, by default perfect ones.
        noise: relative noise level, or a pair from which each record draws its own.

    Raises:
        ValueError: if the angles are not an arc, a size is not positive, or both a ring and positions are given.
    """
    if positions is not None and sensors is not None:
        raise ValueError(
            f"expected a number of sensors or their positions, got {sensors} and {len(positions)} positions"
        )
    if positions is None:
        points = ring(size, size if sensors is None else sensors, radius, view)
    else:
        points = [(float(z) / PIXEL, float(x) / PIXEL) for z, x in positions]
    if samples is None:
        farthest = max(math.hypot(z - a, x - b) for z, x in points for a in (0, size - 1) for b in (0, size - 1))
        samples = math.ceil(farthest / time_step) + 1
    operator = PointSensors(size, size, points, samples, time_step, response=transducer(band))
    position = PIXEL * np.arange(size)
    return ForwardModel(
        operator,
        GaussianNoise(noise),
        name="photoacoustic-ring",
        title=f"Photoacoustic tomography, {len(points)} sensors around the object",
        equation="y(s, t) = F^-1[H(c |k|) cos(c |k| t) F x](z_s, x_s) + noise",
        model_axes=(Axis("z", "mm", position), Axis("x", "mm", position)),
        data_axes=(
            Axis("sensor", "1", np.arange(len(points), dtype=np.float64)),
            Axis("time", "us", time_step * PIXEL / SPEED_OF_SOUND * np.arange(samples)),
        ),
        quantity="initial pressure",
        unit="a.u.",
        data_quantity="pressure",
        data_unit="a.u.",
        prior="vessels",
        prior_parameters={"size": size},
        known_answer=_by_series,
    )


def ring(size: int, sensors: int, radius: float, view: tuple[float, float]) -> list[tuple[float, float]]:
    """``(z, x)`` in pixels of sensors on an arc about the centre; a full turn does not come back to the first.

    Raises:
        ValueError: if there is no sensor, no radius, or the view is no arc of at most 360 degrees.

    Example:
        >>> [(round(z, 6), round(x, 6)) for z, x in ring(33, 3, 1.0, (0.0, 180.0))]
        [(16.0, 49.0), (49.0, 16.0), (16.0, -17.0)]
    """
    if size < 1 or sensors < 1 or not 0 < radius < math.inf:
        raise ValueError(f"expected a positive size, number of sensors and radius, got {size}, {sensors}, {radius}")
    if len(view) != 2 or not 0 < view[1] - view[0] <= 360:
        raise ValueError(f"expected a view as (first, last) angle at most 360 degrees apart, got {view}")
    closed = view[1] - view[0] == 360
    angles = np.deg2rad(np.linspace(*view, sensors, endpoint=not closed))
    centre = (size - 1) / 2
    return [(centre + radius * size * math.sin(angle), centre + radius * size * math.cos(angle)) for angle in angles]


def _by_series(operator: Operator) -> tuple[torch.Tensor, torch.Tensor]:
    """The complex Fourier series, summed at each sensor, sample by sample."""
    assert isinstance(operator, PointSensors)
    x = generator(0, 4).standard_normal(operator.model_shape[1:])
    k = np.concatenate([modes(operator.period), -modes(operator.period)[:0:-1]])  # as numpy's FFT has them
    total = np.hypot(k[:, None], k)
    spectrum = np.fft.fft2(x, s=(len(k), len(k))) / len(k) ** 2
    spectrum = spectrum if operator.response is None else operator.response(total) * spectrum
    at_z, at_x = np.exp(1j * operator.points[:, :1] * k), np.exp(1j * operator.points[:, 1:] * k)
    expected = []
    for sample in range(operator.samples):
        field = np.cos(total * sample * operator.time_step) * spectrum
        expected.append(((at_z @ field) * at_x).sum(1).real)
    return operator(torch.from_numpy(x)[None]), torch.from_numpy(np.stack(expected, axis=1))[None]
