r"""Networks evaluated in tiles, so that their hidden layers never lie in memory at once; exact, as the halos are.

A network whose output at a pixel depends on no pixel further than ``reach`` away gives, on a strip of rows and
``reach`` more to each side, the right output on the strip. A vector-Jacobian product with a gradient on the strip gives
that strip's share of all gradients. A tile is some samples, or a strip of one sample's rows (the first spatial axis).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from bayesinv.reversible.gradients import Condition, ConditionGradient, Gradients, accumulate, finest
from bayesinv.reversible.replay import Pull, evaluate, graph, narrowed_inputs

__all__ = [
    "Tile",
    "Workspace",
    "budgeted",
    "check_workspace",
    "even",
    "is_given",
    "looked_into",
    "pull_over",
    "run_over",
    "tiles",
]

Workspace = int | Literal["auto"]
ByHand = Callable[..., tuple[Tensor, Pull]]
_WORKSPACE: ContextVar[Workspace | None] = ContextVar("workspace", default="auto")
_CPU = 32 * 2**20  # bytes of hidden layers, a fifth more where gradients are whole: half of it is slower by a tenth


class Seen(NamedTuple):
    """Of a network: reach, footprint, and the evaluation with hand-written gradients if nothing has been changed."""

    reach: int | None
    footprint: int | None
    by_hand: ByHand | None


class Tile(NamedTuple):
    """Samples, the rows of the output, and how many more rows of the input there are before and after these."""

    samples: slice
    rows: slice
    before: int = 0
    after: int = 0

    @property
    def is_strip(self) -> bool:
        """Whether it has some of the rows only."""
        return bool(self.before or self.after)

    def inner(self, x: Tensor) -> Tensor:
        """The tile of a full tensor."""
        return x[self.samples, :, self.rows] if x.ndim > 2 else x[self.samples]

    def outer(self, x: Tensor) -> Tensor:
        """The tile with its halo of a full tensor."""
        if x.ndim == 2:
            return x[self.samples]
        return x[self.samples, :, self.rows.start - self.before : self.rows.stop + self.after]

    def cropped(self, out: Tensor) -> Tensor:
        """An output on the tile with its halo, without the halo."""
        return out[:, :, self.before : out.shape[2] - self.after] if self.is_strip else out

    def embedded(self, grad: Tensor, shape: Sequence[int]) -> Tensor:
        """The adjoint of `cropped`."""
        if not self.is_strip:
            return grad
        wide = grad.new_zeros(shape)
        wide[:, :, self.before : shape[2] - self.after] = grad
        return wide


def check_workspace(workspace: Workspace) -> Workspace:
    """Refuses what is no budget.

    Raises:
        ValueError: unless it is ``"auto"`` or a positive number of bytes.

    Example:
        >>> check_workspace(2**20)
        1048576
    """
    if workspace != "auto" and (not isinstance(workspace, int) or workspace < 1):
        raise ValueError(f"expected 'auto' or a positive number of bytes, got {workspace!r}")
    return workspace


def looked_into() -> bool:
    """Whether autograd or a transform follows what is computed now, which must then be plain torch."""
    return torch.is_grad_enabled() or _WORKSPACE.get() is None


@contextmanager
def budgeted(workspace: Workspace | None) -> Iterator[None]:
    """Networks within are evaluated in tiles of about this many bytes (one row at least); ``None``: `looked_into`."""
    before = _WORKSPACE.set(workspace)
    try:
        yield
    finally:
        _WORKSPACE.reset(before)


def tiles(network: nn.Module, a: Tensor) -> list[Tile]:
    """The tiles of ``a`` for a network that tells its ``reach`` and ``footprint`` (numbers alive for each pixel).

    Any other network gets one tile, all of ``a``.

    Example:
        >>> network = nn.Conv1d(1, 8, 3, padding=1)
        >>> network.reach, network.footprint = 1, 16
        >>> with budgeted(800):
        ...     [(t.rows, t.before, t.after) for t in tiles(network, torch.zeros(1, 1, 20))]
        [(slice(0, 10, None), 0, 1), (slice(10, 20, None), 1, 0)]
    """
    return _tiles(_seen(network, a.ndim - 2), a)


def _tiles(seen: Seen, a: Tensor) -> list[Tile]:
    batch, rows = a.shape[0], a.shape[2] if a.ndim > 2 else 1
    reach, footprint, by_hand = seen
    if reach is None or footprint is None:
        return [Tile(slice(0, batch), slice(0, rows))]
    of_row = footprint * math.prod(a.shape[3:]) * a.element_size()
    budget = _budget(a.device, _CPU // 2 if by_hand is not None and a.ndim == 5 else _CPU)
    samples = budget // (of_row * rows)
    if samples >= 1 or a.ndim == 2:
        return [Tile(slice(i, j), slice(0, rows)) for i, j in even(batch, max(1, samples))]
    strips = even(rows, max(1, budget // of_row - 2 * reach))
    return [
        Tile(slice(b, b + 1), slice(i, j), min(reach, i), min(reach, rows - j)) for b in range(batch) for i, j in strips
    ]


def run_over(network: nn.Module, a: Tensor, cond: Condition, use: Callable[[Tensor, Tile], None]) -> None:
    """Calls ``use`` with each tile of ``network(a, cond)``, or of ``network(a)`` where there is no condition."""
    own = finest(cond)
    plan, by_hand = _plan(network, a, own)
    for tile in plan:
        inputs = [tile.outer(a), *([] if own is None else [_beside(tile, own, a)])]
        if by_hand is None:
            use(tile.cropped(evaluate(network, *inputs)), tile)
        else:
            use(by_hand(network, *narrowed_inputs(*inputs), tile=tile)[0], tile)


def pull_over(
    network: nn.Module, a: Tensor, cond: Condition, use: Callable[[Tensor, Tile], Tensor], *, into: Tensor | None = None
) -> tuple[Tensor | float, ConditionGradient, Gradients]:
    """In a backward pass: ``use`` turns each tile of the output into its gradient.

    Returns the gradients of ``a``, of the condition (of its structure), and of the parameters. One evaluation of the
    network gives both the output and the graph of the gradients. That of ``a`` is added to ``into``, where it is given.
    """
    own, grads = finest(cond), Gradients()
    plan, by_hand = _plan(network, a, own)
    grad_a: Tensor | float = torch.zeros_like(a) if into is None and len(plan) > 1 else 0.0 if into is None else into
    grad_own: Tensor | None = None
    for tile in plan:
        out, pull = _opened(network, by_hand, a, own, tile)
        grad = use(out, tile)
        del out
        more, of_cond, found = pull(grad)
        del grad, pull
        if isinstance(grad_a, Tensor):
            tile.outer(grad_a).add_(more)
        else:
            grad_a = more
        if own is not None and isinstance(of_cond, Tensor):
            if len(plan) == 1:
                grad_own = of_cond
            else:
                grad_own = torch.zeros_like(own) if grad_own is None else grad_own
                tile.outer(grad_own).add_(of_cond)
        accumulate(grads, found)
    if isinstance(cond, tuple):
        return grad_a, (grad_own, *[None] * (len(cond) - 1)), grads
    return grad_a, grad_own, grads


def _plan(network: nn.Module, a: Tensor, own: Tensor | None) -> tuple[list[Tile], ByHand | None]:
    """The tiles, and the evaluation by hand; a condition of another space than ``a`` is the network's own affair.

    The same ones in both passes, although the forward one needs less memory: sums round otherwise on other tiles, and
    the input is rebuilt as well as the network repeats itself.
    """
    if own is not None and own.shape[2:] != a.shape[2:]:
        return [Tile(slice(0, a.shape[0]), slice(0, a.shape[2] if a.ndim > 2 else 1))], None
    seen = _seen(network, a.ndim - 2)
    return _tiles(seen, a), seen.by_hand


def _beside(tile: Tile, own: Tensor, a: Tensor) -> Tensor:
    """The tile of the condition, or all of one of another space."""
    return tile.outer(own) if own.shape[2:] == a.shape[2:] else own


def _opened(
    network: nn.Module, by_hand: ByHand | None, a: Tensor, own: Tensor | None, tile: Tile
) -> tuple[Tensor, Pull]:
    """A tile of the network's output, and the function from its gradient to those of all that it is made of."""
    if by_hand is not None:
        inputs = narrowed_inputs(*[tile.outer(t) for t in (a, own) if t is not None])
        return by_hand(network, *inputs, tile=tile, wanted=own is not None and own.requires_grad)
    part = None if own is None else _beside(tile, own.detach(), a).requires_grad_(own.requires_grad)
    out, pull = graph(network, tile.outer(a).clone(), part)  # what is beside ``a`` in memory may be overwritten before
    shape = out.shape
    return tile.cropped(out), lambda grad: pull(tile.embedded(grad, shape))


def _seen(network: nn.Module, rank: int) -> Seen:
    """What a network tells of itself, or what can be seen."""
    from bayesinv.reversible.sequential import evaluated_in_order, is_plain_network, margins

    if is_plain_network(network, rank):
        return Seen(*margins(network), evaluated_in_order)
    kind: Any = type(network)
    by_hand: ByHand | None = kind.by_hand if hasattr(kind, "by_hand") and kind.is_as_written(network) else None
    if by_hand is None and hasattr(kind, "is_built") and not kind.is_built(network):
        return Seen(None, None, None)  # with other layers inside the reach may be another one
    reach, footprint = getattr(network, "reach", None), getattr(network, "footprint", None)
    if not (isinstance(reach, int) and isinstance(footprint, int)):
        reach = footprint = None
    return Seen(reach, footprint, by_hand)


def even(total: int, largest: int) -> list[tuple[int, int]]:
    """As few parts of at most ``largest`` as will do, of about the same size."""
    parts = max(1, math.ceil(total / largest))
    return list(pairwise(total * i // parts for i in range(parts + 1)))


def is_given() -> bool:
    """Whether somebody has said how many bytes there are, and memory counts for more than some hundredths of time."""
    return isinstance(_WORKSPACE.get(), int)


def _budget(device: torch.device, of_cpu: int) -> int:
    workspace = _WORKSPACE.get()
    if isinstance(workspace, int):
        return workspace
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory // 64)
    return of_cpu
