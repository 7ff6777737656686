"""Pre-stack seismic (AVO): how reflections change with angle tells P velocity, S velocity and density apart.

    y(a, t, x) = w(t) * [ c_1(a) d/dt ln Vp + c_2(a) d/dt ln Vs + c_3(a) d/dt ln rho ](t, x) + noise

with the linearised coefficients of Aki and Richards at the incidence angle ``a``, ``g = Vs/Vp`` of the background,

    c_1 = 1 / (2 cos^2 a),    c_2 = -4 g^2 sin^2 a,    c_3 = 1/2 - 2 g^2 sin^2 a.

The three parameters are the channels of the model, less their smooth background; the angles are the channels of the
data. Above and below its window the section goes on with its first and last value. The matrix of a trace comes from
``pylops.avo.prestack.PrestackLinearModelling``; one product then serves every trace. From a few angles density is seen
badly and the three trade off against each other: their posterior is correlated.

Source: K. Aki, P. G. Richards, Quantitative Seismology, 1980; A. Buland, H. Omre, Geophysics 68 (2003) 185,
doi:10.1190/1.1543206 (Bayesian linearised AVO inversion).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bayesinv.physics import Axis, ForwardModel, GaussianNoise, Operator
from bayesinv.physics.operator import check_batch
from bayesinv.seeding import generator
from bayesinv_operators.seismic_poststack import TIME_STEP, TRACE_SPACING, ricker

__all__ = ["PreStack", "seismic_prestack"]


def seismic_prestack(
    size: int = 32,
    *,
    angles: Sequence[float] = (5.0, 15.0, 25.0, 35.0),
    vs_over_vp: float = 0.5,
    wavelet_frequency: float = 0.1,
    noise: float | tuple[float, float] = 0.05,
) -> ForwardModel:
    """``ln Vp, ln Vs, ln rho`` about their background ``(3, size, size)`` to angle gathers ``(angles, size, size)``.

    Args:
        size: samples of 4 ms in two-way time, and traces at 25 m.
        angles: of incidence, in degrees.
        vs_over_vp: ``g`` of the background.
        wavelet_frequency: peak of the Ricker wavelet in cycles per sample; 0.1 is 25 Hz at 4 ms.
        noise: relative noise level, or a pair from which each record draws its own.

    Raises:
        ValueError: if the angles are not in 0 to 60 degrees, the ratio or the frequency out of range, or size below 8.
    """
    if not angles or not all(0 <= angle <= 60 for angle in angles):
        raise ValueError(f"expected one or more angles of 0 to 60 degrees, got {list(angles)}")
    if not 0 < vs_over_vp < 1:
        raise ValueError(f"expected a ratio of Vs to Vp between 0 and 1, got {vs_over_vp}")
    if not 0 < wavelet_frequency < 0.5:
        raise ValueError(f"expected a wavelet frequency between 0 and 0.5 cycles per sample, got {wavelet_frequency}")
    if size < 8:
        raise ValueError(f"expected a size of at least 8, got {size}")
    axes = (
        Axis("two_way_time", "s", TIME_STEP * np.arange(size)),
        Axis("x", "m", TRACE_SPACING * np.arange(size)),
    )
    return ForwardModel(
        PreStack(size, tuple(float(angle) for angle in angles), vs_over_vp, ricker(wavelet_frequency)),
        GaussianNoise(noise),
        name="seismic-prestack",
        title=f"Pre-stack seismic at {', '.join(f'{angle:g}' for angle in angles)} degrees",
        equation="y(a, t, x) = w(t) * d/dt [c_1(a) ln Vp + c_2(a) ln Vs + c_3(a) ln rho] + noise",
        model_axes=axes,
        data_axes=axes,
        quantity="ln Vp, ln Vs, ln density about their background",
        unit="1",
        data_quantity="reflection amplitude at each angle",
        data_unit="1",
        prior="elastic-sections",
        prior_parameters={"size": size},
        mirror=("x",),
        known_answer=_by_convolution,
    )


class PreStack:
    """One matrix ``(angles * time, 3 * time)`` on every trace; it remembers wavelet and angles."""

    def __init__(
        self, size: int, angles: tuple[float, ...], vs_over_vp: float, wavelet: npt.NDArray[np.float64]
    ) -> None:
        from pylops.avo.prestack import PrestackLinearModelling

        beyond = len(wavelet) // 2 + 1
        longer = size + 2 * beyond
        operator = PrestackLinearModelling(wavelet, np.array(angles), vsvp=vs_over_vp, nt0=longer)
        matrix = np.asarray(operator.todense()).reshape(longer, len(angles), longer, 3)[beyond:-beyond]
        going_on = np.pad(np.eye(size), ((beyond, beyond), (0, 0)), mode="edge")
        self.matrix = np.einsum("tasc,sb->atcb", matrix, going_on).reshape(len(angles) * size, 3 * size)
        self.angles, self.vs_over_vp, self.wavelet = angles, vs_over_vp, wavelet
        self.model_shape = (3, size, size)
        self.data_shape = (len(angles), size, size)
        self._matrices: dict[tuple[torch.dtype, torch.device], torch.Tensor] = {}

    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        """Gathers ``(*batch, angles, time, x)`` of ``(*batch, 3, time, x)``."""
        check_batch(model, self.model_shape, "model")
        data = self._tensor(model) @ model.flatten(-3, -2)
        return data.reshape(*model.shape[:-3], *self.data_shape)

    def adjoint(self, data: torch.Tensor) -> torch.Tensor:
        """The transpose, on every trace."""
        check_batch(data, self.data_shape, "data")
        model = self._tensor(data).T @ data.flatten(-3, -2)
        return model.reshape(*data.shape[:-3], *self.model_shape)

    def _tensor(self, like: torch.Tensor) -> torch.Tensor:
        key = (like.dtype, like.device)
        if key not in self._matrices:
            with torch.inference_mode(False), torch.no_grad():
                self._matrices[key] = torch.from_numpy(self.matrix).to(like.device, like.dtype)
        return self._matrices[key]

    def __getstate__(self) -> dict[str, Any]:
        """Without the cached tensors."""
        return self.__dict__ | {"_matrices": {}}


def _by_convolution(operator: Operator) -> tuple[torch.Tensor, torch.Tensor]:
    """The formula trace by trace, with numpy.convolve."""
    assert isinstance(operator, PreStack)
    x = generator(0, 11).standard_normal(operator.model_shape)
    half = len(operator.wavelet) // 2
    going_on = np.pad(x, ((0, 0), (half + 1, half + 1), (0, 0)), mode="edge")
    slope = (going_on[:, 2:] - going_on[:, :-2]) / 2
    expected = np.empty(operator.data_shape)
    for channel, angle in enumerate(np.deg2rad(operator.angles)):
        share = 2 * (operator.vs_over_vp * np.sin(angle)) ** 2
        reflectivity = np.tensordot([0.5 / np.cos(angle) ** 2, -2 * share, 0.5 - share], slope, axes=1)
        for trace in range(x.shape[2]):
            expected[channel, :, trace] = np.convolve(reflectivity[:, trace], operator.wavelet, mode="valid")
    return operator(torch.from_numpy(x)), torch.from_numpy(expected)
