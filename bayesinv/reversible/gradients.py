"""What a backward pass is handed and hands back: conditions, gradients keyed by parameter, and their sums."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = [
    "Backward",
    "Condition",
    "ConditionGradient",
    "Gradients",
    "accumulate",
    "add_condition_gradients",
    "add_gradients",
    "differentiated",
    "finest",
    "flattened",
    "given_up",
    "present",
    "pulled_back",
    "storages",
    "unflattened",
]

Condition = Tensor | tuple[Tensor, ...] | None
ConditionGradient = Tensor | tuple[Tensor | None, ...] | None
Gradients = dict[nn.Parameter, Tensor]
Backward = tuple[Tensor, Tensor, ConditionGradient, Gradients]


def finest(cond: Condition) -> Tensor | None:
    """The part of the condition that a layer of this resolution uses."""
    return cond[0] if isinstance(cond, tuple) else cond


def flattened(cond: Condition) -> tuple[Tensor, ...]:
    """The tensors of a condition."""
    return () if cond is None else (cond,) if isinstance(cond, Tensor) else cond


def unflattened(flat: Sequence[Tensor], like: Condition) -> Condition:
    """A condition of the structure of ``like`` from its tensors."""
    return None if like is None else flat[0] if isinstance(like, Tensor) else tuple(flat)


def add_gradients(total: Gradients, more: Gradients) -> None:
    """Adds ``more`` to ``total`` in place; a parameter used twice gets the sum."""
    for parameter, gradient in more.items():
        total[parameter] = total[parameter] + gradient if parameter in total else gradient


def present(grad: ConditionGradient) -> tuple[Tensor, ...]:
    """The tensors of a condition's gradient.

    Example:
        >>> len(present((None, torch.zeros(1)))), len(present(None))
        (1, 0)
    """
    return tuple(g for g in (grad if isinstance(grad, tuple) else (grad,)) if g is not None)


def storages(*tensors: Tensor) -> set[int]:
    """The memory that tensors lie in.

    Example:
        >>> x = torch.zeros(4)
        >>> len(storages(x, x[1:])), len(storages(x, x.clone()))
        (1, 2)
    """
    return {t.data_ptr() - int(t.storage_offset()) * t.itemsize for t in tensors}  # no storage objects


def given_up(x: Tensor) -> None:
    """Frees the memory of a tensor that is not read again, whoever still names it; a part of another one keeps it.

    Example:
        >>> x = torch.zeros(4)
        >>> given_up(x[1:]), given_up(x), x.untyped_storage().nbytes()
        (None, None, 0)
    """
    storage = x.untyped_storage()
    if storage.nbytes() == x.nbytes and storage.resizable():
        storage.resize_(0)


def accumulate(total: Gradients, more: Gradients) -> None:
    """`add_gradients` where nobody else holds the tensors of ``total``, which are overwritten."""
    for parameter, gradient in more.items():
        if parameter in total:
            total[parameter].add_(gradient)
        else:
            total[parameter] = gradient


def add_condition_gradients(first: ConditionGradient, second: ConditionGradient) -> ConditionGradient:
    """The sum of two condition gradients, either of which may be absent."""
    if first is None or second is None:
        return first if second is None else second
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return first + second
    return tuple(
        a + b if a is not None and b is not None else (b if a is None else a)
        for a, b in zip(first, second, strict=True)
    )


def differentiated(
    function: Callable[[Tensor, Condition], tuple[Tensor, Tensor]],
    parameters: Iterable[nn.Parameter],
    start: Tensor,
    cond: Condition,
    grad_out: Tensor,
    grad_logdet: Tensor,
) -> tuple[Tensor, ConditionGradient, Gradients]:
    """Gradients of ``out, logdet = function(start, cond)`` by autograd, with one graph that is freed at once."""
    wanted_parameters = [p for p in parameters if p.requires_grad]
    with torch.enable_grad():
        leaf = start.detach().requires_grad_()
        flat = [c.detach().requires_grad_(c.requires_grad) for c in flattened(cond)]
        out, logdet = function(leaf, unflattened(flat, cond))
    wanted = [leaf, *[c for c in flat if c.requires_grad], *wanted_parameters]
    pairs = [(o, g) for o, g in ((out, grad_out), (logdet, grad_logdet)) if o.requires_grad]
    found = pulled_back([o for o, _ in pairs], wanted, [g for _, g in pairs])
    grads = dict(zip(map(id, wanted), found, strict=True))
    grad_leaf = grads[id(leaf)]
    grad_cond = [grads.get(id(c)) for c in flat]
    return (
        torch.zeros_like(start) if grad_leaf is None else grad_leaf,
        tuple(grad_cond) if isinstance(cond, tuple) else (grad_cond[0] if grad_cond else None),
        {p: g for p in wanted_parameters if (g := grads[id(p)]) is not None},
    )


def pulled_back(
    outputs: Sequence[Tensor], wanted: Sequence[Tensor], grads: Sequence[Tensor]
) -> tuple[Tensor | None, ...]:
    """`torch.autograd.grad` inside of a backward pass: hooks on parameters wait for the pass's own, final gradient."""
    with _without_hooks(wanted):
        return torch.autograd.grad(outputs, wanted, grads, allow_unused=True)


@contextmanager
def _without_hooks(tensors: Sequence[Tensor]) -> Iterator[None]:
    held: list[tuple[Any, Any]] = [(t, t._backward_hooks) for t in tensors if t._backward_hooks]
    for tensor, _ in held:
        tensor._backward_hooks = None
    try:
        yield
    finally:
        for tensor, hooks in held:
            tensor._backward_hooks = hooks
