r"""Maps of the probability integral transform ``PIT = P(x <= x* | y)`` of each pixel: uniform if it is calibrated.

With S samples ``PIT = (rank + u) / (S + 1)``, ``u`` uniform in [0, 1), is uniform exactly. Its mean over observations
is 1/2 (above: the posterior is too low there), and 12 times its variance about 1/2 is 1 (above: too narrow).

Sources: Dawid 1984 (doi 10.2307/2981683); Gneiting, Balabdaoui, Raftery 2007 (doi 10.1111/j.1467-9868.2007.00587.x).
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayesinv.inference.calibration import ranks
from bayesinv.inference.heldout import HeldOut
from bayesinv.inference.samples import labelled
from bayesinv.inference.scores import model_axes
from bayesinv.seeding import generator, stream

__all__ = ["pit_maps"]


def pit_maps(held: HeldOut, *, seed: int = 0, examples: int = 4) -> xr.Dataset:
    """Maps over pixels of the mean and the dispersion of the PIT, with what an exact posterior would show.

    Args:
        held: posterior and held-out pairs.
        seed: of the uniform numbers between ranks.
        examples: number of observations whose PIT is kept.

    Returns:
        ``mean_map`` and ``dispersion_map`` over the pixels, their standard errors for an exact posterior
        (``mean_error``, ``dispersion_error``), ``example_pit``, and ``density`` over ``bin`` for all pixels.
    """
    rows = []
    for one in held:
        jitter = generator(seed, stream("pit"), one.index).random(one.target.shape)
        rows.append((ranks(one.target, one.values) + jitter) / (held.samples + 1))
    pit = np.stack(rows)
    axes = model_axes(held.forward, held.shape)
    count = len(held)
    density, edges = np.histogram(pit, bins=20, range=(0, 1), density=True)
    return xr.Dataset(
        {
            "mean_map": labelled(pit.mean(0), axes, quantity="mean of the PIT"),
            "dispersion_map": labelled(12 * ((pit - 0.5) ** 2).mean(0), axes, quantity="dispersion of the PIT"),
            "mean_error": np.sqrt(1 / 12 / count),
            "dispersion_error": 12 * np.sqrt((1 / 80 - 1 / 144) / count),
            "example_pit": labelled(pit[:examples], axes, leading=("example",), quantity="PIT"),
            "density": ("bin", density),
        },
        coords={"bin": 0.5 * (edges[1:] + edges[:-1])},
        attrs={"observations": count, "samples": held.samples},
    )
