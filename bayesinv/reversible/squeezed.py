r"""`Squeezed`: a map at half the resolution, ``y = Q^T f(Q x)`` with an orthogonal squeeze ``Q``, ``log |det Q| = 0``.

Space-to-depth moves the ``2^d`` pixels of a block into channels (channel-major, as ``torch.pixel_unshuffle``).
Haar replaces them by sums and differences, ``L = (e + o)/sqrt(2)``, ``H = (e - o)/sqrt(2)`` along each axis, with all
low-pass channels first. As ``Q`` is orthogonal, gradients pass through it as values do.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from bayesinv.reversible.base import Backward, Condition, ConditionGradient, Reversible

__all__ = ["Squeeze", "Squeezed", "coarser", "squeeze", "unsqueeze"]

Squeeze = Literal["space-to-depth", "haar"]


def squeeze(x: Tensor, *, kind: Squeeze = "haar") -> Tensor:
    """``(batch, channels, *space)`` to ``(batch, 2^d channels, *space/2)``.

    Raises:
        ValueError: if there is no spatial axis, or one of odd length, or the kind is unknown.

    Example:
        >>> import torch
        >>> squeeze(torch.ones(1, 1, 2, 2)).flatten().tolist()
        [2.0, 0.0, 0.0, 0.0]
    """
    _check_kind(kind)
    _check_even(x)
    if kind == "haar":
        for axis in range(2, x.ndim):
            even, odd = _strided(x, axis, 0), _strided(x, axis, 1)
            x = torch.cat([even + odd, even - odd], 1)
        return x * 2 ** (-(x.ndim - 2) / 2)
    d = x.ndim - 2
    split = x.reshape(*x.shape[:2], *[n for size in x.shape[2:] for n in (size // 2, 2)])
    order = (0, 1, *range(3, 3 + 2 * d, 2), *range(2, 2 + 2 * d, 2))
    return split.permute(order).reshape(x.shape[0], x.shape[1] * 2**d, *[size // 2 for size in x.shape[2:]])


def unsqueeze(y: Tensor, *, kind: Squeeze = "haar") -> Tensor:
    """The inverse, and adjoint, of `squeeze`.

    Example:
        >>> import torch
        >>> x = torch.randn(2, 3, 4, 6)
        >>> torch.allclose(unsqueeze(squeeze(x)), x, atol=1e-6)
        True
    """
    _check_kind(kind)
    d = y.ndim - 2
    if d < 1 or y.shape[1] % 2**d:
        raise ValueError(f"expected a multiple of {2 ** max(d, 1)} channels and a spatial axis, got {tuple(y.shape)}")
    if kind == "haar":
        for axis in range(y.ndim - 1, 1, -1):
            low, high = y.chunk(2, 1)
            y = torch.stack([low + high, low - high], axis + 1).flatten(axis, axis + 1)
        return y * 2 ** (-d / 2)
    channels = y.shape[1] // 2**d
    split = y.reshape(y.shape[0], channels, *[2] * d, *y.shape[2:])
    order = (0, 1, *[n for i in range(d) for n in (2 + d + i, 2 + i)])
    return split.permute(order).reshape(y.shape[0], channels, *[2 * size for size in y.shape[2:]])


def coarser(cond: Condition) -> Condition:
    """The condition of the next level: the rest of a pyramid, or the block means of one tensor."""
    if cond is None:
        return None
    if isinstance(cond, tuple):
        if len(cond) < 2:
            raise ValueError("expected a condition pyramid with one tensor a level, got one that ends above this level")
        return cond[1:]
    _check_even(cond)
    for axis in range(2, cond.ndim):
        cond = (_strided(cond, axis, 0) + _strided(cond, axis, 1)) / 2
    return cond


class Squeezed(Reversible):
    """Applies ``inner`` at half resolution, on ``2^d`` times the channels.

    Args:
        inner: the map at half resolution, which sees ``(batch, 2^d channels, *space/2)`` and the coarser condition.
        kind: ``"haar"`` or ``"space-to-depth"``.

    Example:
        >>> import torch
        >>> from bayesinv.reversible import ActNorm, Squeezed
        >>> y, _ = Squeezed(ActNorm(4))(torch.randn(2, 1, 8, 8))
        >>> y.shape
        torch.Size([2, 1, 8, 8])
    """

    def __init__(self, inner: Reversible, *, kind: Squeeze = "haar") -> None:
        super().__init__()
        _check_kind(kind)
        self.inner, self.kind = inner, kind

    def _down(self, x: Tensor) -> Tensor:
        return _as_channels_last(squeeze(x, kind=self.kind))

    def _up(self, y: Tensor) -> Tensor:
        return _as_channels_last(unsqueeze(y, kind=self.kind))

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        y, logdet = self.inner._forward(self._down(x), coarser(cond))
        return self._up(y), logdet

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        x, logdet = self.inner._inverse(self._down(y), coarser(cond))
        return self._up(x), logdet

    def _backward(self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor) -> Backward:
        x, grad_x, grad_cond, grads = self.inner._backward(
            self._down(y), _coarser_leaf(cond), self._down(grad_y), grad_logdet
        )
        return self._up(x), self._up(grad_x), _finer(grad_cond, cond), grads

    def _inverse_backward(self, x: Tensor, cond: Condition, grad_x: Tensor, grad_logdet: Tensor) -> Backward:
        y, grad_y, grad_cond, grads = self.inner._inverse_backward(
            self._down(x), _coarser_leaf(cond), self._down(grad_x), grad_logdet
        )
        return self._up(y), self._up(grad_y), _finer(grad_cond, cond), grads


def _coarser_leaf(cond: Condition) -> Condition:
    """`coarser` for the backward pass, which runs without grad: the block means still ask for the gradient."""
    coarse = coarser(cond)
    if isinstance(coarse, Tensor) and isinstance(cond, Tensor):
        coarse = coarse.detach().requires_grad_(cond.requires_grad)
    return coarse


def _finer(grad: ConditionGradient, cond: Condition) -> ConditionGradient:
    """The adjoint of `coarser`."""
    if isinstance(cond, tuple):
        return (None, *grad) if isinstance(grad, tuple) else (None,) * len(cond)
    if isinstance(grad, Tensor):
        for axis in range(2, grad.ndim):
            grad = grad.repeat_interleave(2, axis) / 2
    return grad


def _strided(x: Tensor, axis: int, start: int) -> Tensor:
    return x[(slice(None),) * axis + (slice(start, None, 2),)]


def _check_kind(kind: str) -> None:
    if kind not in ("haar", "space-to-depth"):
        raise ValueError(f"expected kind 'haar' or 'space-to-depth', got {kind!r}")


def _check_even(x: Tensor) -> None:
    if x.ndim < 3 or any(size % 2 for size in x.shape[2:]):
        good = [max(2, 2 * math.ceil(size / 2)) for size in x.shape[2:]]
        raise ValueError(
            f"expected spatial sizes that can be halved, got a tensor of shape {tuple(x.shape)}"
            + (f"; sizes {good} would do" if good else "")
        )


def _as_channels_last(x: Tensor) -> Tensor:
    """2-D convolutions run faster on this memory format; other ranks are left as they are."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x
