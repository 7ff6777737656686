r"""Posterior predictive checks in data space: would data simulated from the samples look like those observed?

For each sample ``x_s`` a replicate ``y_s = A x_s + noise`` is simulated at the noise level of the record, and
``T(y_s)`` compared with ``T(y)``: the p-value is the share of replicates at or above. It uses the data twice, so it
crowds about 1/2 even for an exact posterior: small and large values accuse, middling ones do not acquit. The misfit of
the samples against that of the target, ``|y - A x|^2 / (sigma^2 m)``, is an exact test: its rank is uniform.

Source: Gelman, Meng, Stern 1996 (Statistica Sinica 6, 733).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayesinv.inference.calibration import ranks
from bayesinv.inference.heldout import HeldOut, Observation
from bayesinv.physics import GaussianNoise, Noise, PoissonNoise, SignalDependentNoise

__all__ = ["STATISTICS", "predictive_check"]

Array: TypeAlias = NDArray[Any]


def _rms(data: Array) -> Array:
    return np.asarray(np.sqrt((data**2).mean(1)))


def _largest(data: Array) -> Array:
    return np.asarray(np.abs(data).max(1))


def _roughness(data: Array) -> Array:
    """Rms of differences of neighbours over the rms: what is white is rough, what is smooth is not."""
    return np.asarray(np.sqrt((np.diff(data, axis=1) ** 2).mean(1)) / _rms(data))


STATISTICS: dict[str, Callable[[Array], Array]] = {"rms": _rms, "largest": _largest, "roughness": _roughness}


def predictive_check(
    held: HeldOut, *, statistics: Mapping[str, Callable[[Array], Array]] | None = None, examples: int = 2
) -> xr.Dataset:
    """Replicated data against the observed ones, and the data misfit of samples against that of the target.

    Args:
        held: posterior and held-out pairs.
        statistics: from rows of real numbers ``(n, m)`` to ``(n,)``: ``rms``, ``largest``, ``roughness`` by default.
        examples: number of observations whose data and replicates are kept.

    Returns:
        ``p_value`` over ``(statistic, observation)``; ``chi2_samples``, ``chi2_target``, ``misfit_rank`` over
        ``observation``; ``chi2_ratio`` (mean of samples over mean of targets, 1 if exact) with ``chi2_ratio_error``;
        ``example_y``, ``example_replicates``.
    """
    chosen = dict(STATISTICS if statistics is None else statistics)
    p_values, samples, target, rank = [], [], [], []
    shown: list[tuple[Array, Array]] = []
    for one in held:
        observed, replicates = _replicates(held, one)
        p_values.append([float((test(replicates) >= test(observed)).mean()) for test in chosen.values()])
        behind, ahead = one.misfit(), one.misfit_target()
        samples.append(behind.mean())
        target.append(ahead)
        rank.append(int(ranks(np.array([ahead]), behind[:, None])[0]))
        if len(shown) < examples:
            shown.append((observed[0], replicates[:20]))
    drawn, true = np.array(samples), np.array(target)
    ratio = drawn.sum() / true.sum()
    return xr.Dataset(
        {
            "p_value": (("statistic", "observation"), np.array(p_values).T),
            "chi2_samples": ("observation", drawn),
            "chi2_target": ("observation", true),
            "misfit_rank": ("observation", np.array(rank)),
            "chi2_ratio": ratio,
            "chi2_ratio_error": np.sqrt(len(true) * (drawn - ratio * true).var(ddof=1)) / true.sum(),
            "example_y": (("example", "datum"), np.stack([one[0] for one in shown])),
            "example_replicates": (("example", "replicate", "datum"), np.stack([one[1] for one in shown])),
        },
        coords={"statistic": list(chosen)},
        attrs={"observations": len(held), "samples": held.samples},
    )


def _replicates(held: HeldOut, one: Observation) -> tuple[Array, Array]:
    import torch

    images = torch.from_numpy(np.ascontiguousarray(one.values)).to(one.y.real.dtype)
    forward = replace(held.forward, noise=_at_level(held.forward.noise, float(one.sigma.double().mean())))
    with torch.no_grad():
        replicates, _ = forward.simulate(forward.within(images), one.seed)
    rows = [torch.view_as_real(data) if data.is_complex() else data for data in (one.y, replicates)]
    return rows[0].flatten(1).cpu().numpy(), rows[1].flatten(1).cpu().numpy()


def _at_level(noise: Noise, sigma: float) -> Noise:
    """Noise of one level ``sigma`` for every record; noise of another kind stays as it is."""
    if isinstance(noise, GaussianNoise):
        return replace(noise, level=sigma, relative=False)
    if isinstance(noise, PoissonNoise):
        return replace(noise, counts=sigma**-2)
    return replace(noise, level=sigma) if isinstance(noise, SignalDependentNoise) else noise
