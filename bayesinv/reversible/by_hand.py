r"""The `Conditioner` with gradients written out, on a strip of rows; three hidden layers alive at once, and no graph.

    q = a (1 + (a/r)^4)^(-1/4),  h = relu(W1*q + b1 + V*c),  u = h + relu(W2*h + b2),  out = W3*u + b3
    du = W3^T*g,  dv = du [u > h],  dh = (du + W2^T*dv) [h > 0],  dc = V^T*dh,  da = (W1^T*dh) (1 + (a/r)^4)^(-5/4)

A strip of ``n`` output rows needs ``n + 2 m`` rows of ``h`` and ``n + 4 m`` of ``q``, ``m = kernel // 2``. Beyond the
image's edge ``q``, ``h`` and ``u`` are zero, and so are then their masks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from bayesinv.reversible.gradients import Gradients
from bayesinv.reversible.patches import convolved, pulled

if TYPE_CHECKING:
    from bayesinv.reversible.conditioners import Conditioner
    from bayesinv.reversible.tiles import Tile

__all__ = ["REACH", "evaluated"]

REACH = 2.5  # r
_threshold = torch.ops.aten.threshold_backward.grad_input


def evaluated(
    net: Conditioner, a: Tensor, cond: Tensor | None, tile: Tile, *, wanted: bool
) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, Tensor | None, Gradients]]]:
    """The output on the tile, from inputs on the tile with its halo, and the function from its gradient to all others.

    ``wanted`` says whether the condition's gradient is among these. The function may be called once.
    """
    dtype = torch.get_autocast_dtype(a.device.type) if torch.is_autocast_enabled(a.device.type) else a.dtype
    margin = net.reach // 2
    strip = bool(tile.before or tile.after)
    pad = 0 if strip else margin  # a whole image is padded by the convolutions
    edges = (net.reach - tile.before, net.reach - tile.after) if strip else (0, 0)  # rows of q beyond the image
    beyond = (max(0, edges[0] - margin), max(0, edges[1] - margin))  # the same of h
    unseen = (max(0, tile.before - margin), max(0, tile.after - margin))  # rows of c that h does not see

    root = (1 + (a / REACH).square().square()).sqrt()
    weight = root.rsqrt()
    slope = weight / root.square_()
    q = _padded(a * weight, edges).to(dtype)
    h = _applied(net.first, q, pad)
    c = None
    if net.inject is not None and cond is not None:
        c = _trimmed(cond, unseen).to(dtype)
        _trimmed(h, beyond).add_(_applied(net.inject, c, 0))
    h = _cleared(h.relu_(), beyond)
    u = _cleared(_applied(net.middle, h, 0).relu_().add_(h), beyond)
    del root, weight

    def pull(grad: Tensor) -> tuple[Tensor, Tensor | None, Gradients]:
        grads: Gradients = {}
        du = _pulled(net.last, u, grad.to(dtype), pad, grads)
        v = u.sub_(h)  # positive where u > h
        dv = _threshold(du, v, 0, grad_input=v)
        dh = _pulled(net.middle, h, dv, 0, grads).add_(du)
        del du
        dh = _threshold(dh, h, 0, grad_input=dh)
        dc = None
        if c is not None:
            dc = _pulled(net.inject, c, _trimmed(dh, beyond), 0, grads, wanted=wanted)
            dc = _padded(dc, unseen).to(a.dtype) if wanted else None
        dq = _pulled(net.first, q, dh, pad, grads)
        return _trimmed(dq, edges).to(a.dtype) * slope, dc, grads

    return _applied(net.last, u, pad), pull


def _applied(layer: Any, x: Tensor, pad: int) -> Tensor:
    """The layer, with ``pad`` rows of zeros around the first axis, and the same size along the others."""
    weight, bias = layer.weight.detach().to(x.dtype), None if layer.bias is None else layer.bias.detach().to(x.dtype)
    if x.ndim == 2:
        return F.linear(x, weight, bias)
    pads = _pads(layer, pad)
    if x.ndim == 5 and _on_products(x):
        return convolved(x, weight, bias, pads)
    return torch.convolution(x, weight, bias, *_geometry(pads))


def _pulled(layer: Any, x: Tensor, grad: Tensor, pad: int, grads: Gradients, *, wanted: bool = True) -> Tensor:
    """The gradient of the layer's input; those of its parameters go into ``grads``."""
    weight, bias = layer.weight, layer.bias
    if bias is not None and bias.requires_grad:
        grads[bias] = grad.sum([0, *range(2, grad.ndim)]).to(bias.dtype)
    old, need = weight.detach().to(x.dtype), (wanted, weight.requires_grad)
    found: tuple[Tensor | None, Tensor | None]
    if x.ndim == 2:
        found = (grad @ old if need[0] else None, grad.T @ x if need[1] else None)
    elif _on_products(x) and (x.ndim == 5 or x.shape[1] >= 4 * len(weight)):
        found = pulled(x, old, grad, _pads(layer, pad), need)
    else:  # apart, which is faster on CPUs than both at once
        pads = _pads(layer, pad)
        found = (_library(x, old, grad, pads, 0, need[0]), _library(x, old, grad, pads, 1, need[1]))
    if found[1] is not None:
        grads[weight] = found[1].to(weight.dtype)
    return found[0]  # type: ignore[return-value]


def _library(x: Tensor, weight: Tensor, grad: Tensor, pads: list[int], which: int, wanted: bool) -> Tensor | None:
    if not wanted:
        return None
    mask = [i == which for i in range(3)]
    found: Tensor = torch.ops.aten.convolution_backward(grad, x, weight, [0], *_geometry(pads), mask)[which]
    return found


def _on_products(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)


def _pads(layer: Any, pad: int) -> list[int]:
    return [pad if layer.padding[0] else 0, *layer.padding[1:]]


def _geometry(pads: list[int]) -> tuple[list[int], list[int], list[int], bool, list[int], int]:
    ones = [1] * len(pads)
    return ones, pads, ones, False, [0] * len(pads), 1


def _around(x: Tensor, rows: tuple[int, int]) -> list[int]:
    """What `F.pad` calls these rows around the first axis of space."""
    return [0] * 2 * max(0, x.ndim - 3) + list(rows) if x.ndim > 2 else []


def _padded(x: Tensor, rows: tuple[int, int]) -> Tensor:
    return F.pad(x, _around(x, rows)) if any(rows) else x


def _trimmed(x: Tensor, rows: tuple[int, int]) -> Tensor:
    return x[:, :, rows[0] : x.shape[2] - rows[1]] if any(rows) else x


def _cleared(x: Tensor, rows: tuple[int, int]) -> Tensor:
    if any(rows):
        x[:, :, : rows[0]] = 0
        x[:, :, x.shape[2] - rows[1] :] = 0
    return x
