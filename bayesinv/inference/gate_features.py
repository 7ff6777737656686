r"""Features of a record for the gate, and the distortions that tell in which direction wrong data lie.

Most are logarithms: the rms of the record; its residual ``|y - A x_k|^2 / (sigma^2 m)`` after 1, 4 and 12 steps of CGLS
(the data misfit after a classical inference); the shares of energy in half-octave bands of the cosine transform along
each axis, of the record and of the last residual. Energies do not tell a record from its negative: of data with a space
the skewness does, and that of the classical image, and vectors are features themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bayesinv.physics import ForwardModel, cgls_iterates
from bayesinv.seeding import generator, stream

__all__ = ["data_features", "distortions"]

_STEPS = (1, 4, 12)
_FLOOR = 1e-12
_STRETCH = 1.1
_SMOOTH = 0.7  # pixels
_LOUDER = 1.4


def data_features(forward: ForwardModel, y: Tensor, sigma: Tensor) -> NDArray[np.float64]:
    """The features ``(batch, k)`` of data ``(batch, *data_shape)`` with noise levels ``(batch,)``."""
    with torch.no_grad():
        found = [_log(_real(y).square().mean(1, keepdim=True).sqrt()), _bands(y)]
        found.append(_skewness(y) if y.ndim > 2 else _real(y))
        if hasattr(forward.operator, "adjoint"):
            iterates = cgls_iterates(forward.operator, y, _STEPS)
            residuals = [y - forward.operator(x) for x in iterates]
            power = torch.stack([_real(part).square().mean(1) for part in residuals], 1)
            level = sigma.to(power).reshape(-1, 1)
            found += [_log(power / level**2), _bands(residuals[-1])]
            if iterates[1].ndim > 2:
                found.append(_skewness(iterates[1]))
    return np.concatenate([part.double().cpu().numpy() for part in found], axis=1)


def distortions(forward: ForwardModel, x: Tensor, y: Tensor, sigma: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Data as mildly wrong physics or another prior would give them, one kind after the other, and their noise levels.

    Clean data stretched and squeezed by 10 % along each axis; those of images smoothed and sharpened by a Gaussian of
    0.7 pixels, within the range of the images, or with their pixels shuffled, each with the noise as it was, over the
    rms of the clean data where the noise is relative; then the data with 1.4 times the noise, and with their signs
    reversed.

    Args:
        forward: operator and noise.
        x: images ``(batch, *model_shape)``.
        y: their data ``(batch, *data_shape)``.
        sigma: noise levels ``(batch,)``.
    """
    with torch.no_grad():
        clean = forward.operator(x)
        noise = y - clean
        for wrong in [*_stretched(clean), *(forward.operator(image) for image in _other_images(x))]:
            gain = torch.ones_like(sigma)
            if getattr(forward.noise, "relative", False):
                gain = _rms(wrong) / _rms(clean).clamp_min(_FLOOR)
            yield wrong + gain.view(-1, *[1] * (y.ndim - 1)) * noise, gain * sigma
        yield clean + _LOUDER * noise, sigma
        yield -y, sigma


def _stretched(clean: Tensor) -> Iterator[Tensor]:
    """About the middle of each axis, either way."""
    from scipy.ndimage import affine_transform

    values = clean.cpu().numpy()
    for axis in range(2, values.ndim):
        middle = 0.5 * (values.shape[axis] - 1)
        for factor in (_STRETCH, 1 / _STRETCH):
            scale, offset = np.ones(values.ndim), np.zeros(values.ndim)
            scale[axis], offset[axis] = 1 / factor, middle * (1 - 1 / factor)
            yield torch.from_numpy(affine_transform(values, scale, offset, order=1, mode="nearest")).to(clean)


def _other_images(x: Tensor) -> Iterator[Tensor]:
    """Smoothed, sharpened, shuffled; none of vectors, which have no neighbours."""
    from scipy.ndimage import gaussian_filter

    if x.ndim < 3:
        return
    smooth = torch.from_numpy(gaussian_filter(x.cpu().numpy(), (0, 0, *[_SMOOTH] * (x.ndim - 2)))).to(x)
    yield smooth
    yield (2 * x - smooth).clamp(x.min(), x.max())
    order = torch.from_numpy(generator(0, stream("shuffled pixels")).permutation(x[0, 0].numel())).to(x.device)
    yield x.flatten(2)[:, :, order].view_as(x)


def _rms(data: Tensor) -> Tensor:
    return _real(data).square().mean(1).sqrt()


def _skewness(data: Tensor) -> Tensor:
    """``mean (v - mean v)^3 / sd^3``, ``(batch, 1)``; of complex data that of both parts together."""
    values = _real(data).double()
    away = values - values.mean(1, keepdim=True)
    return away.pow(3).mean(1, keepdim=True) / away.square().mean(1, keepdim=True).clamp_min(_FLOOR).pow(1.5)


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
