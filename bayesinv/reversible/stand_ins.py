"""`replaced`: other tensors in the place of a module's parameters and buffers, for a while.

`torch.func.functional_call` does this by name, and leaves a module that appears at two places with the stand-ins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

__all__ = ["replaced"]


@contextmanager
def replaced(modules: Iterable[nn.Module], stand_ins: Mapping[Tensor, Tensor]) -> Iterator[None]:
    """Within, each tensor that is a key is its value, wherever these modules hold it themselves (not their children).

    Example:
        >>> layer = nn.Linear(1, 1)
        >>> with replaced([layer], {layer.weight: layer.weight.double()}):
        ...     layer.weight.dtype
        torch.float64
        >>> layer.weight.dtype
        torch.float32
    """
    parts = list(modules)
    held: list[tuple[Any, str, Tensor]] = []
    for part in parts:
        tables: list[Any] = [part._parameters, part._buffers]
        for table in tables:
            held += [(table, name, old) for name, old in table.items() if old is not None and old in stand_ins]
    try:
        for table, name, old in held:
            table[name] = stand_ins[old]
        _renew(parts)
        yield
    finally:
        for table, name, old in held:
            table[name] = old
        _renew(parts)


def _renew(parts: list[nn.Module]) -> None:
    """Recurrent layers hold their weights in a second list."""
    for part in parts:
        if isinstance(part, nn.RNNBase):
            part._flat_weights = [getattr(part, name) for name in part._flat_weights_names]
