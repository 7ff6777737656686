r"""`Reversible`: a map with an inverse, whose backward pass rebuilds the input instead of storing it.

For ``y = f(x; cond, theta)`` with ``logdet = log |det df/dx|`` the backward pass is handed ``y`` and the gradients
``dL/dy`` and ``dL/dlogdet``. It returns ``x = f^{-1}(y)`` next to ``dL/dx``, ``dL/dcond`` and ``dL/dtheta``, so that a
chain of any depth keeps one tensor only (Gomez et al. 2017, arXiv 1707.04585).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

__all__ = [
    "Backward",
    "Condition",
    "ConditionGradient",
    "Gradients",
    "Reversible",
    "add_condition_gradients",
    "add_gradients",
    "finest",
]

Condition = Tensor | tuple[Tensor, ...] | None
ConditionGradient = Tensor | tuple[Tensor | None, ...] | None
Gradients = dict[nn.Parameter, Tensor]
Backward = tuple[Tensor, Tensor, ConditionGradient, Gradients]


class Reversible(nn.Module, ABC):
    """A reversible map; a leaf writes `_forward` and `_inverse`, and `_backward` where one pass gives all.

    Both directions are memory-frugal under grad: they keep their output and the condition only. The condition is
    ``None``, one tensor ``(batch, channels, *space)``, or a tuple of tensors from fine to coarse, of which a layer
    uses the first and `Squeezed` hands on the rest.

    Source: Gomez et al., The Reversible Residual Network, 2017, arXiv 1707.04585.

    Example:
        >>> import torch
        >>> from bayesinv.reversible import ActNorm
        >>> layer, x = ActNorm(2), torch.randn(3, 2, 4)
        >>> y, logdet = layer(x)
        >>> torch.allclose(layer.inverse(y)[0], x, atol=1e-6), logdet.shape
        (True, torch.Size([3]))
    """

    def forward(self, x: Tensor, cond: Condition = None) -> tuple[Tensor, Tensor]:
        """Maps ``x (batch, channels, *space)`` to ``(y, log |det dy/dx| (batch,))``.

        Raises:
            ValueError: if ``x`` has no batch and channel axes, or the condition another batch size.
        """
        return _run(self, False, x, cond)

    def inverse(self, y: Tensor, cond: Condition = None) -> tuple[Tensor, Tensor]:
        """Maps ``y (batch, channels, *space)`` to ``(x, log |det dx/dy| (batch,))``.

        Raises:
            ValueError: if ``y`` has no batch and channel axes, or the condition another batch size.
        """
        return _run(self, True, y, cond)

    @abstractmethod
    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]: ...

    @abstractmethod
    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]: ...

    def _backward(self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor) -> Backward:
        """``(x, dL/dx, dL/dcond, {parameter: dL/dparameter})`` of the forward map, by recomputation."""
        with torch.no_grad():
            x, _ = self._inverse(y, cond)
        return x, *_differentiate(self, self._forward, x, cond, grad_y, grad_logdet)

    def _inverse_backward(self, x: Tensor, cond: Condition, grad_x: Tensor, grad_logdet: Tensor) -> Backward:
        """``(y, dL/dy, dL/dcond, {parameter: dL/dparameter})`` of the inverse map, by recomputation."""
        with torch.no_grad():
            y, _ = self._forward(x, cond)
        return y, *_differentiate(self, self._inverse, y, cond, grad_x, grad_logdet)


def finest(cond: Condition) -> Tensor | None:
    """The part of the condition that a layer of this resolution uses."""
    return cond[0] if isinstance(cond, tuple) else cond


def add_gradients(total: Gradients, more: Gradients) -> None:
    """Adds ``more`` to ``total`` in place; a parameter used twice gets the sum."""
    for parameter, gradient in more.items():
        total[parameter] = total[parameter] + gradient if parameter in total else gradient


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


def _differentiate(
    layer: Reversible, function: Any, start: Tensor, cond: Condition, grad_out: Tensor, grad_logdet: Tensor
) -> tuple[Tensor, ConditionGradient, Gradients]:
    """Gradients of ``function(start, cond)`` and of its logdet, with one graph that is freed at once."""
    parameters = [p for p in layer.parameters() if p.requires_grad]
    with torch.enable_grad():
        leaf = start.detach().requires_grad_()
        flat = [c.detach().requires_grad_(c.requires_grad) for c in _flatten(cond)]
        out, logdet = function(leaf, _unflatten(flat, cond))
        wanted = [leaf, *[c for c in flat if c.requires_grad], *parameters]
        pairs = [(o, g) for o, g in ((out, grad_out), (logdet, grad_logdet)) if o.requires_grad]
        found = torch.autograd.grad([o for o, _ in pairs], wanted, [g for _, g in pairs], allow_unused=True)
    grads = dict(zip(map(id, wanted), found, strict=True))
    grad_leaf = grads[id(leaf)]
    grad_cond = [grads.get(id(c)) for c in flat]
    return (
        torch.zeros_like(start) if grad_leaf is None else grad_leaf,
        tuple(grad_cond) if isinstance(cond, tuple) else (grad_cond[0] if grad_cond else None),
        {p: g for p in parameters if (g := grads[id(p)]) is not None},
    )


def _flatten(cond: Condition) -> tuple[Tensor, ...]:
    return () if cond is None else (cond,) if isinstance(cond, Tensor) else cond


def _unflatten(flat: list[Tensor], like: Condition) -> Condition:
    return None if like is None else flat[0] if isinstance(like, Tensor) else tuple(flat)


def _run(layer: Reversible, inverted: bool, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
    if x.ndim < 2 or not x.is_floating_point():
        raise ValueError(
            f"expected a floating-point tensor (batch, channels, *space), got {x.dtype} of shape {tuple(x.shape)}"
        )
    if not (cond is None or isinstance(cond, Tensor) or (isinstance(cond, tuple) and cond)):
        raise ValueError(f"expected no condition, a tensor, or a tuple of tensors from fine to coarse, got {cond!r}")
    flat = _flatten(cond)
    for part in flat:
        if part.shape[0] != x.shape[0]:
            raise ValueError(f"expected a condition with batch size {x.shape[0]}, got one of shape {tuple(part.shape)}")
    parameters = [p for p in layer.parameters() if p.requires_grad]
    if torch.is_grad_enabled() and (parameters or any(t.requires_grad for t in (x, *flat))):
        out: tuple[Tensor, Tensor] = _Rebuild.apply(  # type: ignore[no-untyped-call]
            layer, inverted, cond, len(flat), x, *flat, *parameters
        )
        return out
    with torch.no_grad():
        return layer._inverse(x, cond) if inverted else layer._forward(x, cond)


def _state(layer: Reversible) -> list[tuple[int, int]]:
    """Identity and version of each parameter: the input can be rebuilt with the same ones only."""
    return [(id(p), p._version) for p in layer.parameters()]


class _Rebuild(torch.autograd.Function):
    """The one autograd node of a reversible map, however deep: saves the output and the condition only."""

    @staticmethod
    def forward(
        ctx: Any, layer: Reversible, inverted: bool, cond: Condition, parts: int, x: Tensor, *rest: Tensor
    ) -> tuple[Tensor, Tensor]:
        y, logdet = layer._inverse(x, cond) if inverted else layer._forward(x, cond)
        if y is x:
            y = x.view_as(x)
        ctx.layer, ctx.inverted, ctx.kind = layer, inverted, type(cond)
        ctx.parameters, ctx.state = rest[parts:], _state(layer)
        ctx.autocast = torch.is_autocast_enabled(x.device.type), torch.get_autocast_dtype(x.device.type)
        ctx.save_for_backward(y, *rest[:parts])
        return y, logdet

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_logdet: Tensor) -> tuple[Any, ...]:
        y, *flat = ctx.saved_tensors
        if _state(ctx.layer) != ctx.state:
            raise RuntimeError("expected the parameters of the forward pass, got changed ones: call backward first")
        wanted = ctx.needs_input_grad[5 : 5 + len(flat)]
        flat = [c.detach().requires_grad_(need) for c, need in zip(flat, wanted, strict=True)]
        cond: Condition = tuple(flat) if ctx.kind is tuple else flat[0] if flat else None
        step = ctx.layer._inverse_backward if ctx.inverted else ctx.layer._backward
        enabled, dtype = ctx.autocast
        with torch.autocast(y.device.type, enabled=enabled, dtype=dtype):  # the network must repeat itself exactly
            _, grad_x, grad_cond, grads = step(y.detach(), cond, grad_y, grad_logdet)
        grad_flat = grad_cond if isinstance(grad_cond, tuple) else (grad_cond,) * len(flat)
        return None, None, None, None, grad_x, *grad_flat, *[grads.get(p) for p in ctx.parameters]
