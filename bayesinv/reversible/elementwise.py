r"""What a coupling does to each number: `Affine` ``b' = exp(s) b + t`` and `Additive` ``b' = b + t``.

The ``width`` raw numbers ``r (batch, width * channels, *space)`` of each ``b (batch, channels, *space)`` are the output
of the coupling's network: the first ``channels`` of them are the first raw number of all channels, and so on.
Of the affine map, ``(r, t)`` raw, ``s = scale(r)``, ``logdet = sum s``:

    b = (b' - t) exp(-s),  db = exp(s) db',  dt = db',  ds = db' (b' - t) + dlogdet,  dr = ds s'(r).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bayesinv.reversible.scales import Scale, exp_and_slope, tanh_scale

__all__ = ["Additive", "Affine", "Elementwise"]

Pulled = tuple[Tensor, Tensor, Tensor]


class Elementwise(ABC):
    """A map of single numbers, invertible for every value of its raw numbers; it has no parameters of its own.

    A leaf gives ``width`` and writes `forward` and `inverse`, both differentiable. The gradients come from autograd of
    these cheap formulas, never of the network. All logdets have shape ``(batch,)``.
    """

    @property
    @abstractmethod
    def width(self) -> int:
        """How many raw numbers there are for each ``b``."""

    @abstractmethod
    def forward(self, b: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """``(b', log |det db'/db|)``."""

    @abstractmethod
    def inverse(self, b: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """``(b, log |det db/db'|)`` of what `forward` gave."""

    def backward(self, b: Tensor, raw: Tensor, grad: Tensor, grad_logdet: Tensor) -> Pulled:
        """From the output of `forward` and its gradients: the input, its gradient, and that of the raw numbers."""
        with torch.no_grad():
            start, _ = self.inverse(b, raw)
        return start, *_differentiated(self.forward, start, raw, grad, grad_logdet)

    def inverse_backward(self, b: Tensor, raw: Tensor, grad: Tensor, grad_logdet: Tensor) -> Pulled:
        """From the output of `inverse` and its gradients: the input, its gradient, and that of the raw numbers."""
        with torch.no_grad():
            start, _ = self.forward(b, raw)
        return start, *_differentiated(self.inverse, start, raw, grad, grad_logdet)


@dataclass(frozen=True)
class Affine(Elementwise):
    """``b' = exp(s) b + t`` with ``s = centre + m tanh(r/m)``, or ``centre + scale(r)``; raw log-scales, then shifts.

    Args:
        scale: a map from raw numbers to log-scales, number by number, in the place of the tanh; see `scales`.
        bound: ``m``.
        centre: the log-scale at ``r = 0``.

    Source: Dinh et al., RealNVP, 2017, arXiv 1605.08803.

    Raises:
        ValueError: if ``bound`` is not positive, or ``scale`` has parameters, which belong in the network.

    Example:
        >>> b, raw = torch.ones(1, 1), torch.tensor([[0.0, 3.0]])
        >>> Affine().forward(b, raw)[0].tolist(), Affine(lambda r: r + 1).forward(b, raw)[1].tolist()
        ([[4.0]], [1.0])
    """

    scale: Scale | None = None
    bound: float = 2.0
    centre: float = 0.0

    def __post_init__(self) -> None:
        if self.bound <= 0:
            raise ValueError(f"expected a positive bound, got {self.bound}")
        if isinstance(self.scale, nn.Module) and next(self.scale.parameters(), None) is not None:
            raise ValueError("expected a scale without parameters, got one with some: put them into the network")

    @property
    def width(self) -> int:
        """2."""
        return 2

    def forward(self, b: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """``(exp(s) b + t, sum s)``."""
        log_scale, shift = self._parts(raw)
        return torch.addcmul(shift, b, log_scale.exp()), _summed(log_scale)

    def inverse(self, b: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """``((b - t) exp(-s), -sum s)``."""
        log_scale, shift = self._parts(raw)
        return (b - shift) * (-log_scale).exp(), -_summed(log_scale)

    def backward(self, b: Tensor, raw: Tensor, grad: Tensor, grad_logdet: Tensor) -> Pulled:
        """By the formulas at the head of the file."""
        scale, shift, pull = self._with_slope(raw)
        centred, grad_raw = b - shift, torch.empty_like(raw)
        of_scale, of_shift = grad_raw.chunk(2, 1)
        pull(torch.addcmul(_per_sample(grad_logdet, b), grad, centred, out=of_scale))
        of_shift.copy_(grad)
        return centred.div_(scale), scale.mul_(grad), grad_raw

    def inverse_backward(self, b: Tensor, raw: Tensor, grad: Tensor, grad_logdet: Tensor) -> Pulled:
        """The same of ``b = (b' - t) exp(-s)``: ``ds = -db b - dlogdet``, ``dt = -exp(-s) db``."""
        scale, shift, pull = self._with_slope(raw)
        grad_in, grad_raw = grad / scale, torch.empty_like(raw)
        of_scale, of_shift = grad_raw.chunk(2, 1)
        pull(torch.addcmul(_per_sample(grad_logdet, b), grad, b, out=of_scale).neg_())
        torch.neg(grad_in, out=of_shift)
        return torch.addcmul(shift, b, scale, out=scale), grad_in, grad_raw

    def _parts(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        first, shift = raw.chunk(2, 1)
        return self._scaled(first), shift

    def _scaled(self, first: Tensor) -> Tensor:
        log_scale = self._of_raw(first)
        if log_scale.shape != first.shape:
            raise ValueError(f"expected a scale of shape {tuple(first.shape)}, got {tuple(log_scale.shape)}")
        return log_scale + self.centre if self.centre else log_scale

    @property
    def _of_raw(self) -> Scale:
        """``s - centre``."""
        return tanh_scale(self.bound) if self.scale is None else self.scale

    def _with_slope(self, raw: Tensor) -> tuple[Tensor, Tensor, Callable[[Tensor], object]]:
        """``exp(s)``, the shift, and what multiplies a gradient by ``s'(r)``, in its place."""
        first, shift = raw.detach().chunk(2, 1)
        known = exp_and_slope(self._of_raw, first)
        if known is not None:
            scale, slope = known
            return scale.mul_(math.exp(self.centre)) if self.centre else scale, shift, lambda grad: grad.mul_(slope)
        with torch.enable_grad():
            leaf = first.requires_grad_()
            log_scale = self._scaled(leaf)

        def pull(grad: Tensor) -> object:
            if not log_scale.requires_grad:
                return grad.zero_()
            return grad.copy_(torch.autograd.grad(log_scale, leaf, grad)[0])

        return log_scale.detach().exp(), shift, pull


@dataclass(frozen=True)
class Additive(Elementwise):
    """``b' = b + t``: volume preserving, ``logdet = 0``.

    Source: Dinh et al., NICE, 2014, arXiv 1410.8516.

    Example:
        >>> Additive().forward(torch.ones(2, 1), torch.full((2, 1), 3.0))[0].flatten().tolist()
        [4.0, 4.0]
    """

    @property
    def width(self) -> int:
        """1."""
        return 1

    def forward(self, b: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """``(b + t, 0)``."""
        return b + raw, b.new_zeros(b.shape[0])

    def inverse(self, b: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """``(b - t, 0)``."""
        return b - raw, b.new_zeros(b.shape[0])

    def backward(self, b: Tensor, raw: Tensor, grad: Tensor, grad_logdet: Tensor) -> Pulled:
        """``(b' - t, db', dt = db')``."""
        return b - raw, grad, grad

    def inverse_backward(self, b: Tensor, raw: Tensor, grad: Tensor, grad_logdet: Tensor) -> Pulled:
        """``(b + t, db, dt = -db)``."""
        return b + raw, grad, -grad


def _differentiated(
    function: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    start: Tensor,
    raw: Tensor,
    grad: Tensor,
    grad_logdet: Tensor,
) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        leaves = start.detach().requires_grad_(), raw.detach().requires_grad_()
        out, logdet = function(*leaves)
    pairs = [(o, g) for o, g in ((out, grad), (logdet, grad_logdet)) if o.requires_grad]
    found = torch.autograd.grad([o for o, _ in pairs], leaves, [g for _, g in pairs], materialize_grads=True)
    return found[0], found[1]


def _summed(log_scale: Tensor) -> Tensor:
    return log_scale.sum(list(range(1, log_scale.ndim)))


def _per_sample(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, *[1] * (like.ndim - 1))
