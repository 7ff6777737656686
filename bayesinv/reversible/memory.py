"""`memory_report`: what a training step through a map keeps and takes at its peak, and the largest batch for a budget.

Both grow with the batch as ``a + b n`` once activations outweigh parameters, so steps with a quarter and with half of
``n`` samples predict them; a step with ``n`` samples measures them. On the CPU every tensor made by the step is counted
as long as its storage lives and has not been emptied; what a kernel takes for itself is not seen. On a CUDA device the
numbers are those of torch's allocator, kernels included.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bayesinv.reversible.base import Reversible
from bayesinv.reversible.gradients import Condition, flattened

__all__ = ["MemoryReport", "memory_report"]

Step = tuple[int, int]  # bytes kept, bytes at the peak


@dataclass(frozen=True)
class MemoryReport:
    """Bytes of one step, ``z, logdet = map(x, cond)`` and ``backward()``. See `memory_report`.

    Args:
        batch: number of samples.
        parameters: bytes of parameters and buffers.
        data: bytes of input and condition.
        kept: what lives between forward and backward beyond these two.
        kept_predicted: the same from steps with less samples.
        peak: the most that lives at any time beyond these two; it holds the gradients.
        peak_predicted: the same from steps with less samples.
        budget: bytes that there are, if given.
        largest_batch: the most samples whose step fits the budget, with parameters and data; 0 if not even one does.
    """

    batch: int
    parameters: int
    data: int
    kept: int
    kept_predicted: int
    peak: int
    peak_predicted: int
    budget: int | None = None
    largest_batch: int | None = None

    def __str__(self) -> str:
        lines = [
            f"a training step with {self.batch} samples",
            f"  parameters          {_readable(self.parameters)}",
            f"  data                {_readable(self.data)}",
            f"  kept for backward   {_readable(self.kept)}, predicted {_readable(self.kept_predicted)}",
            f"  peak                {_readable(self.peak)}, predicted {_readable(self.peak_predicted)}",
        ]
        if self.budget is not None:
            lines.append(f"  largest batch       {self.largest_batch} in {_readable(self.budget)}")
        return "\n".join(lines)


def memory_report(
    map: Reversible,
    shape: Sequence[int],
    *,
    condition: Sequence[int] | Sequence[Sequence[int]] | None = None,
    batch: int = 8,
    budget: int | None = None,
) -> MemoryReport:
    """Runs training steps of a copy of ``map`` on random numbers, on its device and in its precision.

    Within `plain` it reports on plain autograd; under a `guard` or with `Inverted` it reports on these.

    Args:
        map: any map.
        shape: ``(channels, *space)`` of one input.
        condition: the same of the condition, or of the tensors of a pyramid.
        batch: number of samples.
        budget: bytes, for instance ``8 * 2**30``.

    Raises:
        ValueError: if ``batch`` or ``budget`` is not positive, or the map refuses the shape.

    Example:
        >>> from bayesinv.reversible import ActNorm, Chain
        >>> report = memory_report(Chain(ActNorm(2), ActNorm(2)), (2, 16), batch=4, budget=10_000)
        >>> report.kept, report.largest_batch
        (528, 15)
        >>> print(report)
        a training step with 4 samples
          parameters          34 B
          data                512 B
          kept for backward   528 B, predicted 528 B
          peak                2.15 KiB, predicted 2.15 KiB
          largest batch       15 in 9.77 KiB
    """
    if batch < 1 or (budget is not None and budget < 1):
        raise ValueError(f"expected a positive batch and a positive budget, got {batch} and {budget}")
    twin = copy.deepcopy(map)
    like = next(twin.parameters(), torch.zeros(()))
    measure = _on_cuda if like.is_cuda else _on_cpu

    def drawn(n: int) -> tuple[Tensor, Condition]:
        def numbers(sizes: Sequence[int]) -> Tensor:
            return torch.randn(n, *sizes, dtype=like.dtype, device=like.device)

        if condition is None:
            return numbers(shape), None
        if isinstance(condition[0], int):
            return numbers(shape), numbers(condition)  # type: ignore[arg-type]
        return numbers(shape), tuple(numbers(sizes) for sizes in condition)  # type: ignore[arg-type]

    def step(n: int) -> Step:
        for parameter in twin.parameters():
            parameter.grad = None
        return measure(twin, *drawn(n))

    low = max(1, batch // 4)
    high = max(low + 1, batch // 2)
    step(2)  # first batch of an ActNorm, weights of a guard
    found = {n: step(n) for n in (low, high, batch)}
    kept, peak = (_line((low, found[low][i]), (high, found[high][i]))(batch) for i in range(2))
    fixed = sum(t.nbytes for t in (*twin.parameters(), *twin.buffers()))
    x, cond = drawn(1)
    each = sum(t.nbytes for t in (x, *flattened(cond)))
    largest = None
    if budget is not None:
        first, last = sorted(found)[-2:]
        line = _line((first, found[first][1]), (last, found[last][1]))
        largest = max(0, (budget - fixed - line(0)) // (line(1) - line(0) + each))
    return MemoryReport(batch, fixed, each * batch, found[batch][0], kept, found[batch][1], peak, budget, largest)


def _line(one: tuple[int, int], other: tuple[int, int]) -> Callable[[int], int]:
    """The bytes for ``n`` samples, from two numbers of samples and their bytes."""
    slope = (other[1] - one[1]) / (other[0] - one[0])
    return lambda n: round(one[1] + slope * (n - one[0]))


def _on_cpu(map: Reversible, x: Tensor, cond: Condition) -> Step:
    with _Counting() as count:
        kept = _trained(map, x, cond, lambda: count.now)
    return kept, count.peak


def _on_cuda(map: Reversible, x: Tensor, cond: Condition) -> Step:
    torch.cuda.synchronize(x.device)
    before = torch.cuda.memory_allocated(x.device)
    torch.cuda.reset_peak_memory_stats(x.device)
    kept = _trained(map, x, cond, lambda: torch.cuda.memory_allocated(x.device))
    return kept - before, torch.cuda.max_memory_allocated(x.device) - before


def _trained(map: Reversible, x: Tensor, cond: Condition, now: Callable[[], int]) -> int:
    """A step; returns the bytes at the moment between forward and backward."""
    with torch.enable_grad():
        y, logdet = map(x, cond)
        kept = now()
        torch.autograd.backward([y, logdet], [y.detach(), torch.ones_like(logdet)])
    return kept


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Bytes of all tensor storages made under it that still live, whoever holds them, and were not freed by hand."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._references: dict[int, weakref.ref[Any]] = {}
        self._sizes: dict[int, int] = {}
        self._most = self.peak = 0

    @property
    def now(self) -> int:
        """Bytes."""
        for key, reference in list(self._references.items()):
            if (storage := reference()) is not None:
                self._resize(key, storage.nbytes())
        return self._most

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in given and storage._cdata not in self._references:
                    self._references[storage._cdata] = weakref.ref(storage, partial(self._gone, storage._cdata))
                    self._resize(storage._cdata, storage.nbytes())
        if self._most > self.peak:  # by sizes that have shrunk since, perhaps
            self.peak = max(self.peak, self.now)
        return out

    def _resize(self, key: int, size: int) -> None:
        self._most += size - self._sizes.get(key, 0)
        self._sizes[key] = size

    def _gone(self, key: int, _: object) -> None:
        del self._references[key]
        self._most -= self._sizes.pop(key)


def _readable(size: int) -> str:
    for power, unit in enumerate(("B", "KiB", "MiB", "GiB")):
        if size < 1024 ** (power + 1) or unit == "GiB":
            return f"{size / 1024**power:.3g} {unit}"
    raise AssertionError
