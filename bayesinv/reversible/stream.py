"""A wider stream: what runs between the layers is float64, say, and so are their own parameters; networks are not.

Layers are `Reversible`, networks are the other modules inside of them, which cast by themselves (see `evaluate`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bayesinv.reversible.gradients import Gradients

__all__ = ["narrowed", "widened"]


@contextmanager
def widened(layers: list[nn.Module], dtype: torch.dtype | None) -> Iterator[dict[nn.Parameter, nn.Parameter]]:
    """The layers' own parameters and buffers in this dtype; yields the originals by their stand-ins.

    What a layer changes (the first batch of an `ActNorm`) is written back.
    """
    originals: dict[nn.Parameter, nn.Parameter] = {}
    if dtype is None:
        yield originals
        return
    held: list[tuple[nn.Module, str, Tensor]] = []
    stands: dict[Tensor, Tensor] = {}
    for layer in layers:
        for name, old in [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]:
            if old.is_floating_point():
                held.append((layer, name, old))
                if old not in stands:
                    wide = old.detach().to(dtype, copy=True)
                    stands[old] = nn.Parameter(wide, old.requires_grad) if isinstance(old, nn.Parameter) else wide
                setattr(layer, name, stands[old])
    for old, new in stands.items():
        if isinstance(old, nn.Parameter) and isinstance(new, nn.Parameter):
            originals[new] = old
    versions = {old: new._version for old, new in stands.items()}
    try:
        yield originals
    finally:
        for layer, name, old in held:
            setattr(layer, name, old)
        with torch.no_grad():
            for old, new in stands.items():
                if new._version != versions[old]:
                    old.copy_(new)


def narrowed(grads: Gradients, originals: dict[nn.Parameter, nn.Parameter]) -> Gradients:
    """The gradients of the originals, in their own dtypes."""
    found = {originals.get(p, p): g for p, g in grads.items()}
    return {p: g.to(p.dtype) for p, g in found.items()}
