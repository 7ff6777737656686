"""A photograph from a moving train: ``y(z, x) = mean over k of x(z, x + k) + noise``."""

import numpy as np
import pylops
import torch
from scipy.ndimage import uniform_filter1d

from bayesinv.physics import ForwardModel, GaussianNoise, from_pylops


def motion_blur(size: int = 32, *, width: int = 7, noise: float = 0.05) -> ForwardModel:
    """Blur along x, as from a moving train."""
    if width % 2 == 0:
        raise ValueError(f"expected an odd width, got {width}")
    kernel = np.full(width, 1 / width)
    blur = pylops.signalprocessing.Convolve1D((size, size), h=kernel, offset=width // 2, axis=1, dtype="float64")

    def by_scipy(operator):
        """The running mean of ``scipy.ndimage``."""
        x = np.random.default_rng(0).standard_normal((1, size, size))
        expected = uniform_filter1d(x, width, axis=2, mode="constant")
        return operator(torch.from_numpy(x)), torch.from_numpy(expected)

    return ForwardModel(
        from_pylops(blur),
        GaussianNoise(noise),  # relative to the rms of each record; (0.01, 0.1) draws a level for each
        name="motion-blur",
        title=f"Motion blur of {width} pixels",
        equation="y(z, x) = mean_k x(z, x + k) + noise",
        quantity="brightness",
        unit="a.u.",
        prior="vessels",
        prior_parameters={"size": size},
        known_answer=by_scipy,
    )
