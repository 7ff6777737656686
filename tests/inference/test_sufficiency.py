r"""For a linear operator and white noise ``A^T y`` is sufficient: a flow loses nothing by seeing it in place of ``y``.

Denoising of a Gaussian line of 16 numbers, seen through 10 coefficients of its cosine transform. ``A A^T = I``, so the
scaled adjoint is ``A^T y``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.fft import dct
from toy_problems import Exact, GaussianPrior, Matrix, correlated

from bayesinv.inference import Posterior, Problem, fit
from bayesinv.inference.summaries import summarise
from bayesinv.physics import ForwardModel, GaussianNoise

SEEN = (0, 1, 2, 3, 5, 6, 8, 10, 12, 15)


def problem() -> Problem:
    cosines = torch.from_numpy(dct(np.eye(16), norm="ortho", axis=0)[list(SEEN)])
    forward = ForwardModel(Matrix(cosines, (16,), (10,)), GaussianNoise(0.3, relative=False))
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
            posterior, problem(), simulations=32000, epochs=6, batch_size=64, target_noise=(0.1, 0.1), validation=500,
            learning_rate=4e-3, show_progress=False, device="cpu",
        )  # fmt: skip
        posterior.temperature_.fill_(1.0)
        noise = posterior.target_noise * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
        losses[summary] = -float(posterior(y).log_prob(x + noise).mean()) / 16
        exact = -float(Exact(problem(), posterior.target_noise).log_prob(x + noise, y).mean()) / 16
        assert losses[summary] < exact + 0.02
    assert abs(losses["adjoint"] - losses["data"]) < 0.01, losses
