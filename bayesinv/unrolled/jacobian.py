r"""`jacobian`: the derivative of a reversible map at a point as a PyLops operator, ``dy/dx``, ``dy/dtheta``, or both.

``J v`` is one pass in forward mode, ``J^T w`` one frugal backward pass; nothing is assembled and nothing is stored
between calls, so that any solver of PyLops or SciPy can use it for deep maps, too.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pylops
import torch
from torch import Tensor

from bayesinv.reversible import Condition, Reversible, jvp, vjp

__all__ = ["jacobian"]

Wrt = Literal["input", "parameters", "both"]
Array = npt.NDArray[Any]


def jacobian(map: Reversible, at: Tensor | tuple[Tensor, Condition], *, wrt: Wrt = "input") -> pylops.LinearOperator:
    """The Jacobian of the output of ``map`` at ``at``, for batches as one operator (block diagonal in the input).

    Args:
        map: any reversible map; `Inverted` of it for the other direction.
        at: the input ``x (batch, channels, *space)``, or a pair of it and the condition.
        wrt: with respect to the ``"input"``, the ``"parameters"`` that ask for a gradient, in the order of
            ``map.parameters()``, as ``torch.nn.utils.vector_to_parameters`` takes them, or ``"both"``: the input first.

    Returns:
        A ``pylops.LinearOperator`` with ``dimsd`` the shape of ``x``, and the precision of ``x``.

    Raises:
        ValueError: if ``wrt`` is another word, or there is no parameter.
        RuntimeError: when it is applied after the parameters have changed: the point has gone.

    Example:
        >>> import numpy as np
        >>> from bayesinv.reversible import Householder
        >>> J = jacobian(Householder(3).double(), torch.zeros(2, 3, dtype=torch.float64))
        >>> J.shape, bool(np.allclose(J.H @ (J @ np.arange(6.0)), np.arange(6.0)))
        ((6, 6), True)
    """
    if wrt not in ("input", "parameters", "both"):
        raise ValueError(f"expected wrt 'input', 'parameters' or 'both', got {wrt!r}")
    x, cond = at if isinstance(at, tuple) else (at, None)
    return _Jacobian(map, x, cond, wrt)


class _Jacobian(pylops.LinearOperator):  # type: ignore[misc]
    def __init__(self, map: Reversible, x: Tensor, cond: Condition, wrt: Wrt) -> None:
        self._map, self._x, self._cond, self._wrt = map, x.detach(), cond, wrt
        self._own = {name: p for name, p in map.named_parameters() if p.requires_grad}
        if wrt != "input" and not self._own:
            raise ValueError("expected a map with parameters that ask for a gradient, got none")
        self._state = self._now()
        sizes = {"input": x.numel(), "parameters": sum(p.numel() for p in self._own.values())}
        dims = tuple(x.shape) if wrt == "input" else (sum(sizes.values()) if wrt == "both" else sizes[wrt],)
        super().__init__(dtype=np.dtype(str(x.dtype).removeprefix("torch.")), dims=dims, dimsd=tuple(x.shape))

    def _matvec(self, v: Array) -> Array:
        self._check()
        rest = torch.from_numpy(np.array(v)).to(self._x)
        dx, dparameters = None, {}
        if self._wrt != "parameters":
            dx, rest = rest[: self._x.numel()].view(self._x.shape), rest[self._x.numel() :]
        if self._wrt != "input":
            parts = torch.split(rest, [p.numel() for p in self._own.values()])
            dparameters = {n: part.view(p.shape).to(p) for (n, p), part in zip(self._own.items(), parts, strict=True)}
        dy, _ = jvp(self._map, self._x, self._cond, dx=dx, dparameters=dparameters)
        return _array(dy)

    def _rmatvec(self, w: Array) -> Array:
        self._check()
        dx, dparameters = vjp(
            self._map, self._x, self._cond, dy=torch.from_numpy(np.array(w)).to(self._x).view_as(self._x)
        )
        parts = [dx] if self._wrt != "parameters" else []
        parts += dparameters.values() if self._wrt != "input" else []
        return np.concatenate([_array(part) for part in parts])

    def _now(self) -> list[tuple[int, int]]:
        return [(p.data_ptr(), p._version) for p in self._map.parameters()]

    def _check(self) -> None:
        if self._now() != self._state:
            raise RuntimeError("expected the parameters of the point of the Jacobian, got changed ones: make a new one")


def _array(t: Tensor) -> Array:
    found: Array = t.detach().flatten().cpu().numpy()
    return found
