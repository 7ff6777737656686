"""Exact posteriors with planted faults, wherever a sampler of images may go wrong."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from bayesinv.inference.exact import ExactPosterior
from bayesinv.inference.samples import Samples, labelled
from bayesinv.physics import ForwardModel

FAULTS = ("exact", "mean shifted", "sd too small", "sd too large", "uncorrelated", "data ignored", "mode dropped")


class Faulty:
    """The exact posterior of a problem, changed by a named fault of a stated size.

    Args:
        problem: with a Gaussian or mixture prior, linear, noise of known level.
        fault: one of `FAULTS`.
        shift: of every pixel, in its standard deviations ("mean shifted").
        scale: of the deviations from the mean ("sd too small": 1 - scale; "sd too large": 1 + scale).
    """

    def __init__(self, problem: Any, fault: str = "exact", *, shift: float = 0.3, scale: float = 0.15) -> None:
        if fault not in FAULTS:
            raise ValueError(f"expected a fault among {', '.join(FAULTS)}, got {fault!r}")
        self.exact, self.fault, self.shift, self.scale = (
            ExactPosterior(problem.prior, problem.forward),
            fault,
            shift,
            scale,
        )
        self.prior, self.forward, self.target_noise = problem.prior, problem.forward, 0.0
        if fault == "data ignored":
            dark = ForwardModel(
                _Dark(problem.forward.operator), problem.forward.noise, model_axes=problem.forward.model_axes
            )
            self.blind = ExactPosterior(problem.prior, dark)

    def __call__(self, y: Any, sigma: Any = None) -> SimpleNamespace:
        exact = (self.blind if self.fault == "data ignored" else self.exact)(y, sigma)
        mean, std = exact.mean()[0], exact.std()[0]

        def draw(n: int, *, seed: int) -> torch.Tensor:
            x = exact.draw(n, seed=seed)[:, 0]
            if self.fault == "mean shifted":
                x = x + self.shift * std
            elif self.fault in ("sd too small", "sd too large"):
                factor = 1 - self.scale if self.fault == "sd too small" else 1 + self.scale
                x = mean + factor * (x - mean)
            elif self.fault == "uncorrelated":
                order = np.random.default_rng(seed).random(x.shape).argsort(0)  # each pixel's samples by themselves
                x = torch.gather(x, 0, torch.from_numpy(order))
            elif self.fault == "mode dropped":
                first = exact.responsibilities(x)[:, 0]
                x = torch.where((first < 0.5).reshape(-1, *[1] * (x.ndim - 1)), x + self._jump(exact), x)
            return x

        def sample(n: int, *, seed: int) -> Samples:
            axes = self.forward.model_axes
            return Samples(labelled(draw(n, seed=seed)[:, None].numpy(), axes, leading=("sample", "observation")))

        def log_prob(x: torch.Tensor) -> torch.Tensor:
            """Of the law that is sampled."""
            x = x.double()
            size = x[0].numel()
            if self.fault == "mean shifted":
                return exact.log_prob(x - self.shift * std)
            if self.fault in ("sd too small", "sd too large"):
                factor = 1 - self.scale if self.fault == "sd too small" else 1 + self.scale
                return exact.log_prob(mean + (x - mean) / factor) - size * np.log(factor)
            if self.fault == "uncorrelated":
                return torch.distributions.Normal(mean, std).log_prob(x).flatten(1).sum(1)
            if self.fault == "mode dropped":
                first = exact.responsibilities(x)[:, 0]
                return exact.log_prob(x) + torch.log(2 * first).clamp_min(-50)
            return exact.log_prob(x)

        return SimpleNamespace(sample=sample, log_prob=log_prob, y=exact.y, sigma=exact.sigma)

    @staticmethod
    def _jump(exact: Any) -> torch.Tensor:
        return exact.means[0, 0] - exact.means[0, 1]


class _Dark:
    """An operator that sees nothing."""

    def __init__(self, operator: Any) -> None:
        self.model_shape, self.data_shape = operator.model_shape, operator.data_shape

    def __call__(self, model: torch.Tensor) -> torch.Tensor:
        return model.new_zeros(*model.shape[: model.ndim - len(self.model_shape)], *self.data_shape)

    def adjoint(self, data: torch.Tensor) -> torch.Tensor:
        return data.new_zeros(*data.shape[: data.ndim - len(self.data_shape)], *self.model_shape)
