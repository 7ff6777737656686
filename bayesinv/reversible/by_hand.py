r"""The `Conditioner` with gradients written out, on a strip of rows; two or three hidden layers alive, and no graph.

    q = a (1 + (a/r)^4)^(-1/4),  h = relu(W1*q + b1 + V*c),  u = h + relu(W2*h + b2),  out = W3*u + b3
    du = W3^T*g,  dv = du [u > h],  dh = (du + W2^T*dv) [h > 0],  dc = V^T*dh,  da = (W1^T*dh) (1 + (a/r)^4)^(-5/4)

A strip of ``n`` output rows needs ``n + 2 m`` rows of ``h`` and ``n + 4 m`` of ``q``, ``m = kernel // 2``. Beyond the
image's edge ``q``, ``h`` and ``u`` are zero, and so are then their masks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bayesinv.reversible.gradients import Gradients
from bayesinv.reversible.strips import (
    applied,
    cleared,
    compute_dtype,
    masked,
    missing,
    of_input,
    padded,
    parts_of,
    pulled,
    pulled_to_parameters,
    trimmed,
)

if TYPE_CHECKING:
    from bayesinv.reversible.conditioners import Conditioner
    from bayesinv.reversible.tiles import Tile

__all__ = ["REACH", "evaluated"]

REACH = 2.5  # r


def evaluated(
    net: Conditioner, a: Tensor, cond: Tensor | None, tile: Tile, *, wanted: bool
) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, Tensor | None, Gradients]]]:
    """The output on the tile, from inputs on the tile with its halo, and the function from its gradient to all others.

    ``wanted`` says whether the condition's gradient is among these. The function may be called once;
    ``a`` must not change before.
    """
    dtype, margin = compute_dtype(a), net.reach // 2
    pad = 0 if tile.is_strip else margin
    edges = missing(net.reach, tile)  # rows of q beyond the image
    beyond = (max(0, edges[0] - margin), max(0, edges[1] - margin))  # the same of h
    unseen = (max(0, tile.before - margin), max(0, tile.after - margin))  # rows of c that h does not see

    square, one = a.square(), a.new_ones(())
    fourth = torch.addcmul(one, square, square, value=REACH**-4)  # 1 + (a/r)^4
    del square
    weight = fourth.rsqrt_().sqrt_()  # to the power of -1/4; dq/da is its fifth power
    q = padded(a * weight, edges).to(dtype)  # a few channels, computed again when its turn comes
    h = applied(net.first, q, pad)
    del q
    c = None
    if net.inject is not None and cond is not None:
        c = trimmed(cond, unseen).to(dtype)
        trimmed(h, beyond).add_(applied(net.inject, c, 0))
    h = cleared(h.relu_(), beyond)
    u = cleared(applied(net.middle, h, 0).relu_().add_(h), beyond)
    hidden = [h, u]  # which the function below takes, so that they go when it is done with them
    del h

    def pull(grad: Tensor) -> tuple[Tensor, Tensor | None, Gradients]:
        grads: Gradients = {}
        h, v = hidden
        hidden.clear()
        grad = grad.to(dtype)
        last, pads = pulled_to_parameters(net.last, v, grad, pad, grads)
        for part, of_part, pads_of_part in parts_of(v, grad, last, pads):
            du = of_input(v[part], last, of_part, pads_of_part)
            dv = masked(du, v[part].sub_(h[part]), into=v[part])  # u - h, positive where u > h
            masked(pulled(net.middle, h[part], dv, 0, grads, into=du), h[part], into=v[part])  # dh, in the place of u
            del du, dv
        dh = v
        del v, h, grad
        dc = None
        if c is not None:
            dc = pulled(net.inject, c, trimmed(dh, beyond), 0, grads, wanted=wanted)
            dc = padded(dc, unseen).to(a.dtype) if wanted else None
        dq = pulled(net.first, padded(a * weight, edges).to(dtype), dh, pad, grads)
        return trimmed(dq, edges).to(a.dtype) * weight.square().square_().mul_(weight), dc, grads

    out = applied(net.last, u, pad)
    del u
    return out, pull
