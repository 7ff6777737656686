"""`plain`: reversible maps under plain autograd, with every activation stored and derivatives of any order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor
from torch.autograd import forward_ad

__all__ = ["is_plain", "plain", "plain_fits"]

_PLAIN: ContextVar[bool] = ContextVar("plain", default=False)


@contextmanager
def plain() -> Iterator[None]:
    """Within, maps store their activations as ordinary layers do, so that gradients can be differentiated again.

    The same values and first derivatives, at a memory that grows with depth. Maps are in this mode by themselves under
    the transforms of ``torch.func`` and for forward-mode derivatives.

    Example:
        >>> import torch
        >>> from bayesinv.reversible import ActNorm
        >>> x = torch.ones(1, 2, requires_grad=True)
        >>> with plain():
        ...     y, _ = ActNorm(2)(x)
        >>> (grad,) = torch.autograd.grad((y**3).sum(), x, create_graph=True)
        >>> torch.autograd.grad(grad.sum(), x)[0].tolist()
        [[6.0, 6.0]]
    """
    before = _PLAIN.set(True)
    try:
        yield
    finally:
        _PLAIN.reset(before)


def plain_fits(forward: Callable[[], object], limit: int) -> bool:
    """Whether plain autograd would keep at most ``limit`` bytes of ``forward()`` for its backward pass.

    That follows from shapes alone, and no more than ``limit`` is taken to find out. What two operations keep of one
    tensor is counted twice, and so are weights.

    Example:
        >>> import torch
        >>> from bayesinv.flows import glow
        >>> x = torch.zeros(8, 1, 16, 16)
        >>> [plain_fits(lambda: glow((1, 16, 16), levels=2, steps=n).log_prob(x), 4 * 2**20) for n in (1, 8)]
        [True, False]
    """
    kept = 0

    def counted(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.nbytes
        if kept > limit:
            raise _TooMuchError
        return tensor.detach()

    with plain(), torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(counted, lambda tensor: tensor):
        try:
            forward()
        except _TooMuchError:
            return False
    return True


class _TooMuchError(Exception):
    pass


def is_plain(*tensors: Tensor) -> bool:
    """Whether a map of these tensors is to run plainly: so told, or under a transform that looks into it."""
    if _PLAIN.get() or torch._C._are_functorch_transforms_active():
        return True
    if forward_ad._current_level < 0:
        return False
    return any(forward_ad.unpack_dual(t).tangent is not None for t in tensors)  # type: ignore[no-untyped-call]
