r"""Linear-Gaussian problems with exact posteriors, as the benchmarks and the tests use them.

Matern-3/2 fields of unit variance and a nugget of 1e-3; noise of a known level, a fraction of the rms of clean data.
``deblur``: Gaussian blur of 1.5 pixels, cut at 3 widths, 5 %; ``inpaint``: a quarter of the pixels, 10 %;
``poststack``: Ricker wavelet of 35 Hz at 4 ms (9 taps, 5 at 8 pixels), 5 %, lengths 2 x 8; ``photoacoustic``: a
line of sensors above (limited view), 5 %.
"""

from __future__ import annotations

import numpy as np
import pylops
import torch

from bayesinv.inference import Problem
from bayesinv.inference.exact import with_known_noise
from bayesinv.physics import ForwardModel, GaussianNoise, plugins
from bayesinv_datasets.matern import matern
from bayesinv_datasets.mixtures import two_modes

# E log p(x | y) at 16 x 16 in nats, from an independent computation
KNOWN = {"deblur": 152.82, "poststack": 325.10, "photoacoustic": 422.76, "inpaint": 137.10}
NAMES = tuple(KNOWN)


def exact_problem(name: str, *, size: int = 16) -> Problem:
    """A problem by its name, one of `NAMES`, or ``"two-modes"``: post-stack with two equal modes in its null space."""
    level = 0.1 if name == "inpaint" else 0.05
    if name == "two-modes":
        prior = two_modes(size, separation=6.0)
        return Problem(prior, with_known_noise(matern(size, lengths=(2.0, 8.0)), _forward("poststack", size), level))
    prior = matern(size, lengths=(2.0, 8.0) if name == "poststack" else (4.0, 4.0))
    return Problem(prior, with_known_noise(prior, _forward(name, size), level))


def _forward(name: str, size: int) -> ForwardModel:
    if name == "photoacoustic":
        return plugins.load("photoacoustic-line")(size=size)
    if name == "deblur":
        row = np.exp(-0.5 * (np.arange(-4, 5) / 1.5) ** 2)
        kernel = np.outer(row, row) / row.sum() ** 2
        operator = pylops.signalprocessing.Convolve2D((size, size), h=kernel, offset=(4, 4))
    elif name == "inpaint":
        kept = np.random.default_rng(0).choice(size * size, size * size // 4, replace=False)
        operator = pylops.Restriction(size * size, kept)
    elif name == "poststack":
        half = 5 if size > 8 else 3  # 9 or 5 taps: a wavelet must not be longer than the image
        wavelet, _, _ = pylops.utils.wavelets.ricker(np.arange(half) * 0.004, 35)
        operator = pylops.avo.poststack.PoststackLinearModelling(wavelet, nt0=size, spatdims=size)
    else:
        raise ValueError(f"expected a problem among {', '.join((*NAMES, 'two-modes'))}, got {name!r}")
    return ForwardModel(_Dense(operator.todense(), size), GaussianNoise(1.0, relative=False), name=name)


class _Dense:
    """A matrix on flattened images, the fastest for so small a problem."""

    def __init__(self, matrix: np.ndarray, size: int) -> None:
        self.matrix = torch.from_numpy(np.ascontiguousarray(matrix, dtype=np.float64))
        self.model_shape = (1, size, size)
        self.data_shape = (1, size, size) if len(matrix) == size * size else (1, len(matrix))

    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        data = model.flatten(-3) @ self.matrix.to(model).T
        return data.reshape(*data.shape[:-1], *self.data_shape)

    def adjoint(self, data: torch.Tensor) -> torch.Tensor:
        model = data.flatten(-len(self.data_shape)) @ self.matrix.to(data)
        return model.reshape(*model.shape[:-1], *self.model_shape)
