r"""`Rebuild`: the one autograd node of a reversible map, however deep; it saves the output and the condition only.

Where only the energy ``E = |y|^2 / 2`` of the output is asked for, as in a Gaussian log density, nobody else ever sees
the output: its gradient ``dL/dE y`` is made here, and the backward pass writes over both instead of copies of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bayesinv.reversible.gradients import Backward, Condition, storages
from bayesinv.reversible.stream import narrowed, precise, widened
from bayesinv.reversible.tape import Tape, back_through, through, written_by
from bayesinv.reversible.tiles import budgeted
from bayesinv.reversible.updating import Updates

if TYPE_CHECKING:
    from bayesinv.reversible.base import Reversible
    from bayesinv.reversible.guard import Guard

__all__ = ["Pass", "Rebuild", "energy_of"]


@dataclass(frozen=True)
class Pass:
    """One pass through a map: its direction, whether it ends in the output's energy, and what is around it.

    That is whether the condition is a pyramid, the dtype outside, and the guard.
    """

    layer: Reversible
    inverted: bool
    energy: bool
    pyramid: bool
    dtype: torch.dtype
    guard: Guard | None

    @property
    def wide(self) -> torch.dtype | None:
        """The dtype of the stream between the layers, where it is not that of the input."""
        stream = None if self.guard is None else self.guard.stream
        return None if stream == self.dtype else stream

    @property
    def keeps_input(self) -> bool:
        """Whether the pass may have to be run again."""
        return self.guard is not None and self.guard.on_drift == "anchor"

    def tape(self) -> Tape:
        """An empty tape."""
        tape = Tape(self.guard, narrow=self.dtype if self.wide else None)
        tape.updates = None if self.layer._update is None else Updates(self.layer, self.layer._update)
        return tape

    def condition(self, flat: Sequence[Tensor], wanted: Sequence[bool]) -> Condition:
        """The condition as fresh leaves in the dtype of the stream."""
        leaves = [c.detach().to(precise(c, self.wide)) for c in flat]
        leaves = [c.detach().requires_grad_(need) for c, need in zip(leaves, wanted, strict=True)]
        return tuple(leaves) if self.pyramid else leaves[0] if leaves else None

    def run(self, tape: Tape, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        """Output and logdet, in the dtype of the stream."""
        wide = widened(self.layer.layers() if self.wide else [], self.wide)
        with written_by(tape), budgeted(self.layer.workspace), wide:
            return through(self.layer, -1, self.layer, x.to(self.wide or x.dtype), cond, inverted=self.inverted)

    def back(
        self, tape: Tape, y: Tensor, cond: Condition, grad_out: Tensor, grad_logdet: Tensor, *, owned: bool = False
    ) -> Backward:
        """The gradients, from the output in the dtype of the stream, which may be overwritten where it is ``owned``."""
        grad_out, grad_logdet = grad_out.to(y.dtype), grad_logdet.to(y.dtype)
        grad_y = y * grad_out.view(-1, *[1] * (y.ndim - 1)) if self.energy else grad_out
        wide = widened(self.layer.layers() if self.wide else [], self.wide)
        with written_by(tape), budgeted(self.layer.workspace), wide as originals:
            x, grad_x, grad_cond, grads = back_through(
                self.layer, -1, self.layer, y, cond, grad_y, grad_logdet, inverted=self.inverted, owned=owned
            )
        return x, grad_x, grad_cond, narrowed(grads, originals) if self.wide else grads


class Rebuild(torch.autograd.Function):
    """``y, logdet, token = Rebuild.apply(one_pass, number of condition tensors, x, *condition tensors, *parameters)``.

    In the place of ``y`` stands its energy where the pass ends in that. The token holds nothing; in the backward pass
    it leads back to all inputs, for whoever asks for a second derivative.
    """

    @staticmethod
    def forward(ctx: Any, one: Pass, parts: int, x: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Runs the map and saves its output, the condition, and what the tape holds."""
        tape = one.tape()
        y, logdet = one.run(tape, x, one.condition(rest[:parts], [False] * parts))
        kept = y = x.view_as(x) if y is x else y
        if one.energy:
            y = energy_of(y)
        if one.wide:
            y, logdet = y.to(x.dtype), logdet.to(x.dtype)
        start, token = [x] if one.keeps_input else [], x.new_empty(0)
        ctx.save_for_backward(kept, token, *rest[:parts], *start, *tape.tensors())
        ctx.one, ctx.parts, ctx.tape, ctx.parameters = one, parts, tape, rest[parts:]
        ctx.state = _state(one.layer)
        ctx.owned = one.energy and one.guard is None and not storages(kept) & storages(x, *rest[:parts])
        ctx.autocast = torch.is_autocast_enabled(x.device.type), torch.get_autocast_dtype(x.device.type)
        return y, logdet, token

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor, grad_logdet: Tensor, _: Tensor) -> tuple[Any, ...]:
        """Rebuilds the input and hands out the gradients on the way."""
        y, token, *saved = ctx.saved_tensors
        if _state(ctx.one.layer) != ctx.state:
            raise RuntimeError("expected the parameters of the forward pass, got changed ones: call backward first")
        enabled, dtype = ctx.autocast
        with torch.no_grad(), torch.autocast(y.device.type, enabled=enabled, dtype=dtype):  # networks repeat themselves
            _, grad_x, grad_cond, grads = _gradients(ctx, y.detach(), saved, grad_out, grad_logdet)
        grad_flat = grad_cond if isinstance(grad_cond, tuple) else (grad_cond,) * ctx.parts
        found = (grad_x, *grad_flat, *[grads.get(p) for p in ctx.parameters])
        if torch.is_grad_enabled():
            found = _Once.apply(token, *found)  # type: ignore[no-untyped-call]
        return None, None, *found


def energy_of(y: Tensor) -> Tensor:
    """``|y|^2 / 2`` of each sample, ``(batch,)``."""
    return y.square().sum(list(range(1, y.ndim))) / 2


def _gradients(ctx: Any, y: Tensor, saved: list[Tensor], grad_out: Tensor, grad_logdet: Tensor) -> Backward:
    one: Pass = ctx.one
    flat, saved = saved[: ctx.parts], saved[ctx.parts :]
    start, notes = (saved[:1], saved[1:]) if one.keeps_input else ([], saved)
    cond = one.condition(flat, ctx.needs_input_grad[3 : 3 + ctx.parts])
    tape: Tape = ctx.tape.reread(notes)
    found = one.back(tape, y, cond, grad_out, grad_logdet, owned=ctx.owned and not _is_kept())
    late = None if one.guard is None else one.guard.measure(tape)
    if one.guard is not None and late is not None:
        one.guard.report(*late)
        if one.keeps_input:
            again: Tape = ctx.tape.rewritten(late=late[0].index)
            y, _ = one.run(again, start[0], cond)
            found = one.back(again.reread(again.tensors()), y, cond, grad_out, grad_logdet)
    x, grad_x, grad_cond, grads = found
    if one.wide:
        grad_x = grad_x.to(one.dtype)
        of_flat = (grad_cond,) if not isinstance(grad_cond, tuple) else grad_cond
        cast = tuple(None if g is None else g.to(c.dtype) for g, c in zip(of_flat, flat, strict=False))
        grad_cond = cast if one.pyramid else cast[0] if cast else None
    return x, grad_x, grad_cond, grads


def _is_kept() -> bool:
    """Whether the graph may be gone through once more, for which torch has a private name only."""
    told: Any = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)
    return told is None or bool(told())


def _state(layer: Reversible) -> int:
    """A hash of identities and versions of the parameters: the input can be rebuilt with the same ones only."""
    parameters = [p for part in layer.modules() for p in part._parameters.values()]  # twice as fast as its own list
    return hash(tuple((id(p), p._version) for p in parameters if p is not None))


class _Once(torch.autograd.Function):
    """Gradients that cannot be differentiated again, and say so when it is tried."""

    @staticmethod
    def forward(ctx: Any, token: Tensor, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        return tuple(None if g is None else g.clone() for g in gradients)

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        raise RuntimeError(
            "expected one derivative of a map that stores nothing, got a second one: run the map within "
            "`with bayesinv.reversible.plain():`, which stores the activations and allows derivatives of any order"
        )
