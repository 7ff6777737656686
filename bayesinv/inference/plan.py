"""`Plan`: all numbers that a training depends on, and its schedules of rate and image noise, counted in steps.

What `fit` is not told it takes from a recipe, one for images, one for vectors. A step with vectors costs the same
whatever the batch; their network learns from its first step, on numbers without noise, and stops early on held-out
pairs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from bayesinv.inference.architecture import is_small
from bayesinv.physics import is_linear

if TYPE_CHECKING:
    from bayesinv.inference.posterior import Posterior
    from bayesinv.inference.problem import Problem

__all__ = ["Plan", "check_plan", "default_simulations", "recipe"]


def default_simulations(problem: Problem) -> int | None:
    """How many pairs `fit` simulates where it is not told: 4000, or ``None``, fresh ones at every step.

    These where both halves of a pair cost next to nothing: small images whose prior is a law with a density, seen
    through a linear operator.

    Example:
        >>> from bayesinv.inference import load_problem
        >>> [default_simulations(load_problem("deblur", size=size, prior="matern")) for size in (16, 64)]
        [None, 4000]
    """
    cheap = hasattr(problem.prior, "log_prob") and is_linear(problem.forward.operator)
    return None if cheap and is_small(problem.forward.model_shape) else 4000


def recipe(problem: Problem, simulations: int | None) -> dict[str, Any]:
    """What `fit` takes where it is told nothing, for a problem and a number of pairs (``None``: fresh ones).

    Example:
        >>> from bayesinv.inference import load_problem
        >>> recipe(load_problem("deblur", size=64), 4000)["batch_size"]
        16
        >>> recipe(load_problem("deblur", size=16), 4000)["batch_size"]
        32
    """
    shape = problem.forward.model_shape
    if len(shape) > 1:
        small = is_small(shape)
        epochs = 10
        if small and simulations is None:  # 6,000 or 3,000 steps, some eight minutes of one thread
            epochs = 24 if math.prod(shape[1:]) <= 256 else 12
        return {
            "epochs": epochs, "batch_size": min(32 if small else 16, simulations or 32), "learning_rate": 4e-3,
            "head_fraction": 0.1 if small else 0.35, "head_weight": 0.5, "target_noise": _image_noise(problem),
            "validation": 100, "patience": 10, "averaging": 0.995,
        }  # fmt: skip
    count = 4000 if simulations is None else simulations
    return {
        "epochs": 60, "batch_size": min(200, max(count // 10, 1)), "learning_rate": 2e-3, "head_fraction": 0.0,
        "head_weight": 0.0, "target_noise": (0.0, 0.0), "validation": max(count // 9, 50), "patience": 20,
        "averaging": 0.99,
    }  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """All that a run depends on; two runs with one plan end with the same weights."""

    simulations: int | None
    pairs: str | None
    epochs: int
    batch_size: int
    learning_rate: float
    head_fraction: float
    head_weight: float
    target_noise: tuple[float, float]
    validation: int
    patience: int
    averaging: float
    clip: float
    checkpoint_steps: int
    seed: int

    @property
    def epoch_steps(self) -> int:
        """Steps of one epoch; 250 where every step draws fresh pairs."""
        return 250 if self.simulations is None else max(1, self.simulations // self.batch_size)

    @property
    def steps(self) -> int:
        """All steps."""
        return self.epochs * self.epoch_steps

    def rate(self, step: int) -> float:
        """The learning rate: linear warm-up over 100 steps (or a tenth of them), then a cosine to zero."""
        warm = max(1, min(100, self.steps // 10))
        return self.learning_rate * min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * step / self.steps))

    def noise(self, step: int) -> float:
        """The standard deviation of the image noise: geometric from first to last while the head is trained."""
        first, last = self.target_noise
        share = min(1.0, step / max(1.0, self.head_fraction * self.steps))
        return float(first ** (1 - share) * last**share)


def _image_noise(problem: Problem) -> tuple[float, float]:
    """First and last noise on the images: much less for small images none of whose values are repeated.

    A density cannot follow repeated values, such as a background of exact zeros; noise of 5 % hides them. Where there
    are none, it would only widen the posterior, along the directions that the data determine best.
    """
    if is_small(problem.forward.model_shape):
        x = problem.prior.sample(16, 0)
        if len(torch.unique(x)) > 0.99 * x.numel():
            return 0.25, 0.002
    return 0.25, 0.05


def check_plan(plan: Plan, posterior: Posterior, problem: Problem) -> None:
    """Refuses what cannot be trained, before any long work.

    Raises:
        ValueError: for settings out of range, or a posterior of another problem.
    """
    own, other = posterior.record["problem"]["operator"], problem.forward.fingerprint()
    if own != other:
        raise ValueError(f"expected the operator {own} that the posterior was built for, got a problem with {other}")
    if plan.simulations is not None and plan.simulations < plan.batch_size:
        raise ValueError(f"expected at least one batch of {plan.batch_size} simulations, got {plan.simulations}")
    if plan.epochs < 1 or plan.batch_size < 1 or plan.validation < 2 or plan.checkpoint_steps < 1:
        raise ValueError("expected epochs, batch_size and checkpoint_steps of 1 or more and 2 or more validation pairs")
    least = min(plan.target_noise)
    noisy = least > 0 or (least == 0 and len(problem.forward.model_shape) == 1)  # vectors go without
    if not (0 <= plan.head_fraction < 1 and plan.learning_rate > 0 and noisy):
        raise ValueError("expected 0 <= head_fraction < 1, a positive learning_rate and positive target_noise")
