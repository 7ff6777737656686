r"""Maps from the raw output ``r`` of a network to the log-scale ``s`` of an affine coupling, each one bounded.

| function | ``s(r)`` | range of ``exp(s)`` |
|---|---|---|
| `tanh_scale` | ``m tanh(r/m)`` | ``(e^-m, e^m)`` |
| `sigmoid_scale` | ``log(low + (high - low) sigmoid(r + offset))`` | ``(low, high)`` |
| `arctan_scale` | ``0.636 m atan(r)`` | about ``(e^-m, e^m)`` |
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Scale", "arctan_scale", "exp_and_slope", "sigmoid_scale", "tanh_scale"]

Scale = Callable[[Tensor], Tensor]


def tanh_scale(bound: float = 2.0) -> Scale:
    """``s = m tanh(r/m)``, of slope 1 at 0, where it is the identity map of a coupling.

    Raises:
        ValueError: if ``bound`` (``m``) is not positive.

    Example:
        >>> tanh_scale(0.5)(torch.tensor([0.0, 1e3])).tolist()
        [0.0, 0.5]
    """
    if bound <= 0:
        raise ValueError(f"expected a positive bound, got {bound}")
    return partial(_tanh, bound=bound)


def sigmoid_scale(low: float = 0.0, high: float = 1.0, *, offset: float = 0.0) -> Scale:
    """``exp(s) = low + (high - low) sigmoid(r + offset)``.

    Source: Kingma and Dhariwal, Glow, 2018, arXiv 1807.03039 (code: ``offset=2``); Witte et al., InvertibleNetworks.jl,
    2024, doi 10.21105/joss.06554 (``low``, ``high``).

    Raises:
        ValueError: unless ``0 <= low < high``.

    Example:
        >>> sigmoid_scale(0.5, 1.0)(torch.tensor([0.0])).exp().tolist()
        [0.75]
    """
    if not 0 <= low < high:
        raise ValueError(f"expected 0 <= low < high, got low={low} and high={high}")
    return partial(_sigmoid, low=low, high=high, offset=offset)


def arctan_scale(bound: float = 2.0) -> Scale:
    """``s = 0.636 m atan(r)``, as 0.636 is about ``2/pi``.

    Source: Ardizzone et al., FrEIA, 2018-2022, github.com/vislearn/FrEIA (``clamp``).

    Raises:
        ValueError: if ``bound`` (``m``) is not positive.

    Example:
        >>> round(float(arctan_scale(2.0)(torch.tensor(1e6))), 3)
        1.998
    """
    if bound <= 0:
        raise ValueError(f"expected a positive bound, got {bound}")
    return partial(_arctan, bound=bound)


def exp_and_slope(scale: Scale, raw: Tensor) -> tuple[Tensor, Tensor] | None:
    """``exp(s(r))`` and ``ds/dr`` of the scales of this file, in closed form; ``None`` for others.

    Example:
        >>> [t.tolist() for t in exp_and_slope(sigmoid_scale(0.5, 1.0), torch.tensor([0.0]))]
        [[0.75], [0.1666666716337204]]
    """
    both = _BOTH.get(scale.func) if isinstance(scale, partial) else None
    return None if both is None or scale.args else both(raw, **scale.keywords)  # type: ignore[attr-defined]


def _tanh(raw: Tensor, *, bound: float) -> Tensor:
    return bound * torch.tanh(raw / bound)


def _tanh_both(raw: Tensor, *, bound: float) -> tuple[Tensor, Tensor]:
    tanh = torch.tanh(raw / bound)
    return (bound * tanh).exp_(), 1 - tanh.square_()


def _sigmoid(raw: Tensor, *, low: float, high: float, offset: float) -> Tensor:
    if low == 0:
        log_scale = F.logsigmoid(raw + offset)
        return log_scale if high == 1 else log_scale + math.log(high)
    return torch.log(low + (high - low) * torch.sigmoid(raw + offset))


def _sigmoid_both(raw: Tensor, *, low: float, high: float, offset: float) -> tuple[Tensor, Tensor]:
    sigmoid = torch.sigmoid(raw + offset)
    if low == 0:
        return sigmoid if high == 1 else high * sigmoid, 1 - sigmoid
    scale = low + (high - low) * sigmoid
    return scale, (high - low) * sigmoid * (1 - sigmoid) / scale


def _arctan(raw: Tensor, *, bound: float) -> Tensor:
    return 0.636 * bound * torch.atan(raw)


def _arctan_both(raw: Tensor, *, bound: float) -> tuple[Tensor, Tensor]:
    return _arctan(raw, bound=bound).exp_(), 0.636 * bound / (1 + raw.square())


_BOTH: dict[Callable[..., Tensor], Callable[..., tuple[Tensor, Tensor]]] = {
    _tanh: _tanh_both,
    _sigmoid: _sigmoid_both,
    _arctan: _arctan_both,
}
