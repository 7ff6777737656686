"""Magnetic resonance imaging with one coil: some lines, or some points, of the Fourier transform of the image.

    y(k) = (1/n) sum_{z, x} exp(-i (k_z z + k_x x)) x(z, x) + noise,    k on the mask only

The data hold what was measured and nothing else, so that the likelihood counts it once. The middle of k-space is
always sampled; away from it, lines (Cartesian phase encoding) or points are drawn from a seed, the denser the nearer.

Source: M. Lustig, D. Donoho, J. M. Pauly, Magn. Reson. Med. 58 (2007) 1182, doi:10.1002/mrm.21391.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch

from bayesinv.physics import Axis, ForwardModel, GaussianNoise, Operator
from bayesinv.physics.operator import check_batch
from bayesinv.seeding import generator

__all__ = ["MaskedFourier", "Pattern", "mri", "sampled_places"]

FIELD_OF_VIEW = 220.0  # mm
Pattern = Literal["lines", "points"]


def mri(
    size: int = 32,
    *,
    acceleration: float = 3.0,
    centre: float = 0.1,
    pattern: Pattern = "lines",
    mask_seed: int = 0,
    noise: float | tuple[float, float] = 0.05,
    prior: str = "shepp-logan",
) -> ForwardModel:
    """A real image ``(1, size, size)`` to sampled k-space, complex: ``(1, lines, size)`` or ``(1, points)``.

    Args:
        size: pixels along ``z`` and ``x``, of a field of view of 220 mm.
        acceleration: how many times fewer samples than pixels.
        centre: share of the lines (of each axis, for points) in the middle that is always sampled.
        pattern: ``"lines"`` of constant ``k_z``, or ``"points"``.
        mask_seed: draws which.
        noise: relative level of the noise on each of the real and imaginary parts, or a pair to draw it from.
        prior: name of the prior of images.

    Raises:
        ValueError: if the acceleration is below 1, the middle is no share, or the pattern is unknown.
    """
    index = sampled_places(size, acceleration, centre, pattern, mask_seed)
    k = (np.arange(size) - size // 2) / FIELD_OF_VIEW
    position = FIELD_OF_VIEW / size * np.arange(size)
    if pattern == "lines":
        shape: tuple[int, ...] = (len(index) // size, size)
        data_axes: tuple[Axis, ...] = (Axis("k_z", "1/mm", k[index[::size] // size]), Axis("k_x", "1/mm", k))
    else:
        shape = (len(index),)
        data_axes = (Axis("point", "1", index.astype(np.float64)),)
    return ForwardModel(
        MaskedFourier(size, index, shape),
        GaussianNoise(noise),
        name="mri",
        title=f"Magnetic resonance, {len(index)} of {size * size} points of k-space ({pattern})",
        equation="y(k) = (F x)(k) + noise on the mask of k-space, F unitary",
        model_axes=(Axis("z", "mm", position), Axis("x", "mm", position)),
        data_axes=data_axes,
        quantity="magnetisation",
        unit="a.u.",
        data_quantity="k-space signal",
        data_unit="a.u.",
        prior=prior,
        prior_parameters={"size": size},
        known_answer=_by_sum,
    )


def sampled_places(size: int, acceleration: float, centre: float, pattern: Pattern, seed: int) -> npt.NDArray[np.int64]:
    """The sampled places of centred k-space, ``k_z size + k_x`` with zero frequency at ``size // 2``, increasing.

    Lines (or points) outside of the middle are drawn without replacement, with weights ``(1 - r)^2`` in ``r``, the
    distance from the middle over its greatest, floored at 0.05.

    Example:
        >>> places = sampled_places(32, 4.0, 0.1, "lines", 0)
        >>> len(places), 16 * 32 + 16 in places
        (256, True)
    """
    if not 1 <= acceleration <= size:
        raise ValueError(f"expected an acceleration from 1 to {size}, got {acceleration}")
    if not 0 <= centre <= 1:
        raise ValueError(f"expected a share of the centre from 0 to 1, got {centre}")
    if pattern not in get_args(Pattern):
        raise ValueError(f"expected a pattern of {', '.join(get_args(Pattern))}, got {pattern!r}")
    offset = np.abs(np.arange(size) - size // 2)
    middle = offset <= (centre * size - 1) / 2 if centre * size > 1 else offset == 0
    distance = offset / offset.max()
    if pattern == "points":
        middle, distance = middle[:, None] & middle, np.hypot(distance[:, None], distance) / np.sqrt(2)
    middle, distance = middle.ravel(), distance.ravel()
    number = max(round(middle.size / acceleration), int(middle.sum()))
    weight = np.where(middle, 0.0, np.maximum((1 - distance) ** 2, 0.05))
    extra = number - int(middle.sum())
    chosen = middle.copy()
    if extra:
        chosen[generator(seed, 9).choice(middle.size, extra, replace=False, p=weight / weight.sum())] = True
    places = np.flatnonzero(chosen)
    return places if pattern == "points" else (places[:, None] * size + np.arange(size)).ravel()


class MaskedFourier:
    """The unitary Fourier transform of real images at some places of centred k-space, see :func:`sampled_places`.

    Args:
        size: pixels along each axis.
        index: the places.
        shape: in which the data come, without the channel.
    """

    complex_data = True

    def __init__(self, size: int, index: npt.NDArray[np.int64], shape: tuple[int, ...]) -> None:
        self.size, self.index = size, index
        self.model_shape = (1, size, size)
        self.data_shape = (1, *shape)
        self._places: dict[torch.device, torch.Tensor] = {}

    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        """Complex samples ``(*batch, *data_shape)`` of real images ``(*batch, 1, size, size)``."""
        check_batch(model, self.model_shape, "model")
        if model.is_complex():
            raise ValueError(f"expected real images, got {model.dtype}")
        spectrum = torch.fft.fft2(model, norm="ortho").flatten(-2)
        return spectrum.index_select(-1, self._place(model.device)).reshape(*model.shape[:-3], *self.data_shape)

    def adjoint(self, data: torch.Tensor) -> torch.Tensor:
        """The real part of the inverse transform of the samples, zero elsewhere: ``(*batch, 1, size, size)``."""
        check_batch(data, self.data_shape, "data")
        samples = data if data.is_complex() else torch.complex(data, torch.zeros_like(data))
        batch = data.shape[: data.ndim - len(self.data_shape)]
        zeros = samples.new_zeros(*batch, 1, self.size**2)
        filled = zeros.index_add(-1, self._place(data.device), samples.reshape(*batch, 1, -1))
        return torch.fft.ifft2(filled.unflatten(-1, (self.size, self.size)), norm="ortho").real

    def _place(self, device: torch.device) -> torch.Tensor:
        """The places in the order of the FFT, which has zero frequency first."""
        if device not in self._places:
            rows, columns = ((part - self.size // 2) % self.size for part in divmod(self.index, self.size))
            with torch.inference_mode(False):
                self._places[device] = torch.from_numpy(rows * self.size + columns).to(device)
        return self._places[device]

    def __getstate__(self) -> dict[str, Any]:
        """Without the cached tensors."""
        return self.__dict__ | {"_places": {}}


def _by_sum(operator: Operator) -> tuple[torch.Tensor, torch.Tensor]:
    """The sum of the formula at each sampled wavenumber."""
    assert isinstance(operator, MaskedFourier)
    n = operator.size
    x = generator(0, 10).standard_normal((n, n))
    kz, kx = (2 * np.pi / n * (part - n // 2) for part in divmod(operator.index, n))
    position = np.arange(n)
    along_x = np.exp(-1j * kx[:, None] * position) @ x.T  # (points, z)
    expected = (np.exp(-1j * kz[:, None] * position) * along_x).sum(1) / n
    return operator(torch.from_numpy(x)[None]), torch.from_numpy(expected).reshape(operator.data_shape)
