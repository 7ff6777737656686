"""Post-stack seismic: each trace is a wavelet convolved with the reflectivity, half the derivative of log-impedance.

    y(t, x) = w(t) * (1/2) d/dt ln I(t, x) + noise

in two-way time ``t``. The model is the log-impedance less its smooth background, which the band-limited data do not
see; above and below its window the section goes on with its first and last value. The matrix of one trace comes from
``pylops.avo.poststack.PoststackLinearModelling`` (centred derivative; the half goes with the wavelet); one product then
serves every trace.

Source: B. H. Russell, Introduction to Seismic Inversion Methods, SEG, 1988, doi:10.1190/1.9781560802303.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch

from bayesinv.physics import Axis, ForwardModel, GaussianNoise, Operator
from bayesinv.seeding import generator
from bayesinv_operators.separable import Separable

__all__ = ["ricker", "seismic_poststack"]

TIME_STEP = 0.004  # s
TRACE_SPACING = 25.0  # m


def seismic_poststack(
    size: int = 32, *, wavelet_frequency: float = 0.1, noise: float | tuple[float, float] = 0.05
) -> ForwardModel:
    """Log-impedance about its background ``(1, size, size)`` to a post-stack section ``(1, size, size)``.

    Args:
        size: samples of 4 ms in two-way time, and traces at 25 m.
        wavelet_frequency: peak of the Ricker wavelet in cycles per sample; 0.1 is 25 Hz at 4 ms.
        noise: relative noise level, or a pair from which each record draws its own.

    Raises:
        ValueError: if the frequency is not between 0 and 0.5, or the size below 8.
    """
    if not 0 < wavelet_frequency < 0.5:
        raise ValueError(f"expected a wavelet frequency between 0 and 0.5 cycles per sample, got {wavelet_frequency}")
    if size < 8:
        raise ValueError(f"expected a size of at least 8, got {size}")
    from pylops.avo.poststack import PoststackLinearModelling

    wavelet = ricker(wavelet_frequency)
    beyond = len(wavelet) // 2 + 1
    longer = np.asarray(PoststackLinearModelling(0.5 * wavelet, nt0=size + 2 * beyond).todense())
    matrix = longer[beyond:-beyond] @ np.pad(np.eye(size), ((beyond, beyond), (0, 0)), mode="edge")
    axes = (
        Axis("two_way_time", "s", TIME_STEP * np.arange(size)),
        Axis("x", "m", TRACE_SPACING * np.arange(size)),
    )
    return ForwardModel(
        PostStack(matrix, size, wavelet),
        GaussianNoise(noise),
        name="seismic-poststack",
        title=f"Post-stack seismic section, Ricker wavelet of {wavelet_frequency / TIME_STEP:.3g} Hz",
        equation="y(t, x) = w(t) * (1/2) d/dt x(t, x) + noise,  x = ln(impedance / background)",
        model_axes=axes,
        data_axes=axes,
        quantity="log-impedance about its background",
        unit="1",
        data_quantity="reflection amplitude",
        data_unit="1",
        prior="layered-sections",
        prior_parameters={"size": size},
        mirror=("x",),
        known_answer=_by_convolution,
    )


def ricker(frequency: float) -> npt.NDArray[np.float64]:
    """The Ricker wavelet ``(1 - 2 a) exp(-a)``, ``a = (pi f t)^2``, of odd length, ``f`` in cycles per sample.

    It is cut at ``|t| = 1.6 / f``, where it has fallen below 1e-9.

    Example:
        >>> float(ricker(0.1).max()), len(ricker(0.1))
        (1.0, 33)
    """
    half = math.ceil(1.6 / frequency)
    a = (np.pi * frequency * np.arange(-half, half + 1)) ** 2
    wavelet: npt.NDArray[np.float64] = (1 - 2 * a) * np.exp(-a)
    return wavelet


class PostStack(Separable):
    """The matrix of a trace on every trace; it remembers its wavelet."""

    def __init__(self, matrix: npt.NDArray[np.float64], traces: int, wavelet: npt.NDArray[np.float64]) -> None:
        super().__init__(matrix, traces)
        self.wavelet = wavelet


def _by_convolution(operator: Operator) -> tuple[torch.Tensor, torch.Tensor]:
    """The formula trace by trace, with numpy.convolve."""
    assert isinstance(operator, PostStack)
    x = generator(0, 2).standard_normal(operator.model_shape[1:])
    half = len(operator.wavelet) // 2
    going_on = np.pad(x, ((half + 1, half + 1), (0, 0)), mode="edge")
    reflectivity = 0.5 * (going_on[2:] - going_on[:-2]) / 2
    traces = [np.convolve(trace, operator.wavelet, mode="valid") for trace in reflectivity.T]
    return operator(torch.from_numpy(x)[None]), torch.from_numpy(np.stack(traces, axis=1))[None]
