r"""For a linear operator and white noise ``A^T y`` is sufficient: a flow loses nothing by seeing it in place of ``y``.

Inpainting of a Gaussian line: 10 of 16 numbers are seen with noise. ``A A^T = I``, so the scaled adjoint is ``A^T y``.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from toy_problems import Exact, GaussianPrior, Matrix, correlated

from bayesinv.inference import Posterior, Problem, fit
from bayesinv.inference.summaries import summarise
from bayesinv.physics import ForwardModel, GaussianNoise

SEEN = (0, 1, 3, 4, 7, 8, 9, 12, 13, 15)


def problem() -> Problem:
    forward = ForwardModel(Matrix(torch.eye(16)[list(SEEN)], (16,), (10,)), GaussianNoise(0.3, relative=False))
    return Problem(GaussianPrior((16,), correlated(16, 4.0)), forward)


def test_the_adjoint_summary_is_the_adjoint() -> None:
    forward = problem().forward
    _, y, sigma = problem().sample(3, seed=0)
    torch.testing.assert_close(summarise("adjoint", forward, y, sigma), forward.operator.adjoint(y))


@pytest.mark.slow
def test_the_adjoint_reaches_the_loss_of_the_data() -> None:
    """Held-out loss on the same 2,000 pairs: within 0.01 nats per dimension of each other, and near the exact one."""
    losses = {}
    x, y, _ = problem().sample(2000, seed=9)
    summaries: tuple[Any, ...] = ("data", "adjoint")
    for summary in summaries:
        posterior = Posterior.build(problem(), summary=summary, levels=1, steps=4, hidden=64, seed=0)
        fit(
            posterior, problem(), simulations=20000, epochs=8, batch_size=64, target_noise=(0.1, 0.1), validation=500,
            learning_rate=4e-3, show_progress=False, device="cpu",
        )  # fmt: skip
        posterior.temperature_.fill_(1.0)
        noise = posterior.target_noise * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
        losses[summary] = -float(posterior(y).log_prob(x + noise).mean()) / 16
        exact = -float(Exact(problem(), posterior.target_noise).log_prob(x + noise, y).mean()) / 16
        assert math.isfinite(losses[summary])
        assert losses[summary] < exact + 0.03
    assert abs(losses["adjoint"] - losses["data"]) < 0.01, losses
