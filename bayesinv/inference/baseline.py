r"""The classical reconstruction that a posterior mean must beat, tuned on the same held-out pairs for fairness.

``"cgls"``: ``min_x |y - A x|^2``, stopped at the best iteration; ``"regularised"``:
``min_x |y - A x|^2 + damping^2 |x|^2 + smoothing^2 |D x|^2`` with the second derivatives ``D``, best weights.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from bayesinv.physics import ForwardModel, as_linear, cgls_iterates, regularised_least_squares

__all__ = ["Baseline", "reconstruct", "tune_baseline"]

Baseline = Literal["cgls", "regularised"]
_STOPS = (1, 2, 4, 7, 12, 20, 30, 40, 60, 80, 100, 140, 180)
_DAMPING = (0.003, 0.01, 0.03, 0.1, 0.3)
_SMOOTHING = (0.0, 0.01, 0.03, 0.1, 0.3)
_ITERATIONS = 60


def tune_baseline(kind: Baseline, forward: ForwardModel, x: Tensor, y: Tensor) -> dict[str, Any]:
    """The settings of least mean squared error over pairs ``x (batch, *model_shape)``, ``y (batch, *data_shape)``.

    The weights are tried as multiples of the operator's norm on the data, ``|A^T y| / |y|``.

    Raises:
        ValueError: if the kind is unknown.
    """
    if kind == "cgls":
        errors = (cgls_iterates(as_linear(forward.operator), y, _STOPS) - x).square().flatten(1).mean(1)
        return {"kind": kind, "iterations": _STOPS[int(errors.argmin())]}
    if kind != "regularised":
        raise ValueError(f"expected baseline 'cgls' or 'regularised', got {kind!r}")
    scale = float(as_linear(forward.operator).adjoint(y).norm() / y.norm())
    tried = [
        {"kind": kind, "damping": d * scale, "smoothing": s * scale, "iterations": _ITERATIONS}
        for d in _DAMPING
        for s in _SMOOTHING
    ]
    scores = [float((reconstruct(settings, forward, y) - x).square().mean()) for settings in tried]
    return tried[scores.index(min(scores))]


@torch.no_grad()
def reconstruct(settings: dict[str, Any], forward: ForwardModel, y: Tensor) -> Tensor:
    """The reconstruction ``(batch, *model_shape)`` of data ``y`` with settings from `tune_baseline`."""
    if settings["kind"] == "cgls":
        return cgls_iterates(as_linear(forward.operator), y, (settings["iterations"],))[0]
    weights = {key: settings[key] for key in ("damping", "smoothing", "iterations")}
    return regularised_least_squares(as_linear(forward.operator), y, **weights)
