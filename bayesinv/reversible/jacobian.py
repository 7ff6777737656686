r"""`jvp` and `vjp`: the Jacobian of a map applied to a direction, ``J [dx; dtheta]``, and its adjoint, ``J^T dy``.

``J = d(y, logdet) / d(x, theta)`` at a point, never assembled. `jvp` runs the map once in forward mode, which keeps
nothing from layer to layer; `vjp` is the map's own backward pass, which rebuilds the input instead of storing it. So
the memory of neither grows with depth. Forward mode is torch's: a layer's value and tangent come from one pass through
its `_forward`, which is what a hand-written one would do.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor
from torch.autograd import forward_ad

from bayesinv.reversible.base import Reversible
from bayesinv.reversible.gradients import Condition
from bayesinv.reversible.stand_ins import replaced

__all__ = ["jvp", "vjp"]


def jvp(
    map: Reversible,
    x: Tensor,
    cond: Condition = None,
    *,
    dx: Tensor | None = None,
    dparameters: Mapping[str, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """The directional derivative ``(dy, dlogdet)`` of the map at ``x``.

    Args:
        map: any map; `Inverted` of it for the other direction. A dropping or normalising network wants ``map.eval()``.
        x: where, ``(batch, channels, *space)``.
        cond: the condition, which stays.
        dx: the direction of the input, of the shape of ``x``; none means it stays.
        dparameters: the directions of parameters by their names; those that are not named stay.

    Raises:
        ValueError: if there is no direction, or one of another shape, or of a parameter that the map has not.

    Example:
        >>> import torch
        >>> from bayesinv.reversible import ActNorm
        >>> dy, dlogdet = jvp(ActNorm(1).eval(), torch.ones(1, 1, 3), dparameters={"log_scale": torch.ones(1)})
        >>> dy.tolist(), dlogdet.tolist()
        ([[[1.0, 1.0, 1.0]]], [3.0])
    """
    names, own = dict(dparameters or {}), dict[str, Tensor](map.named_parameters())
    if dx is None and not names:
        raise ValueError("expected a direction of the input or of a parameter, got none")
    for name, direction in {**({} if dx is None else {"x": dx}), **names}.items():
        point = x if direction is dx else own.get(name)
        if point is None or direction.shape != point.shape:
            want = f"one of {', '.join(own)}" if point is None else f"shape {tuple(point.shape)}"
            raise ValueError(f"expected {want}, got a direction {name!r} of shape {tuple(direction.shape)}")
    moved = {name: own[name].detach() for name in names}

    def function(x: Tensor, parameters: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        with replaced(map.modules(), {own[name]: p for name, p in parameters.items()}):
            out: tuple[Tensor, Tensor] = map(x, cond)
        return out

    here, along = (x.detach(), moved), (torch.zeros_like(x) if dx is None else dx, names)
    _load_forward_mode()
    with torch.no_grad():
        tangents: tuple[Tensor, Tensor] = torch.func.jvp(function, here, along)[1]
    return tangents


def vjp(
    map: Reversible,
    x: Tensor,
    cond: Condition = None,
    *,
    dy: Tensor | None = None,
    dlogdet: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The adjoint of `jvp`: ``(dx, {name: dparameter})``, of the input and of every parameter that asks for a gradient.

    Args:
        map: any map, see `jvp`.
        x: where, ``(batch, channels, *space)``.
        cond: the condition.
        dy: the direction of the output; none means zero.
        dlogdet: that of the logdet, ``(batch,)``; none means zero.

    Raises:
        ValueError: if there is no direction, or one of another shape.

    Example:
        >>> import torch
        >>> from bayesinv.reversible import ActNorm
        >>> dx, dparameters = vjp(ActNorm(1).eval(), torch.ones(1, 1, 3), dy=torch.ones(1, 1, 3))
        >>> dx.tolist(), dparameters["bias"].tolist()
        ([[[1.0, 1.0, 1.0]]], [3.0])
    """
    if dy is None and dlogdet is None:
        raise ValueError("expected a direction of the output or of the logdet, got none")
    if (dy is not None and dy.shape != x.shape) or (dlogdet is not None and dlogdet.shape != x.shape[:1]):
        got = [None if d is None else tuple(d.shape) for d in (dy, dlogdet)]
        raise ValueError(f"expected directions of shapes {tuple(x.shape)} and {tuple(x.shape[:1])}, got {got}")
    wanted = {name: p for name, p in map.named_parameters() if p.requires_grad}
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        out = map(leaf, cond)
    pairs = [(o, d) for o, d in zip(out, (dy, dlogdet), strict=True) if d is not None]
    found = torch.autograd.grad(
        [o for o, _ in pairs], [leaf, *wanted.values()], [d for _, d in pairs], materialize_grads=True
    )
    return found[0], dict(zip(wanted, found[1:], strict=True))


@cache
def _load_forward_mode() -> None:
    """Torch's first forward-mode derivative loads a module that warns of its own way of doing so."""
    with warnings.catch_warnings(), forward_ad.dual_level():
        warnings.simplefilter("ignore", DeprecationWarning)
        forward_ad.make_dual(torch.zeros(()), torch.zeros(()))  # type: ignore[no-untyped-call]
