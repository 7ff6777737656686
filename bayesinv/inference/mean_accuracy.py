r"""How good is the posterior mean, and how many samples does it need?

The error of a mean of S samples is ``E |mean_S - x*|^2 = |bias|^2 + (1 + 1/S) tr Gamma`` for an exact posterior: the
curve over S tells when more samples stop to help.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayesinv.inference.accuracy import psnr, snr, ssim
from bayesinv.inference.heldout import HeldOut

__all__ = ["mean_accuracy", "samples_needed"]

Array: TypeAlias = NDArray[Any]


def mean_accuracy(held: HeldOut, *, peak: float | None = None) -> xr.Dataset:
    """PSNR, SNR, SSIM and RMSE of the posterior mean and, where the posterior has one, of the classical baseline.

    Args:
        held: posterior and held-out pairs.
        peak: peak value of PSNR and SSIM; ``None`` takes the range of each true image.

    Returns:
        ``psnr``, ``snr`` (dB), ``ssim``, ``rmse`` over ``(estimate, observation)``.
    """
    means = np.stack([one.values.mean(0) for one in held])
    truth = held.x.cpu().numpy()
    estimates = {"posterior mean": means}
    baseline = getattr(held.posterior, "baseline", None)
    if baseline is not None:
        estimates["baseline"] = np.stack([baseline(y).cpu().numpy() for y in held.y])
    tests: dict[str, Callable[[Array], Array]] = {
        "psnr": lambda x: psnr(truth, x, peak=peak),
        "snr": lambda x: snr(truth, x),
    }
    tests["rmse"] = lambda x: np.sqrt(((x - truth) ** 2).reshape(len(truth), -1).mean(1))
    if truth.ndim > 2:
        tests["ssim"] = lambda x: ssim(truth, x, peak=peak)
    return xr.Dataset(
        {
            name: (("estimate", "observation"), np.stack([test(image) for image in estimates.values()]))
            for name, test in tests.items()
        },
        coords={"estimate": list(estimates)},
        attrs={"observations": len(held), "samples": held.samples},
    )


def samples_needed(held: HeldOut, *, counts: Sequence[int] | None = None) -> xr.Dataset:
    """Error of the mean of the first S samples, for growing S, beside what an exact posterior would show.

    Args:
        held: posterior and held-out pairs.
        counts: numbers of samples; powers of two up to all by default.

    Returns:
        ``rmse`` and its standard error ``rmse_error`` over ``count``, and ``expected``: ``sqrt(v (1 + 1/S))`` with
        ``v`` the mean posterior variance.

    Raises:
        ValueError: for a count out of range.
    """
    chosen = list(counts or [2**k for k in range(held.samples.bit_length())])
    if min(chosen) < 1 or max(chosen) > held.samples:
        raise ValueError(f"expected counts of 1 to {held.samples} samples, got {chosen}")
    squares, variance = [], []
    for one in held:
        squares.append([((one.values[:count].mean(0) - one.target) ** 2).mean() for count in chosen])
        variance.append(one.values.var(0, ddof=1).mean())
    found = np.array(squares)
    rmse = np.sqrt(found.mean(0))
    return xr.Dataset(
        {
            "rmse": ("count", rmse),
            "rmse_error": ("count", found.std(0, ddof=1) / np.sqrt(len(held)) / (2 * rmse)),
            "expected": ("count", np.sqrt(np.mean(variance) * (1 + 1 / np.array(chosen)))),
        },
        coords={"count": chosen},
        attrs={"observations": len(held), "samples": held.samples},
    )
