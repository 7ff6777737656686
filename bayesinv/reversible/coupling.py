r"""`Coupling`: the affine coupling ``[a; b] -> [a; exp(s) b + t]``, ``(r, t) = net(a, cond)``, ``s = m tanh(r/m)``.

``logdet = sum s``. Backward, with one evaluation of the network that both inverts the layer and is the graph of its
gradient: ``b = (b' - t) exp(-s)``, ``db = exp(s) db'``, ``dt = db'``, ``ds = db' (b' - t) + dlogdet``,
``dr = ds (1 - tanh^2(r/m))``, and ``(da, dcond, dtheta)`` are the network's vector-Jacobian products with ``(dr, dt)``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd as _Dropout

from bayesinv.reversible.base import Backward, Condition, ConditionGradient, Gradients, Reversible, finest

__all__ = ["Coupling", "ShiftScale"]


class Coupling(Reversible):
    """Affine coupling: some channels shift and scale the others; the log-scale is bounded.

    Args:
        network: any module, called as ``network(a)`` or, with a condition, ``network(a, cond)``; from the channels
            ``a`` it computes twice as many channels as ``b`` has: raw log-scales, then shifts. It should start at
            zero (see `Conditioner`), so that the layer starts as the identity. It is evaluated again in the backward
            pass, so it must repeat itself (no dropout) and not mix the samples of a batch (no batch normalisation).
        passive: how many channels (``a``) pass unchanged.
        passive_last: whether the passive channels are the last ones rather than the first.
        bound: ``m``, the largest log-scale.

    Source: Dinh et al., RealNVP, 2017, arXiv 1605.08803; single evaluation in the backward: Gomez et al., 2017,
    arXiv 1707.04585.

    Raises:
        ValueError: if ``network`` drops out at random, or ``passive`` or ``bound`` is not positive.

    Example:
        >>> import torch
        >>> from bayesinv.reversible import Conditioner, Coupling
        >>> layer = Coupling(Conditioner(2, 4, hidden=8, rank=2), passive=2)
        >>> x = torch.randn(3, 4, 8, 8)
        >>> torch.equal(layer(x)[0], x)
        True
    """

    def __init__(self, network: nn.Module, *, passive: int, passive_last: bool = False, bound: float = 2.0) -> None:
        super().__init__()
        if passive < 1 or bound <= 0:
            raise ValueError(f"expected at least one passive channel and a positive bound, got {passive} and {bound}")
        random = [type(m).__name__ for m in network.modules() if isinstance(m, _Dropout) and m.p > 0]
        if random:
            raise ValueError(f"expected a network that repeats itself in the backward pass, got one with {random[0]}")
        self.network, self.passive, self.passive_last, self.bound = network, passive, passive_last, bound

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.shape[1] <= self.passive:
            raise ValueError(f"expected more than {self.passive} channels, got a tensor of shape {tuple(x.shape)}")
        if self.passive_last:
            return x[:, -self.passive :], x[:, : -self.passive]
        return x[:, : self.passive], x[:, self.passive :]

    def _join(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.cat([b, a] if self.passive_last else [a, b], 1)

    def _evaluate(self, a: Tensor, cond: Tensor | None) -> Tensor:
        out: Tensor = self.network(a) if cond is None else self.network(a, cond)
        return out

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        a, b = self._split(x)
        log_scale, shift = _bounded(self._evaluate(a, finest(cond)), self.bound, b)
        return self._join(a, b * log_scale.exp() + shift), _summed(log_scale)

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        a, b = self._split(y)
        log_scale, shift = _bounded(self._evaluate(a, finest(cond)), self.bound, b)
        return self._join(a, (b - shift) * (-log_scale).exp()), -_summed(log_scale)

    def _backward(self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor) -> Backward:
        a, b = self._split(y)
        grad_a, grad_b = self._split(grad_y)
        out, pull = self._graph(a, cond)
        log_scale, shift = _bounded(out, self.bound, b)
        scale, centred = log_scale.exp(), b - shift
        grad_out = _raw_gradient(grad_b * centred + _per_sample(grad_logdet, b), grad_b, log_scale, self.bound)
        more_a, grad_cond, grads = pull(grad_out)
        return self._join(a, centred / scale), self._join(grad_a + more_a, grad_b * scale), grad_cond, grads

    def _inverse_backward(self, x: Tensor, cond: Condition, grad_x: Tensor, grad_logdet: Tensor) -> Backward:
        a, b = self._split(x)
        grad_a, grad_b = self._split(grad_x)
        out, pull = self._graph(a, cond)
        log_scale, shift = _bounded(out, self.bound, b)
        scale = log_scale.exp()
        grad_shift = -grad_b / scale
        grad_out = _raw_gradient(-grad_b * b - _per_sample(grad_logdet, b), grad_shift, log_scale, self.bound)
        more_a, grad_cond, grads = pull(grad_out)
        return self._join(a, b * scale + shift), self._join(grad_a + more_a, -grad_shift), grad_cond, grads

    def _graph(self, a: Tensor, cond: Condition) -> tuple[Tensor, Any]:
        """The network's output and a function from its gradient to those of ``a``, the condition, the parameters."""
        own = finest(cond)
        parameters = [p for p in self.network.parameters() if p.requires_grad]
        with torch.enable_grad():
            a = a.detach().requires_grad_()
            leaf = None if own is None else own.detach().requires_grad_(own.requires_grad)
            out = self._evaluate(a, leaf)
        wanted = [a, *([leaf] if leaf is not None and leaf.requires_grad else []), *parameters]

        def pull(grad_out: Tensor) -> tuple[Tensor | float, ConditionGradient, Gradients]:
            found: tuple[Tensor | None, ...] = (None,) * len(wanted)
            if out.requires_grad:
                found = torch.autograd.grad(out, wanted, grad_out, allow_unused=True)
            of_parameters = found[len(wanted) - len(parameters) :]
            grads = {p: g for p, g in zip(parameters, of_parameters, strict=True) if g is not None}
            grad_own = found[1] if len(wanted) > len(parameters) + 1 else None
            grad_cond: ConditionGradient = grad_own
            if isinstance(cond, tuple):
                grad_cond = (grad_own, *[None] * (len(cond) - 1))
            return 0.0 if found[0] is None else found[0], grad_cond, grads

        return out.detach(), pull


class ShiftScale(Reversible):
    r"""The condition's own shift and scale: ``y = (x - t) exp(-s)``, ``(r, t) = cond``, ``s = c + m tanh(r/m)``.

    The head of a summary network: it brings ``x`` near to white noise at full resolution before any coupling.
    The condition has twice as many channels as ``x``: raw log-scales, then shifts. ``logdet = -sum s``.

    Args:
        centre: ``c``, the log-scale where ``r = 0``.
        bound: ``m``.

    Raises:
        ValueError: if ``bound`` is not positive, or the condition has not the shape for ``x``.

    Example:
        >>> import torch
        >>> x = torch.randn(2, 1, 4)
        >>> y, _ = ShiftScale()(x, torch.cat([torch.zeros_like(x), x], 1))
        >>> bool((y == 0).all())
        True
    """

    def __init__(self, *, centre: float = 0.0, bound: float = 2.5) -> None:
        super().__init__()
        if bound <= 0:
            raise ValueError(f"expected a positive bound, got {bound}")
        self.centre, self.bound = centre, bound

    def _parts(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        own = finest(cond)
        if own is None or own.shape[1:] != (2 * x.shape[1], *x.shape[2:]):
            got = None if own is None else tuple(own.shape)
            raise ValueError(
                f"expected a condition with channels 2*{x.shape[1]} and space {tuple(x.shape[2:])}, got {got}"
            )
        return _bounded(own, self.bound, x)

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        log_scale, shift = self._parts(x, cond)
        log_scale = log_scale + self.centre
        return (x - shift) * (-log_scale).exp(), -_summed(log_scale)

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        log_scale, shift = self._parts(y, cond)
        log_scale = log_scale + self.centre
        return y * log_scale.exp() + shift, _summed(log_scale)

    def _backward(self, y: Tensor, cond: Condition, grad_y: Tensor, grad_logdet: Tensor) -> Backward:
        log_scale, shift = self._parts(y, cond)
        scale = (log_scale + self.centre).exp()
        grad_x = grad_y / scale
        grad = _raw_gradient(-grad_y * y - _per_sample(grad_logdet, y), -grad_x, log_scale, self.bound)
        return y * scale + shift, grad_x, _as_condition(grad, cond), {}

    def _inverse_backward(self, x: Tensor, cond: Condition, grad_x: Tensor, grad_logdet: Tensor) -> Backward:
        log_scale, shift = self._parts(x, cond)
        scale = (log_scale + self.centre).exp()
        grad = _raw_gradient(grad_x * (x - shift) + _per_sample(grad_logdet, x), grad_x, log_scale, self.bound)
        return (x - shift) / scale, grad_x * scale, _as_condition(grad, cond), {}


def _bounded(out: Tensor, bound: float, like: Tensor) -> tuple[Tensor, Tensor]:
    """Bounded log-scale and shift from the raw output of a network."""
    if out.shape[1] != 2 * like.shape[1] or out.shape[2:] != like.shape[2:]:
        raise ValueError(
            f"expected a network output with channels 2*{like.shape[1]} and space {tuple(like.shape[2:])}, "
            f"got shape {tuple(out.shape)}"
        )
    raw, shift = out.chunk(2, 1)
    return bound * torch.tanh(raw / bound), shift


def _raw_gradient(grad_log_scale: Tensor, grad_shift: Tensor, log_scale: Tensor, bound: float) -> Tensor:
    return torch.cat([grad_log_scale * (1 - (log_scale / bound) ** 2), grad_shift], 1)


def _summed(log_scale: Tensor) -> Tensor:
    return log_scale.flatten(1).sum(1)


def _per_sample(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, *[1] * (like.ndim - 1))


def _as_condition(grad: Tensor, cond: Condition) -> ConditionGradient:
    return (grad, *[None] * (len(cond) - 1)) if isinstance(cond, tuple) else grad
