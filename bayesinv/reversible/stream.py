"""A wider stream: what runs between the layers is float64, say, and so are their own parameters; networks are not.

Layers are `Reversible`, networks are the other modules inside of them, which cast by themselves (see `evaluate`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bayesinv.reversible.gradients import Gradients
from bayesinv.reversible.stand_ins import replaced

__all__ = ["narrowed", "precise", "widened"]


def precise(tensor: Tensor, dtype: torch.dtype | None) -> torch.dtype:
    """The dtype of a tensor in the precision of a real one; complex numbers stay complex, and integers what they are.

    Example:
        >>> precise(torch.zeros(2, dtype=torch.complex64), torch.float64)
        torch.complex128
    """
    if dtype is None or not (tensor.is_floating_point() or tensor.is_complex()):
        return tensor.dtype
    return dtype.to_complex() if tensor.is_complex() else dtype


@contextmanager
def widened(layers: list[nn.Module], dtype: torch.dtype | None) -> Iterator[dict[nn.Parameter, nn.Parameter]]:
    """The layers' own parameters and buffers in this dtype; yields the originals by their stand-ins.

    What a layer changes (the first batch of an `ActNorm`) is written back.
    """
    originals: dict[nn.Parameter, nn.Parameter] = {}
    if dtype is None:
        yield originals
        return
    own = [t for layer in layers for t in (*layer.parameters(recurse=False), *layer.buffers(recurse=False))]
    stand_ins: dict[Tensor, Tensor] = {}
    for old in own:
        if old.is_floating_point() and old not in stand_ins:
            wide = old.detach().to(dtype, copy=True)
            stand_ins[old] = wide
            if isinstance(old, nn.Parameter):
                parameter = nn.Parameter(wide, old.requires_grad)
                stand_ins[old], originals[parameter] = parameter, old
    versions = {old: new._version for old, new in stand_ins.items()}
    with replaced(layers, stand_ins):
        yield originals
    with torch.no_grad():
        for old, new in stand_ins.items():
            if new._version != versions[old]:
                old.copy_(new)


def narrowed(grads: Gradients, originals: dict[nn.Parameter, nn.Parameter]) -> Gradients:
    """The gradients of the originals, in their own dtypes."""
    found = {originals.get(p, p): g for p, g in grads.items()}
    return {p: g.to(p.dtype) for p, g in found.items()}
