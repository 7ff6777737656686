"""The exact propagator of sound in the Fourier domain, for every geometry of sensors.

In a homogeneous medium, with zero initial velocity, each wave oscillates at its own frequency (lengths in pixels, c =
1):

    p(z, x, t) = F^-1[ H(|k|) cos(|k| t) F p0 ](z, x)

with the response ``H`` of the transducers, one if they are perfect. The images ``p0`` are real and ``|k|`` is even in
``k_z`` and in ``k_x``, so that sines and cosines of non-negative wavenumbers ``k_j = 2 pi j / L`` do:

    1/L sum_k exp(i k d) = sum_j w_j cos(k_j d),    cos(k (a - b)) = cos(k a) cos(k b) + sin(k a) sin(k b).

Source: B. T. Cox and P. C. Beard, J. Acoust. Soc. Am. 117 (2005) 3616, doi:10.1121/1.1920227.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["PIXEL", "SPEED_OF_SOUND", "Transducer", "cos_sin", "mode_weights", "modes", "transducer"]

PIXEL = 0.1  # mm
SPEED_OF_SOUND = 1.5  # mm/us

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Transducer:
    """A band of frequencies without change of phase: ``H(k) = 2^(-((|k| - centre) / half_width)^2)``.

    Args:
        centre: wavenumber ``2 pi f / c`` of the greatest response, per pixel.
        half_width: distance from there at which half of the amplitude is left (-6 dB).
    """

    centre: float
    half_width: float

    def __call__(self, wavenumber: Floats) -> Floats:
        """The response at wavenumbers ``|k|``."""
        response: Floats = np.exp2(-(((wavenumber - self.centre) / self.half_width) ** 2))
        return response


def transducer(band: tuple[float, float] | None) -> Transducer | None:
    """The transducer of a band ``(centre in MHz, width at -6 dB over the centre)``; none for None.

    Raises:
        ValueError: if the pair is not positive.

    Example:
        >>> H = transducer((3.0, 0.8))
        >>> H(2 * np.pi * np.array([3.0, 3.0 * 1.4]) * PIXEL / SPEED_OF_SOUND).round(3).tolist()
        [1.0, 0.5]
    """
    if band is None:
        return None
    if len(band) != 2 or not all(0 < value < np.inf for value in band):
        raise ValueError(f"expected a band as (centre in MHz, relative width), both positive, got {band}")
    centre = 2 * np.pi * band[0] * PIXEL / SPEED_OF_SOUND
    return Transducer(centre, 0.5 * band[1] * centre)


def modes(period: int) -> Floats:
    """The wavenumbers ``2 pi j / period`` from 0 to that of Nyquist."""
    wavenumbers: Floats = 2 * np.pi * np.arange(period // 2 + 1) / period
    return wavenumbers


def mode_weights(period: int) -> Floats:
    """``w_j``: how many wavenumbers of the full series a mode stands for, over the period.

    Example:
        >>> mode_weights(4).tolist(), float(mode_weights(5).sum())
        ([0.25, 0.5, 0.25], 1.0)
    """
    weights = np.full(period // 2 + 1, 2.0 / period)
    weights[0] = 1.0 / period
    if period % 2 == 0:
        weights[-1] = 1.0 / period
    return weights


def cos_sin(wavenumbers: Floats, position: npt.NDArray[Any]) -> Floats:
    """``(modes, 2, positions)``: cosine and sine of ``k position``."""
    phase = wavenumbers[:, None] * position
    return np.stack([np.cos(phase), np.sin(phase)], axis=1)
