r"""Features of a record for the gate, and the distortions that tell in which direction wrong data lie.

All are logarithms: the rms of the record; its residual ``|y - A x_k|^2 / (sigma^2 m)`` after 1, 4 and 12 steps of CGLS
(the data misfit after a classical inference); the shares of energy in half-octave bands of the cosine transform along
each axis, of the record and of the last residual.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bayesinv.physics import ForwardModel, cgls_iterates

__all__ = ["data_features", "distortions"]

_STEPS = (1, 4, 12)
_FLOOR = 1e-12
_STRETCH = 1.1
_SMOOTH = 0.7  # samples
_LOUDER = 1.4


def data_features(forward: ForwardModel, y: Tensor, sigma: Tensor) -> NDArray[np.float64]:
    """The features ``(batch, k)`` of data ``(batch, *data_shape)`` with noise levels ``(batch,)``; all logarithms."""
    with torch.no_grad():
        found = [_log(_real(y).square().mean(1, keepdim=True).sqrt()), _bands(y)]
        if hasattr(forward.operator, "adjoint"):
            iterates = cgls_iterates(forward.operator, y, _STEPS)
            residuals = [y - forward.operator(x) for x in iterates]
            power = torch.stack([_real(part).square().mean(1) for part in residuals], 1)
            level = sigma.to(power).reshape(-1, 1)
            found += [_log(power / level**2), _bands(residuals[-1])]
    return np.concatenate([part.double().cpu().numpy() for part in found], axis=1)


def distortions(clean: Tensor, noise: Tensor) -> Iterator[Tensor]:
    """Records ``(batch, *data_shape)`` as mildly wrong physics would give them, one kind after the other.

    Clean data stretched and squeezed by 10 % along each axis, smoothed and sharpened by a Gaussian of 0.7 samples, each
    with the noise as it was; then clean data with 1.4 times the noise.
    """
    from scipy.fft import dctn, idctn
    from scipy.ndimage import affine_transform

    parts = [clean.real, clean.imag] if clean.is_complex() else [clean]
    values = [part.cpu().numpy() for part in parts]

    def back(arrays: list[NDArray[Any]]) -> Tensor:
        tensors = [torch.from_numpy(np.ascontiguousarray(array)).to(parts[0]) for array in arrays]
        return (torch.complex(*tensors) if clean.is_complex() else tensors[0]) + noise

    axes = tuple(range(2, values[0].ndim))
    for axis in axes:
        middle = 0.5 * (values[0].shape[axis] - 1)
        for factor in (_STRETCH, 1 / _STRETCH):
            scale, offset = np.ones(values[0].ndim), np.zeros(values[0].ndim)
            scale[axis], offset[axis] = 1 / factor, middle * (1 - 1 / factor)
            yield back([affine_transform(value, scale, offset, order=1, mode="nearest") for value in values])
    if axes:
        square = np.zeros(values[0].shape[2:])
        for number, size in enumerate(values[0].shape[2:]):
            along = (np.pi * np.arange(size) / size) ** 2
            square = square + along.reshape([-1 if k == number else 1 for k in range(len(axes))])
        for sign in (-1, 1):
            gain = np.exp(np.minimum(sign * 0.5 * _SMOOTH**2 * square, 2.0))
            yield back(
                [idctn(dctn(value, axes=axes, norm="ortho") * gain, axes=axes, norm="ortho") for value in values]
            )
    yield clean + _LOUDER * noise


def _bands(data: Tensor) -> Tensor:
    """Log shares of energy of half-octave bands of the cosine transform, axis by axis, ``(batch, bands)``."""
    from scipy.fft import dctn

    parts = torch.view_as_real(data).movedim(-1, 1).flatten(1, 2) if data.is_complex() else data
    values = parts.double().cpu().numpy()
    axes = tuple(range(2, values.ndim))
    if not axes:
        return _log(parts.double().square() / parts.double().square().sum(1, keepdim=True).clamp_min(_FLOOR))
    power = np.asarray(dctn(values, axes=axes, norm="ortho")) ** 2
    shares = []
    for axis in axes:
        along = power.sum(tuple(a for a in range(1, values.ndim) if a != axis))
        along = along / np.maximum(along.sum(1, keepdims=True), _FLOOR)
        edges = _half_octaves(along.shape[1])
        shares += [along[:, low:high].sum(1) for low, high in pairwise(edges)]
    return _log(torch.from_numpy(np.stack(shares, 1)))


def _half_octaves(size: int) -> list[int]:
    edges = {0, 1, size} | {round(2 ** (k / 2)) for k in range(1, 2 * size.bit_length() + 2)}
    return sorted(edge for edge in edges if edge <= size)


def _real(data: Tensor) -> Tensor:
    return (torch.view_as_real(data) if data.is_complex() else data).flatten(1)


def _log(values: Tensor) -> Tensor:
    return torch.log(values.double().clamp_min(_FLOOR))
