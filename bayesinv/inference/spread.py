r"""How much was learnt, and does the spread know the error: z-score against contraction, error against spread.

At each pixel ``z = (x* - mean) / (std sqrt((1 + 1/S) (S - 1) / (S - 3)))``, of variance 1 for an exact Gaussian
posterior at any number S of samples, and ``contraction = 1 - var(x | y) / var(x)``. Contraction near 0 says that the
data, or the posterior, tell nothing; a mean of z off 0 is a bias, an rms of z above 1 a spread too small.

Source: Schad, Betancourt, Vasishth 2021 (arXiv 1904.12765).
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayesinv.inference.accuracy import spread_bins
from bayesinv.inference.calibration import contraction, z_scores
from bayesinv.inference.heldout import HeldOut
from bayesinv.inference.samples import labelled
from bayesinv.inference.scores import model_axes

__all__ = ["error_against_spread", "z_against_contraction"]


def z_against_contraction(held: HeldOut) -> xr.Dataset:
    """Mean and rms over observations of the z-score of each pixel, its contraction, and their standard errors.

    Args:
        held: posterior and held-out pairs.

    Returns:
        ``z_mean``, ``z_rms``, ``contraction`` over the pixels; ``z_mean_error``, ``z_rms_error`` for an exact Gaussian
        posterior, the latter infinite for five samples and fewer; ``z_score`` and ``contraction_each`` over
        ``(observation, pixel)``.
    """
    found = [(one.target, one.values.mean(0), one.values.std(0, ddof=1)) for one in held]
    target, mean, std = (np.stack(column) for column in zip(*found, strict=True))
    z = z_scores(target, mean, std, held.samples)
    prior = target.var(0, ddof=1)
    axes, count, drawn = model_axes(held.forward, held.shape), len(held), held.samples
    return xr.Dataset(
        {
            "z_mean": labelled(z.mean(0), axes, quantity="mean z-score"),
            "z_rms": labelled(np.sqrt((z**2).mean(0)), axes, quantity="rms z-score"),
            "contraction": labelled(contraction(np.sqrt((std**2).mean(0)), prior), axes, quantity="contraction"),
            "z_mean_error": 1 / np.sqrt(count),
            "z_rms_error": np.sqrt((drawn - 2) / (2 * (drawn - 5) * count)) if drawn > 5 else np.inf,
            "z_score": (("observation", "pixel"), z.reshape(count, -1)),
            "contraction_each": (("observation", "pixel"), contraction(std, prior).reshape(count, -1)),
        },
        attrs={"observations": count, "samples": held.samples},
    )


def error_against_spread(held: HeldOut, *, bins: int = 10) -> xr.Dataset:
    """Root mean square error of the posterior mean against the predicted spread, in bins of equal pixel count.

    Args:
        held: posterior and held-out pairs.
        bins: number of bins.

    Returns:
        ``spread``, ``error``, ``ratio`` (below 1 is over-confident) and ``ratio_error`` (a jackknife over
        observations) over ``bin``, from small spread to large.
    """
    rows = [(o.target, o.values.mean(0), o.values[::2].std(0, ddof=1), o.values[1::2].std(0, ddof=1)) for o in held]
    target, mean, even, odd = (np.stack(column) for column in zip(*rows, strict=True))
    found = spread_bins(target, mean, odd, held.samples, bins=bins, by=even)
    return xr.Dataset(
        {
            "spread": ("bin", found.spread),
            "error": ("bin", found.error),
            "ratio": ("bin", found.ratio),
            "ratio_error": ("bin", found.standard_error),
        },
        coords={"bin": np.arange(1, bins + 1)},
        attrs={"observations": len(held), "samples": held.samples},
    )
