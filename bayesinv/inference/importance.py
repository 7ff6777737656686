r"""Importance weights where prior and likelihood are known: ``w = (p(x) p(y | x) / q(x | y))^power``.

The weights turn samples of ``q`` into samples of the posterior; with ``power < 1`` part of the way, at a smaller
variance. Pareto smoothing replaces the largest weights by quantiles of a generalised Pareto law fitted to them; its
shape ``k-hat`` says whether they can be trusted: up to ``min(1 - 1 / log10 S, 0.7)`` they can, above they cannot.

Sources: Vehtari, Simpson, Gelman, Yao, Gabry 2024 (arXiv 1507.02646); Zhang and Stephens 2009
(doi 10.1198/tech.2009.08017).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayesinv.inference.samples import Samples

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TAIL_SAMPLES", "importance_weights", "khat_limit", "log_importance", "pareto_smoothed", "weight_quality"]

TAIL_SAMPLES = 21  # the fewest samples whose tail has five weights, the fewest that tell a k-hat

Array: TypeAlias = NDArray[Any]


class _Conditioned(Protocol):
    @property
    def y(self) -> Tensor: ...
    @property
    def sigma(self) -> Tensor: ...
    def log_prob(self, x: Any) -> Tensor: ...


def importance_weights(
    conditioned: _Conditioned, samples: Samples, prior: Any, forward: Any, *, power: float = 1.0
) -> xr.Dataset:
    """Pareto-smoothed importance weights of the samples of one observation, and what they change.

    Args:
        conditioned: the posterior given one record, as it was sampled from.
        samples: its samples, unrefined.
        prior: with ``log_prob(x)``.
        forward: with ``log_likelihood(x, y, sigma)``.
        power: 1 for the whole correction, less for a part of it.

    Returns:
        ``weight`` over ``sample`` (they sum to one), ``mean`` and ``std`` of the weighted samples, ``ess`` (effective
        sample size), ``khat``, ``khat_limit``.

    Raises:
        ValueError: if the prior has no density, the power is not in (0, 1], the records are more than one, the samples
            are refined, or every sample has weight zero.
    """
    import torch

    if not hasattr(prior, "log_prob"):
        raise ValueError(f"expected a prior with log_prob(x), got {type(prior).__name__}")
    if not 0 < power <= 1:
        raise ValueError(f"expected a power in (0, 1], got {power}")
    records = max(len(conditioned.y), samples.values.sizes.get("observation", 1))
    if records != 1:
        raise ValueError(f"expected samples of one record, got {records} records; weigh them one by one")
    if samples.provenance.get("refine", 0):
        raise ValueError(
            f"expected samples without refinement, got refine={samples.provenance['refine']}: log_prob is not their "
            "density; next: sample with refine=0"
        )
    values = samples.observation(0).values
    images = torch.from_numpy(np.ascontiguousarray(values.to_numpy()))
    weight, khat = pareto_smoothed(power * log_importance(conditioned, images, prior, forward, conditioned.sigma))
    share = xr.DataArray(weight, dims="sample")
    mean = (share * values).sum("sample")
    squares = (share * (values - mean) ** 2).sum("sample")
    return xr.Dataset(
        {
            "weight": ("sample", weight),
            "mean": mean.assign_attrs(values.attrs),
            "std": (squares**0.5).assign_attrs(values.attrs),
            "ess": 1 / (weight**2).sum(),
            "khat": khat,
            "khat_limit": khat_limit(len(weight)),
        },
        attrs={"power": power},
    )


def log_importance(conditioned: _Conditioned, images: Tensor, prior: Any, forward: Any, sigma: Tensor) -> Array:
    """``log p(x) + log p(y | x, sigma) - log q(x | y)`` of images ``(S, *model_shape)`` for one record, ``(S,)``.

    It is ``-inf`` outside the support of the prior, where the forward model is not asked.
    """
    import torch

    with torch.no_grad():
        y, sigma = conditioned.y.to(images.dtype), sigma.to(images.dtype)
        value = prior.log_prob(images).double()
        inside = ~torch.isneginf(value)
        if bool(inside.any()):
            kept = images[inside]
            likelihood = forward.log_likelihood(kept, y, sigma).double()
            value[inside] += likelihood - conditioned.log_prob(kept).double()
    return np.asarray(value.cpu().numpy())


def khat_limit(samples: int) -> float:
    """Largest ``k-hat`` at which weights of that many samples can be trusted, ``min(1 - 1 / log10 S, 0.7)``."""
    return min(1 - 1 / math.log10(max(samples, 11)), 0.7)


def weight_quality(log_weights: Any) -> tuple[float, float]:
    """``k-hat`` of log weights ``(S,)`` and their effective share of the samples; inf and 0 if every weight is zero."""
    values = np.asarray(log_weights, dtype=float)
    if np.isneginf(values).all():
        return math.inf, 0.0
    weight, khat = pareto_smoothed(values)
    return khat, float(1 / (weight**2).sum() / len(weight))


def pareto_smoothed(log_weights: Any) -> tuple[Array, float]:
    """Smoothed weights that sum to one, and ``k-hat`` (0 where the largest weights are equal).

    The ``min(S / 5, 3 sqrt S)`` largest weights become quantiles of the generalised Pareto law fitted to them. Fewer
    than five distinct from the rest tell nothing of a tail: they stay as they are, and ``k-hat`` is infinite. So it is
    of `TAIL_SAMPLES` - 1 weights and fewer, unless they are equal.

    Args:
        log_weights: ``(S,)``, unnormalised; ``-inf`` is a weight of zero.

    Raises:
        ValueError: if they are fewer than ten, NaN or +inf, or all zero.

    Example:
        >>> weight, khat = pareto_smoothed(np.zeros(50))
        >>> float(weight.sum().round(6)), khat
        (1.0, 0.0)
        >>> pareto_smoothed(np.arange(12.0))[1]
        inf
    """
    values = np.asarray(log_weights, dtype=float)
    if values.ndim != 1 or len(values) < 10:
        raise ValueError(f"expected ten or more log weights (S,), got shape {values.shape}")
    wrong = int((np.isnan(values) | np.isposinf(values)).sum())
    if wrong:
        raise ValueError(f"expected log weights that are finite or -inf, got {wrong} of {len(values)} NaN or +inf")
    if np.isneginf(values).all():
        raise ValueError(f"expected a weight that is not zero, got {len(values)} samples of zero prior or likelihood")
    values = values - values.max()
    tail = _tail(len(values))
    order = np.argsort(values)
    cut = values[order[-tail - 1]]
    largest = order[-tail:][values[order[-tail:]] > cut]
    if -(cut if tail > 4 else values.min()) < 1e-6:
        khat = 0.0
    elif len(largest) < 5:
        khat = math.inf
    else:
        khat = _smooth(values, largest, cut)
    weight = np.exp(values)
    return weight / weight.sum(), khat


def _tail(count: int) -> int:
    """How many of `count` weights are the tail."""
    return math.ceil(min(0.2 * count, 3 * math.sqrt(count)))


def _smooth(values: Array, largest: Array, cut: float) -> float:
    """Smooth the log weights `values` in place at the indices `largest`, all above `cut`; ``k-hat``."""
    khat, scale = _fit_pareto(np.exp(values[largest]) - np.exp(cut))
    quantile = (np.arange(len(largest)) + 0.5) / len(largest)
    smooth = scale * np.expm1(-khat * np.log1p(-quantile)) / khat if abs(khat) > 1e-12 else -scale * np.log1p(-quantile)
    values[largest] = np.minimum(np.log(smooth + np.exp(cut)), 0.0)
    return khat


def _fit_pareto(excess: Array) -> tuple[float, float]:
    """Shape and scale of a generalised Pareto law by Zhang and Stephens, the shape drawn to 1/2 by a weak prior."""
    x = np.maximum(np.sort(excess), 1e-40 * excess.max())  # weights that differ by more are hopeless anyway
    count = len(x)
    grid = 30 + int(math.sqrt(count))
    b = (1 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))) / (3 * x[int(count / 4 + 0.5) - 1]) + 1 / x[-1]
    shape = np.log1p(-b[:, None] * x).mean(1)
    profile = count * (np.log(-b / shape) - shape - 1)
    weight = np.exp(profile - profile.max())
    weight /= weight.sum()
    kept = weight >= 10 * np.finfo(float).eps
    mean_b = (b[kept] * weight[kept]).sum() / weight[kept].sum()
    k = np.log1p(-mean_b * x).mean()
    scale = -k / mean_b
    return float((k * count + 5) / (count + 10)), float(scale)
