r"""`RunningStatistics`: what is said of many samples, pixel by pixel, from one pass that keeps none of them.

Mean and variance by Welford's recursion in float64, ``m_k = m_{k-1} + (x_k - m_{k-1}) / k``,
``S_k = S_{k-1} + (x_k - m_{k-1}) (x_k - m_k)``, ``var = S_n / (n - 1)``; the share of samples above thresholds; and
quantiles by a `QuantileSketch`. Samples enter one by one, so that the size of the batches they come in does not matter.

Source: Welford 1962, doi 10.1080/00401706.1962.10490022.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from bayesinv.inference.quantile_sketch import QuantileSketch
from bayesinv.inference.samples import labelled
from bayesinv.physics import Axis

__all__ = ["RunningStatistics"]


class RunningStatistics:
    """Takes batches of samples; tells mean, standard deviation, quantiles and exceedance probabilities.

    Args:
        quantiles: levels between 0 and 1.
        thresholds: numbers ``t`` of ``p(x > t)``.

    Raises:
        ValueError: for a level that is not between 0 and 1, or a threshold that is not finite.

    Example:
        >>> statistics = RunningStatistics(thresholds=[1.5])
        >>> statistics.add(torch.tensor([[1.0], [2.0], [6.0]]))
        >>> statistics.mean, statistics.std, statistics.exceedance
        (tensor([3.]), tensor([2.6458]), tensor([[0.6667]]))
    """

    def __init__(self, *, quantiles: Sequence[float] = (), thresholds: Sequence[float] = ()) -> None:
        if not all(math.isfinite(threshold) for threshold in thresholds):
            raise ValueError(f"expected finite thresholds, got {tuple(thresholds)}")
        self.sketch, self.thresholds = QuantileSketch(quantiles), [float(threshold) for threshold in thresholds]
        self._mean = self._squares = self._above = torch.empty(0)
        self._dtype = torch.float32

    def add(self, samples: Tensor) -> None:
        """A batch of samples ``(samples, ...)``, always of the same shape but for the first axis.

        Raises:
            ValueError: for numbers that are not finite, of which no statistic would be right.
        """
        if not bool(torch.isfinite(samples).all()):
            found = self.sketch.number
            raise ValueError(
                f"expected finite samples, got others among samples {found} to {found + len(samples) - 1}: "
                "train longer, or at a lower learning rate"
            )
        if not self.sketch.number:
            self._begin(samples)
        for sample in samples:
            self.sketch.add(sample)
            difference = sample - self._mean
            self._mean += difference / self.sketch.number
            self._squares += difference * (sample - self._mean)
            for above, threshold in zip(self._above, self.thresholds, strict=True):
                above += sample > threshold

    def _begin(self, samples: Tensor) -> None:
        shape, self._dtype = samples.shape[1:], samples.dtype
        self._mean = torch.zeros(shape, dtype=torch.float64, device=samples.device)
        self._squares = torch.zeros_like(self._mean)
        self._above = torch.zeros(len(self.thresholds), *shape, dtype=torch.int32, device=samples.device)

    @property
    def mean(self) -> Tensor:
        """The mean of the samples."""
        return self._mean.to(self._dtype)

    @property
    def std(self) -> Tensor:
        """Their standard deviation (``n - 1`` in the denominator)."""
        return (self._squares / (self.sketch.number - 1)).sqrt().to(self._dtype)

    @property
    def exceedance(self) -> Tensor:
        """The share of samples above each threshold, ``(thresholds, ...)``."""
        return (self._above.double() / self.sketch.number).to(self._dtype)

    def to_xarray(
        self, axes: Sequence[Axis], *, leading: Sequence[str] = (), quantity: str = "x", unit: str = "1"
    ) -> xr.Dataset:
        """All of them, labelled as `bayesinv.inference.samples.labelled` does.

        Args:
            axes: the space axes of a sample ``(*leading, channel, *space)``.
            leading: names of the axes before the channel.
            quantity: what the numbers are.
            unit: their unit.

        Returns:
            ``mean``, ``std``, ``quantiles``, ``rank_error`` and ``exceedance``.
        """

        def one(values: Tensor, *first: str, name: str = quantity, units: str = unit) -> xr.DataArray:
            return labelled(values.cpu().numpy(), axes, leading=(*first, *leading), quantity=name, unit=units)

        values, errors = self.sketch.quantiles()
        return xr.Dataset(
            {
                "mean": one(self.mean, name=f"mean of {quantity}"),
                "std": one(self.std, name=f"standard deviation of {quantity}"),
                "quantiles": one(values, "quantile", name=f"quantiles of {quantity}"),
                "rank_error": one(errors, "quantile", name="largest error of the quantiles in rank", units="1"),
                "exceedance": one(
                    self.exceedance, "threshold", name=f"probability of {quantity} above threshold", units="1"
                ),
            },
            coords={
                "quantile": ("quantile", np.asarray(self.sketch.levels), {"long_name": "level", "units": "1"}),
                "threshold": ("threshold", np.asarray(self.thresholds), {"long_name": "threshold", "units": unit}),
            },
        )
