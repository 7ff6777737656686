"""`updating`: the optimizer's step taken within the backward pass, so that the gradients never lie in memory at once.

A backward pass that rebuilds its inputs does not need a map's parameters any more once it is past the map. There it
hands out their gradients, and they may be changed. A parameter that several maps share is handed out once, with the sum
of its gradients, after the last of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torch import Tensor, nn

from bayesinv.reversible.gradients import Gradients, accumulate

if TYPE_CHECKING:
    from bayesinv.reversible.base import Reversible

__all__ = ["Update", "Updates", "updating"]

Update = Callable[[nn.Parameter, Tensor], None]


@contextmanager
def updating(map: Reversible, update: Update) -> Iterator[None]:
    """Within, backward passes through ``map`` call ``update(parameter, gradient)`` and leave ``parameter.grad`` alone.

    The update may change the parameter. Parameters that it is not certain of (those of a map that runs outside of any
    `Chain`) get their ``grad`` as ever: look for those after the backward pass.

    Args:
        map: the outermost map, such as ``flow.map``; forward and backward pass both have to run within.
        update: what to do with a gradient, for instance an optimizer's step of this parameter alone.

    Raises:
        ValueError: if the map is under a `guard`, which may run a backward pass twice.

    Source: Lv et al., Full parameter fine-tuning for large language models with limited resources, 2023,
    arXiv 2306.09782 (the update in the backward pass).

    Example:
        >>> import torch
        >>> from bayesinv.reversible import ActNorm, Chain
        >>> chain, x = Chain(ActNorm(2), ActNorm(2)), torch.randn(8, 2)
        >>> def descend(parameter, gradient):
        ...     with torch.no_grad():
        ...         parameter -= 0.1 * gradient
        >>> with updating(chain, descend):
        ...     chain(x)[0].square().sum().backward()
        >>> [p.grad for p in chain.parameters()]
        [None, None, None, None]
    """
    if map._guard is not None:
        raise ValueError("expected a map without a guard, got a guarded one: remove the guard, or update afterwards")
    before, map._update = map._update, update
    try:
        yield
    finally:
        map._update = before


class Updates:
    """What one pass knows of the uses of each parameter: noted on the way, and worked off on the way back."""

    def __init__(self, map: nn.Module, update: Update) -> None:
        self.update = update
        self._places = Counter(
            p for _, part in map.named_modules(remove_duplicate=False) for p in part.parameters(recurse=False)
        )
        self._uses: Counter[nn.Parameter] = Counter()
        self._certain: set[nn.Parameter] = set()
        self._sums: Gradients = {}

    def note(self, one: Reversible) -> None:
        """A map is about to run."""
        if not _holds_chains(one):
            self._uses.update(one.parameters())

    def reread(self) -> Updates:
        """These, to be worked off once; they themselves stay as they are."""
        again = object.__new__(Updates)
        again.update, again._places = self.update, self._places
        again._uses, again._sums = Counter(self._uses), {}
        again._certain = {p for p, uses in self._uses.items() if uses == self._places[p]}
        return again

    def hand_out(self, one: Reversible, grads: Gradients) -> Gradients:
        """After the backward pass of a map: updates what no other map will use; returns what is left to the caller."""
        if _holds_chains(one):
            return grads
        accumulate(self._sums, {p: g for p, g in grads.items() if p in self._certain})
        for parameter in one.parameters():
            if parameter in self._certain:
                self._uses[parameter] -= 1
                if self._uses[parameter] == 0 and parameter in self._sums:
                    self.update(parameter, self._sums.pop(parameter))
        return {p: g for p, g in grads.items() if p not in self._certain}


def _holds_chains(one: Reversible) -> bool:
    return any(getattr(part, "holds_maps", False) for part in one.modules())
