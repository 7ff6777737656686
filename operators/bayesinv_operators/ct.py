"""X-ray computed tomography, parallel beam: how much of the beam each strip of an image absorbs, from many sides.

    y(a, d) = integral over the strip |p cos a + q sin a - d| <= 1/2 of x(p, q) + noise

with ``p = x`` to the right and ``q = -z`` upwards from the centre, all in mm. ASTRA's strip kernel gives the share of
each pixel in each strip; they are read once into a sparse matrix, so that the adjoint is its exact transpose, and
nothing of ASTRA is left to be copied to another process.

Sources: A. C. Kak, M. Slaney, Principles of Computerized Tomographic Imaging, 1988, doi:10.1137/1.9780898719277; W. van
Aarle et al., Optics Express 24 (2016) 25129, doi:10.1364/OE.24.025129 (the ASTRA toolbox).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bayesinv.physics import Axis, ForwardModel, GaussianNoise, Operator, from_pylops
from bayesinv.seeding import generator

__all__ = ["ParallelBeam", "ct"]

PIXEL = 1.0  # mm

Floats = npt.NDArray[np.float64]


def ct(
    size: int = 32,
    *,
    angles: int = 30,
    view: tuple[float, float] = (0.0, 180.0),
    detectors: int | None = None,
    noise: float | tuple[float, float] = 0.02,
    prior: str = "shepp-logan",
) -> ForwardModel:
    """Absorption ``(1, size, size)`` to a sinogram ``(1, angles, detectors)``; needs ASTRA: pip install 'bayesinv[ct]'.

    Args:
        size: pixels of 1 mm along ``z`` and ``x``.
        angles: number of views, evenly spaced, each in the middle of its part of the range.
        view: first and last angle of the range in degrees; less than 180 apart is a limited view.
        detectors: number of strips of 1 mm, by default as many as the diagonal needs.
        noise: relative noise level, or a pair from which each record draws its own.
        prior: name of the prior of images.

    Raises:
        ImportError: if ASTRA is not installed.
        ValueError: if the numbers are not positive, or the range is none of at most 360 degrees.
    """
    detectors = math.ceil(size * math.sqrt(2)) if detectors is None else detectors
    if min(size, angles, detectors) < 1:
        raise ValueError(f"expected a positive size, angles and detectors, got {size}, {angles}, {detectors}")
    if len(view) != 2 or not 0 < view[1] - view[0] <= 360:
        raise ValueError(f"expected a view as (first, last) angle at most 360 degrees apart, got {view}")
    degrees = view[0] + (np.arange(angles) + 0.5) * (view[1] - view[0]) / angles
    position = PIXEL * (np.arange(size) - (size - 1) / 2)
    return ForwardModel(
        ParallelBeam(size, np.deg2rad(degrees), detectors),
        GaussianNoise(noise),
        name="ct",
        title=f"Computed tomography, {angles} parallel beams from {view[0]:g} to {view[1]:g} degrees",
        equation="y(a, d) = integral of x over the strip (a, d) + noise",
        model_axes=(Axis("z", "mm", position), Axis("x", "mm", position)),
        data_axes=(
            Axis("angle", "degree", degrees),
            Axis("detector", "mm", PIXEL * (np.arange(detectors) - (detectors - 1) / 2)),
        ),
        quantity="absorption",
        unit="1/mm",
        data_quantity="absorbed",
        data_unit="1",
        prior=prior,
        prior_parameters={"size": size},
        dot_tolerance=1e-12,  # a sparse matrix: ASTRA's numbers are of single precision, but the same both ways
        known_answer=_by_footprint,
        known_answer_tolerance=1e-4,  # ASTRA finds the shares in single precision
    )


class ParallelBeam:
    """The sparse matrix of a parallel beam, strips and pixels of the same width, as ASTRA computes it.

    Args:
        size: pixels a side.
        angles: of the beams, in radians.
        detectors: number of strips.
    """

    def __init__(self, size: int, angles: Floats, detectors: int) -> None:
        import pylops

        self.angles = angles
        matrix = _strips(size, angles, detectors).astype(np.float64) * PIXEL
        beam = pylops.MatrixMult(matrix)
        beam.dims, beam.dimsd = (size, size), (len(angles), detectors)
        self.operator = from_pylops(beam)
        self.model_shape, self.data_shape = self.operator.model_shape, self.operator.data_shape

    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        """Sinograms ``(*batch, 1, angles, detectors)`` of images ``(*batch, 1, size, size)``."""
        return self.operator(model)

    def adjoint(self, data: torch.Tensor) -> torch.Tensor:
        """Back projection."""
        return self.operator.adjoint(data)


def _strips(size: int, angles: Floats, detectors: int) -> Any:
    """ASTRA's matrix ``(angles * detectors, size * size)``."""
    try:
        import astra
    except ImportError as error:
        raise ImportError(f"expected the ASTRA toolbox for 'ct', got: {error}; pip install 'bayesinv[ct]'") from error
    volume = astra.create_vol_geom(size, size)
    beams = astra.create_proj_geom("parallel", 1.0, detectors, angles)
    projector = astra.create_projector("strip", beams, volume)
    number = astra.projector.matrix(projector)
    try:
        return astra.matrix.get(number).tocsr()
    finally:
        astra.matrix.delete(number)
        astra.projector.delete(projector)


def _by_footprint(operator: Operator) -> tuple[torch.Tensor, torch.Tensor]:
    """The shadow of a square pixel, a trapezoid, integrated over each strip in closed form."""
    assert isinstance(operator, ParallelBeam)
    size, detectors = operator.model_shape[1], operator.data_shape[2]
    x = generator(0, 13).standard_normal((size, size))
    place = np.arange(size) - (size - 1) / 2
    edges = np.arange(detectors + 1) - detectors / 2
    expected = np.empty((len(operator.angles), detectors))
    for row, angle in enumerate(operator.angles):
        a, b = max(abs(math.cos(angle)), 1e-5) / 2, max(abs(math.sin(angle)), 1e-5) / 2  # half sides of the shadow
        centre = place * math.cos(angle) - place[:, None] * math.sin(angle)
        s = edges[:, None, None] - centre
        ramp = [0.5 * np.maximum(s + sign_a * a + sign_b * b, 0) ** 2 for sign_a, sign_b in _SIGNS]
        before = (ramp[0] - ramp[1] - ramp[2] + ramp[3]) / (4 * a * b)  # share of the pixel on the near side of an edge
        expected[row] = (np.diff(before, axis=0) * x).sum((1, 2)) * PIXEL
    return operator(torch.from_numpy(x)[None]), torch.from_numpy(expected)[None]


_SIGNS = ((1, 1), (1, -1), (-1, 1), (-1, -1))
