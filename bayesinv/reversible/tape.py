"""`Tape`: what one pass through a map notes on its way and needs again in the backward pass, beside the output.

It belongs to the outermost map, follows all maps inside, and holds two things: the random state of every network that
drew random numbers, and, under a `guard`, one entry for each layer's input: a fingerprint of it, or the input itself
(an anchor). `Chain` writes and reads the entries (`through`, `back_through`); the backward pass of any composition
walks a chain's layers in the reverse order, so the last entry of a layer that has not been read yet is the right one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bayesinv.reversible.gradients import Backward, Condition, Gradients, differentiated

if TYPE_CHECKING:
    from bayesinv.reversible.base import Reversible
    from bayesinv.reversible.guard import Guard
    from bayesinv.reversible.updating import Updates

__all__ = ["Entry", "Site", "Tape", "back_through", "current", "handed_out", "through", "written_by"]

Site = tuple[nn.Module, int]  # a chain and the index of a layer in it
_NOTHING = torch.empty(0)
_TAPE: ContextVar[Tape | None] = ContextVar("tape", default=None)


@dataclass
class Entry:
    """One layer's input: its fingerprint, or the input itself."""

    site: Site
    index: int
    kept: Tensor
    is_anchor: bool


class Tape:
    """The notes of one pass.

    Args:
        guard: decides what is noted of the layers' inputs; without one, nothing is.
        narrow: the dtype of the networks where the stream between the layers is a wider one.
        late: the entry that drifted in a first try; all inputs are kept in this one, and anchors are chosen.
    """

    def __init__(
        self, guard: Guard | None = None, *, narrow: torch.dtype | None = None, late: int | None = None
    ) -> None:
        self.guard, self.narrow, self.late = guard, narrow, late
        self.updates: Updates | None = None
        self.draws: dict[nn.Module, list[Tensor]] = {}
        self.replaying, self.writing = False, guard is not None
        self.entries: list[Entry] = []
        self.compared: list[tuple[Entry, Tensor]] = []
        self._unread: dict[Site, list[Entry]] = {}
        self._parallel: tuple[Tensor, Tensor] | None = None

    def tensors(self) -> list[Tensor]:
        """Takes out what is to be saved; `reread` puts it back."""
        found = [entry.kept for entry in self.entries]
        self.entries = [Entry(e.site, e.index, _NOTHING, e.is_anchor) for e in self.entries]
        return found

    def reread(self, tensors: Sequence[Tensor]) -> Tape:
        """This tape, to be read from its end; the tape itself stays as it is."""
        again = Tape(self.guard, narrow=self.narrow, late=self.late)
        again.draws, again.replaying, again.writing = self.draws, True, False
        again.updates = None if self.updates is None else self.updates.reread()
        again.entries = [
            Entry(e.site, e.index, kept, e.is_anchor) for e, kept in zip(self.entries, tensors, strict=True)
        ]
        for entry in again.entries:
            again._unread.setdefault(entry.site, []).append(entry)
        return again

    def rewritten(self, *, late: int) -> Tape:
        """An empty tape for the same pass once more, with the same random numbers, on which inputs are kept."""
        again = Tape(self.guard, narrow=self.narrow, late=late)
        again.draws, again.replaying = self.draws, True
        return again

    def write(self, site: Site, x: Tensor) -> None:
        """Notes the input of a layer."""
        if self.guard is not None and len(x):
            index = len(self.entries)
            keep = self.late is not None or self.guard.keeps(site, index)
            self.entries.append(Entry(site, index, x if keep else self.guard.fingerprint(x), keep))

    def read(self, site: Site) -> Entry | None:
        """The last entry of the layer that has not been read."""
        unread = self._unread.get(site)
        return unread.pop() if unread else None

    def compare(self, entry: Entry, rebuilt: Tensor) -> None:
        """Notes what the rebuilt input looks like; nothing is decided before the end of the pass."""
        if self.guard is not None:
            self.compared.append((entry, self.guard.projections(rebuilt)))

    def choose(self, entry: Entry, one: Reversible, y: Tensor, cond: Condition, inverted: bool) -> None:
        """Rebuilds beside the exact pass what a frugal one would have, and keeps the inputs that it cannot do without.

        ``y`` is the exact output of the layer; where it is the kept input of the layer above, the rebuilt one of that
        layer goes on.
        """
        if self.guard is None or self.late is None:
            return
        start = self._parallel[1] if self._parallel is not None and self._parallel[0] is y else y
        with torch.no_grad():
            rebuilt, _ = one._forward(start, cond) if inverted else one._inverse(start, cond)
        needed = self.guard.settle(entry, rebuilt, late=entry.index == self.late)
        self._parallel = None if needed else (entry.kept, rebuilt)


@contextmanager
def written_by(tape: Tape | None) -> Iterator[None]:
    """Maps within note on this tape, or read from it."""
    before = _TAPE.set(tape)
    try:
        yield
    finally:
        _TAPE.reset(before)


def current() -> Tape | None:
    """The tape of the pass that runs now."""
    return _TAPE.get()


def through(
    owner: nn.Module, i: int, one: Reversible, x: Tensor, cond: Condition, *, inverted: bool
) -> tuple[Tensor, Tensor]:
    """``one._forward(x, cond)``, or its inverse, as layer ``i`` of ``owner``, whose input is noted."""
    tape = _TAPE.get()
    if tape is not None and tape.updates is not None and not tape.replaying:
        tape.updates.note(one)
    run = one._inverse if inverted else one._forward
    if tape is None or tape.guard is None or not tape.writing or not tape.guard.watches(one, inverted):
        return run(x, cond)
    tape.write((owner, i), x)
    tape.writing = False  # chains inside of a layer that is watched as a whole have nothing to add
    try:
        return run(x, cond)
    finally:
        tape.writing = True


def handed_out(one: Reversible, grads: Gradients) -> Gradients:
    """What is left of a map's gradients, where parameters are updated within the backward pass; see `updating`."""
    tape = _TAPE.get()
    return grads if tape is None or tape.updates is None else tape.updates.hand_out(one, grads)


def back_through(
    owner: nn.Module,
    i: int,
    one: Reversible,
    y: Tensor,
    cond: Condition,
    grad_y: Tensor,
    grad_logdet: Tensor,
    *,
    inverted: bool,
    owned: bool = False,
) -> Backward:
    """``one._backward(...)``, or that of its inverse; from the kept input where there is one, else compared.

    ``owned`` says that ``y`` and ``grad_y`` may be overwritten.
    """
    tape = _TAPE.get()
    if owned and (tape is None or tape.guard is None):
        return one._backward_in_place(y, cond, grad_y, grad_logdet, inverted=inverted)
    back = one._inverse_backward if inverted else one._backward
    entry = None if tape is None else tape.read((owner, i))
    if tape is None or entry is None:
        return back(y, cond, grad_y, grad_logdet)
    if entry.is_anchor:
        run = one._inverse if inverted else one._forward
        found = entry.kept, *differentiated(run, one.parameters(), entry.kept, cond, grad_y, grad_logdet)
        tape.choose(entry, one, y, cond, inverted)
        return found
    found = back(y, cond, grad_y, grad_logdet)
    tape.compare(entry, found[0])
    return found
