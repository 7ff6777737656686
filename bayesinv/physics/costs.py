"""What a call of an operator costs: seconds, and bytes that autograd keeps between the two passes."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

__all__ = ["call_time", "kept_bytes"]


@torch.no_grad()
def call_time(function: Callable[[torch.Tensor], torch.Tensor], tensor: torch.Tensor) -> float:
    """Seconds of one call: the best of up to 20 within half a second, after one that warms up.

    Example:
        >>> 0 < call_time(torch.sin, torch.zeros(10)) < 1
        True
    """
    function(tensor)
    began, best = time.perf_counter(), float("inf")
    for _ in range(20):
        start = time.perf_counter()
        function(tensor)
        now = time.perf_counter()
        best = min(best, now - start)
        if now - began > 0.5:
            break
    return best


def kept_bytes(function: Callable[[torch.Tensor], torch.Tensor], tensor: torch.Tensor) -> int:
    """Bytes that a call saves for its backward pass, without those that every call shares (matrices, masks).

    What a foreign library keeps by itself is not seen.

    Example:
        >>> kept_bytes(torch.exp, torch.zeros(10)), kept_bytes(lambda x: 2 * x, torch.zeros(10))
        (40, 0)
    """
    first, second = (_saved(function, tensor.detach().clone().requires_grad_()) for _ in range(2))
    return sum(size for address, (_, size) in second.items() if address not in first)


def _saved(
    function: Callable[[torch.Tensor], torch.Tensor], tensor: torch.Tensor
) -> dict[int, tuple[torch.UntypedStorage, int]]:
    kept: dict[int, tuple[torch.UntypedStorage, int]] = {}

    def pack(saved: torch.Tensor) -> torch.Tensor:
        storage = saved.untyped_storage()  # held, so that the second call cannot be given the same address
        kept[storage.data_ptr()] = (storage, storage.nbytes())
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        function(tensor)
    return kept
