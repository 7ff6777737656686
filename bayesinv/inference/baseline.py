r"""The classical reconstruction that a posterior mean must beat, tuned on the same held-out pairs for fairness.

``"cgls"``: ``min_x |y - A x|^2``, stopped at the best iteration; ``"regularised"``:
``min_x |y - A x|^2 + damping^2 |x|^2 + smoothing^2 |D x|^2`` with the second derivatives ``D``, best weights. Noise
that is not white is whitened first. For a nonlinear operator ``"cgls"`` is Gauss-Newton from a start ``x_0`` with CGLS
inside, stopped at the best step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from bayesinv.physics import (
    ForwardModel,
    NonlinearOperator,
    Whitening,
    as_linear,
    cgls_iterates,
    gauss_newton_iterates,
    is_linear,
    regularised_least_squares,
)

__all__ = ["Baseline", "check_baseline", "reconstruct", "tune_baseline"]

Baseline = Literal["cgls", "regularised"]
_STOPS = (1, 2, 4, 7, 12, 20, 30, 40, 60, 80, 100, 140, 180)
_DAMPING = (0.003, 0.01, 0.03, 0.1, 0.3)
_SMOOTHING = (0.0, 0.01, 0.03, 0.1, 0.3)
_ITERATIONS = 60
_STEPS = (1, 2, 4, 8)  # of Gauss-Newton
_INNER = (2, 6)
_NONLINEAR_PAIRS = 16  # Gauss-Newton is dear, and these decide on two numbers only


def check_baseline(kind: str, forward: ForwardModel) -> None:
    """Refuses a baseline that there is not, before any long work.

    Raises:
        ValueError: if the kind is unknown, or is for linear operators only.
    """
    if kind not in ("cgls", "regularised"):
        raise ValueError(f"expected baseline 'cgls' or 'regularised', got {kind!r}")
    if kind == "regularised" and not is_linear(forward.operator):
        raise ValueError("expected baseline 'cgls' (Gauss-Newton) for a nonlinear operator, got 'regularised'")


def tune_baseline(
    kind: Baseline, forward: ForwardModel, x: Tensor, y: Tensor, *, start: Tensor | None = None
) -> dict[str, Any]:
    """The settings of least mean squared error over pairs ``x (batch, *model_shape)``, ``y (batch, *data_shape)``.

    The weights are tried as multiples of the operator's norm on the data, ``|A^T y| / |y|``. A nonlinear operator needs
    a start ``(*model_shape)``, and is tuned on the first 16 pairs.

    Raises:
        ValueError: as `check_baseline` does.
    """
    check_baseline(kind, forward)
    if not is_linear(forward.operator):
        x, y = x[:_NONLINEAR_PAIRS], y[:_NONLINEAR_PAIRS]
        found = {k: _gauss_newton(forward, y, _STEPS, start, k) for k in _INNER}
        errors = {(k, n): _mean_square(e - x) for k in _INNER for n, e in zip(_STEPS, found[k], strict=True)}
        iterations, steps = min(errors, key=errors.__getitem__)
        return {"kind": kind, "steps": steps, "iterations": iterations}
    white = Whitening(forward.noise, y)
    operator, data = white.operator(as_linear(forward.operator)), white(y)
    if kind == "cgls":
        scores = [_mean_square(iterate - x) for iterate in cgls_iterates(operator, data, _STOPS)]
        return {"kind": kind, "iterations": _STOPS[scores.index(min(scores))]}
    scale = float(operator.adjoint(data).norm() / data.norm())
    tried = [
        {"kind": kind, "damping": d * scale, "smoothing": s * scale, "iterations": _ITERATIONS}
        for d in _DAMPING
        for s in _SMOOTHING
    ]
    scores = [_mean_square(reconstruct(settings, forward, y) - x) for settings in tried]
    return tried[scores.index(min(scores))]


def _mean_square(error: Tensor) -> float:
    """Infinite where it is not a number, so that it is never the least."""
    square = float(error.square().mean())
    return square if math.isfinite(square) else math.inf


@torch.no_grad()
def reconstruct(settings: dict[str, Any], forward: ForwardModel, y: Tensor, *, start: Tensor | None = None) -> Tensor:
    """The reconstruction ``(batch, *model_shape)`` of data ``y`` with settings and start as in `tune_baseline`."""
    if not is_linear(forward.operator):
        return _gauss_newton(forward, y, (settings["steps"],), start, settings["iterations"])[0]
    white = Whitening(forward.noise, y)
    operator, data = white.operator(as_linear(forward.operator)), white(y)
    if settings["kind"] == "cgls":
        return cgls_iterates(operator, data, (settings["iterations"],))[0]
    weights = {key: settings[key] for key in ("damping", "smoothing", "iterations")}
    return regularised_least_squares(operator, data, **weights)


def _gauss_newton(
    forward: ForwardModel, y: Tensor, steps: Sequence[int], start: Tensor | None, iterations: int
) -> Tensor:
    white = Whitening(forward.noise, y)
    operator = white.operator(forward.operator)
    assert isinstance(operator, NonlinearOperator)
    assert start is not None
    first = start.to(y.device, y.real.dtype).expand(len(y), *start.shape)
    return gauss_newton_iterates(operator, white(y), steps, start=first, iterations=iterations, bounds=forward.bounds)
