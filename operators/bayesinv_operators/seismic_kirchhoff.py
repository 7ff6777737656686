"""Kirchhoff modelling: what reflectors send back along rays, the linear operator of least-squares migration.

With ``tau(a, p)`` the travel time of a ray from ``a`` at the surface to the pixel ``p``, every pixel sends the wavelet
of a source ``s`` to a receiver ``r`` with two legs of delay,

    y(s, r, t) = w(t) * sum_p x(p) delta(t - tau(s, p) - tau(p, r)) + noise

as in ``pylops.waveeqprocessing.Kirchhoff``: unit amplitudes, a delay between two samples shared linearly. The delays
are gathered once in a sparse matrix, which costs 2.5 ms an application at 64 x 64 with 8 x 32 traces, without numba
(theirs: 15 ms with it, 4 s without it for twice the traces). Its adjoint is Kirchhoff migration.

Speed grows linearly with depth, ``v = v_0 + g z``, for which travel times are known in closed form,

    tau = (1/g) arccosh(1 + g^2 (dx^2 + dz^2) / (2 v_a v_p)).

Sources: G. F. Margrave, M. P. Lamoureux, Numerical Methods of Exploration Seismology, 2019, section 5.2; T. Nemeth,
C. Wu, G. T. Schuster, Geophysics 64 (1999) 208, doi:10.1190/1.1444517 (least-squares migration).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from bayesinv.physics import Axis, ForwardModel, GaussianNoise, Operator, from_pylops
from bayesinv.seeding import generator
from bayesinv_operators.seismic_poststack import ricker

__all__ = ["Kirchhoff", "seismic_kirchhoff", "travel_times"]

SPACING = 10.0  # m
TIME_STEP = 0.006  # s

Floats = npt.NDArray[np.float64]


def seismic_kirchhoff(
    size: int = 32,
    *,
    sources: int | None = None,
    receivers: int | None = None,
    velocity: float = 2000.0,
    gradient: float = 0.6,
    wavelet_frequency: float = 20.0,
    noise: float | tuple[float, float] = 0.1,
) -> ForwardModel:
    """Reflectivity ``(1, size, size)`` to the traces ``(1, sources, receivers, time)`` of a line at the surface.

    Args:
        size: pixels of 10 m along depth ``z``, from one pixel below the surface, and along ``x``.
        sources: how many, evenly over the line, by default ``size / 8``.
        receivers: how many, evenly over the line, by default ``size / 2``.
        velocity: ``v_0`` at the surface in m/s.
        gradient: ``g`` in m/s per m.
        wavelet_frequency: peak of the Ricker wavelet in Hz.
        noise: relative noise level, or a pair from which each record draws its own.

    Raises:
        ValueError: if the size is below 8, a number, the velocity or the frequency is not positive, or the wavelet's
            peak above a quarter of the sampling rate of 167 Hz.
    """
    sources = max(1, size // 8) if sources is None else sources
    receivers = max(1, size // 2) if receivers is None else receivers
    if size < 8 or min(sources, receivers) < 1:
        raise ValueError(f"expected a size from 8, sources and receivers, got {size}, {sources} and {receivers}")
    if not velocity > 0 or not gradient >= 0:
        raise ValueError(f"expected a positive velocity and a gradient of at least 0, got {velocity} and {gradient}")
    if not 0 < wavelet_frequency * TIME_STEP < 0.25:
        raise ValueError(f"expected a wavelet frequency of 0 to {0.25 / TIME_STEP:.0f} Hz, got {wavelet_frequency}")
    x = SPACING * np.arange(size, dtype=np.float64)
    z = x + SPACING
    at = [np.linspace(0.0, x[-1], number) if number > 1 else x[-1:] / 2 for number in (sources, receivers)]
    legs = [travel_times(place, z, x, velocity, gradient) for place in at]
    operator = Kirchhoff(legs[0], legs[1], TIME_STEP, ricker(wavelet_frequency * TIME_STEP))
    return ForwardModel(
        operator,
        GaussianNoise(noise),
        name="seismic-kirchhoff",
        title=f"Kirchhoff modelling, {sources} sources and {receivers} receivers, Ricker of {wavelet_frequency:g} Hz",
        equation="y(s, r, t) = w(t) * sum_p x(p) delta(t - tau(s, p) - tau(p, r)) + noise",
        model_axes=(Axis("z", "m", z), Axis("x", "m", x)),
        data_axes=(
            Axis("source", "m", at[0]),
            Axis("receiver", "m", at[1]),
            Axis("time", "s", TIME_STEP * np.arange(operator.data_shape[-1])),
        ),
        quantity="reflectivity",
        unit="1",
        data_quantity="pressure",
        data_unit="a.u.",
        prior="reflectivity-sections",
        prior_parameters={"size": size},
        known_answer=_by_pylops,
    )


def travel_times(place: Floats, z: Floats, x: Floats, velocity: float, gradient: float) -> Floats:
    """Seconds from each ``(0, place)`` to each pixel ``(z, x)``, ``(places, z, x)``; ``v = velocity + gradient z``.

    Example:
        >>> straight = travel_times(np.zeros(1), np.array([30.0]), np.array([40.0]), 2000.0, 0.0)
        >>> bent = travel_times(np.zeros(1), np.array([30.0]), np.array([40.0]), 2000.0, 1e-3)
        >>> straight.item(), bool(0.99 < bent.item() / straight.item() < 1)
        (0.025, True)
    """
    square = z[:, None] ** 2 + (x - place[:, None, None]) ** 2
    if gradient == 0:
        return np.asarray(np.sqrt(square) / velocity)
    bend = gradient**2 * square / (2 * velocity * (velocity + gradient * z[:, None]))
    return np.asarray(2 * np.arcsinh(np.sqrt(bend / 2)) / gradient)  # arccosh(1 + b), without its cancellation


class Kirchhoff:
    """``y(s, r, t)`` of reflectivity, see the head of the module: a sparse matrix and a convolution in PyLops.

    Args:
        from_sources: travel times ``(sources, z, x)`` in seconds.
        from_receivers: travel times ``(receivers, z, x)`` in seconds.
        time_step: of the traces, in seconds.
        wavelet: of odd length, its middle at time zero.
    """

    def __init__(self, from_sources: Floats, from_receivers: Floats, time_step: float, wavelet: Floats) -> None:
        import pylops
        import scipy.sparse

        self.legs, self.time_step, self.wavelet = (from_sources, from_receivers), time_step, wavelet
        delays = (from_sources[:, None] + from_receivers).reshape(-1, from_sources[0].size) / time_step
        samples = int(delays.max()) + 3 + len(wavelet) // 2
        shape = (len(from_sources), len(from_receivers), samples)
        first = delays.astype(np.int64)
        share = delays - first
        rows = np.arange(len(delays))[:, None] * samples + first
        columns = np.broadcast_to(np.arange(delays.shape[1]), delays.shape)
        spread = scipy.sparse.csr_array(
            (
                np.concatenate([(1 - share).ravel(), share.ravel()]),
                (np.concatenate([rows.ravel(), rows.ravel() + 1]), np.concatenate([columns.ravel()] * 2)),
            ),
            shape=(len(delays) * samples, delays.shape[1]),
        )
        rays = pylops.MatrixMult(spread)
        rays.dims, rays.dimsd = from_sources.shape[1:], shape
        self.operator = from_pylops(pylops.signalprocessing.Convolve1D(shape, wavelet, len(wavelet) // 2) @ rays)
        self.model_shape, self.data_shape = self.operator.model_shape, self.operator.data_shape

    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        """Traces ``(*batch, 1, sources, receivers, time)`` of reflectivity ``(*batch, 1, z, x)``."""
        return self.operator(model)

    def adjoint(self, data: torch.Tensor) -> torch.Tensor:
        """Kirchhoff migration of the traces."""
        return self.operator.adjoint(data)


def _by_pylops(operator: Operator) -> tuple[torch.Tensor, torch.Tensor]:
    """``pylops.waveeqprocessing.Kirchhoff`` with the same travel times."""
    import warnings

    from pylops.waveeqprocessing import Kirchhoff as Theirs

    assert isinstance(operator, Kirchhoff)
    _, sources, receivers, samples = operator.data_shape
    _, depth, width = operator.model_shape
    tables = tuple(leg.transpose(2, 1, 0).reshape(width * depth, -1) for leg in operator.legs)  # x is their first axis
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # they announce a change of the next version
        theirs = Theirs(
            np.arange(depth), np.arange(width), operator.time_step * np.arange(samples), np.zeros((2, sources)),
            np.zeros((2, receivers)), 1.0, operator.wavelet, len(operator.wavelet) // 2, mode="byot", trav=tables,
        )  # fmt: skip
    x = generator(0, 12).standard_normal((depth, width))
    expected = np.asarray(theirs.matvec(x.T.ravel())).reshape(operator.data_shape)
    return operator(torch.from_numpy(x)[None]), torch.from_numpy(expected)
