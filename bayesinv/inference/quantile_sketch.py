r"""`QuantileSketch`: quantiles of many images, pixel by pixel, without keeping the images.

The first ``m = 512`` images are kept; every second of their ordered values of a pixel is then an edge of its bins, and
all images are counted, ``b`` holding the values in ``(e_{b-1}, e_b]``. The quantile ``q`` of ``n`` images is the value
of rank ``h = q (n + 1)`` (Weibull, as `Samples.quantile` has it), on a straight line through its bin, the one with
``C_{b-1} < h <= C_b``, ``C`` the counts summed up.

Whatever the images, the rank of the returned value is off by no more than the bin's count, and that share is returned.
Beforehand, for images drawn independently from a continuous law, it is about Beta(3, 510): 0.6 % on average, below
1.7 % in 99 of 100 pixels. The line makes the true error much smaller: of 10,000 normal numbers 0.03 % at the levels 5,
50 and 95 % (root mean square; a tenth of the error of having 10,000 numbers only), 0.1 % at 1 %. Up to 512 images the
quantiles are exact.

Source: bins by order statistics of a first sample are those of DeWitt et al., Parallel sorting on a shared-nothing
architecture using probabilistic splitting, 1991, doi 10.1109/PDIS.1991.183115; the law of their contents is in David
and Nagaraja, Order Statistics, 2003, chapter 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

__all__ = ["QuantileSketch"]

_FIRST, _EVERY = 512, 2
_AT_ONCE = 16  # images that are counted together, as a pixel's bins are then looked up once
_BLOCK = 2**10  # pixels at once, where all bins of a pixel are looked at


class QuantileSketch:
    """Takes images one by one; tells the quantiles and how far off their ranks may be.

    Bins and counts take 8 bytes each: as much as 512 images in float32, and half as much again for a moment after the
    512th image.

    Args:
        levels: which quantiles, each between 0 and 1.

    Raises:
        ValueError: for a level that is not between 0 and 1.

    Example:
        >>> sketch = QuantileSketch([0.5])
        >>> for value in (3.0, 1.0, 2.0):
        ...     sketch.add(torch.tensor([value, -value]))
        >>> sketch.quantiles()
        (tensor([[ 2., -2.]]), tensor([[0., 0.]]))
    """

    def __init__(self, levels: Sequence[float]) -> None:
        if not all(0 < level < 1 for level in levels):
            raise ValueError(f"expected quantiles between 0 and 1, both excluded, got {tuple(levels)}")
        self.levels = [float(level) for level in levels]
        self.number = 0
        self._shape = torch.Size()
        self._waiting: list[Tensor] = []
        self._edges = self._counts = self._low = self._high = torch.empty(0)

    def add(self, image: Tensor) -> None:
        """One more image, always of the same shape."""
        if self.number == _FIRST:
            self._choose_edges()
        self._shape = image.shape
        self.number += 1
        self._waiting.append(image.detach().flatten().clone())
        if self.number > _FIRST and len(self._waiting) == _AT_ONCE:
            self._count()

    def quantiles(self) -> tuple[Tensor, Tensor]:
        """Values and bounds of their errors in rank, as shares of all images; each ``(levels, *image shape)``.

        Raises:
            ValueError: if there is no image.
        """
        if not self.number:
            raise ValueError("expected at least one image, got none")
        if self.number > _FIRST:
            self._count()
        find = self._from_bins if self.number > _FIRST else self._from_first
        parts = [find(part) for part in self._blocks()]
        shape = (len(self.levels), *self._shape)
        values, errors = (torch.cat(found, -1).reshape(shape) for found in zip(*parts, strict=True))
        return values, errors

    def _blocks(self) -> Iterator[slice]:
        return (slice(start, start + _BLOCK) for start in range(0, self._shape.numel(), _BLOCK))

    def _waiting_at(self, part: slice) -> Tensor:
        """``(pixels, images)``."""
        return torch.stack([flat[part] for flat in self._waiting], 1)

    def _choose_edges(self) -> None:
        """Frees the first images, which lie in the bins in equal numbers, and none beyond the last edge."""
        self._low = torch.empty_like(self._waiting[0])
        self._edges = self._low.new_empty(len(self._low), _FIRST // _EVERY)
        for part in self._blocks():
            ordered = self._waiting_at(part).sort(1).values
            self._low[part], self._edges[part] = ordered[:, 0], ordered[:, _EVERY - 1 :: _EVERY]
        self._waiting.clear()
        self._high = self._edges[:, -1].clone()
        self._counts = torch.full(
            (len(self._low), _FIRST // _EVERY + 1), _EVERY, dtype=torch.int32, device=self._low.device
        )
        self._counts[:, -1] = 0

    def _count(self) -> None:
        if not self._waiting:
            return
        one = self._counts.new_ones(())
        for part in self._blocks():
            values = self._waiting_at(part)
            bins = torch.searchsorted(self._edges[part], values)
            self._counts[part].scatter_add_(1, bins, one.expand_as(bins))
            self._low[part] = torch.minimum(self._low[part], values.amin(1))
            self._high[part] = torch.maximum(self._high[part], values.amax(1))
        self._waiting.clear()

    def _rank(self, level: float) -> float:
        return min(max(level * (self.number + 1), 1.0), float(self.number))

    def _from_first(self, part: slice) -> tuple[Tensor, Tensor]:
        ordered = self._waiting_at(part).sort(1).values
        values = []
        for level in self.levels:
            below, share = divmod(self._rank(level) - 1, 1)
            above = min(int(below) + 1, self.number - 1)
            values.append(torch.lerp(ordered[:, int(below)], ordered[:, above], share))
        found = torch.stack(values) if values else ordered.new_empty(0, len(ordered))
        return found, torch.zeros_like(found)

    def _from_bins(self, part: slice) -> tuple[Tensor, Tensor]:
        summed = self._counts[part].cumsum(1)
        edges = torch.cat([self._low[part, None], self._edges[part], self._high[part, None]], 1)
        values, errors = [edges.new_empty(0, len(edges))], [edges.new_empty(0, len(edges))]
        for level in self.levels:
            rank = self._rank(level)
            bin = torch.searchsorted(summed.double(), summed.new_full((len(summed), 1), rank, dtype=torch.float64))
            count = self._counts[part].gather(1, bin)
            before = summed.gather(1, bin) - count
            share = ((rank - 0.5 - before.double()) / count).clamp(0, 1).to(edges)
            values.append(torch.lerp(edges.gather(1, bin), edges.gather(1, bin + 1), share).T)
            errors.append((count / self.number).to(edges).T)
        return torch.cat(values), torch.cat(errors)
