"""Baselines and training: formulas, known optima, learning, repeatability, and what is refused."""

from __future__ import annotations

import numpy as np
import pylops
import pytest
import torch
from torch import Tensor, nn
from unrolled_maps import Matrix, blur, matrix

from bayesinv.physics import Calls, cgls, from_pylops
from bayesinv.unrolled import IRIM, LearnedProximal, UnrolledDescent, train_estimator
from bayesinv.unrolled.training import snr


def test_unrolled_descent_is_gradient_descent() -> None:
    operator, y = matrix((1, 6), (1, 9)), torch.randn(3, 1, 9).double()
    network = UnrolledDescent(operator, step=0.1, iterations=3).double()
    x = torch.zeros(3, 1, 6).double()
    for _ in range(3):
        x = x - 0.1 * operator.adjoint(operator(x) - y)
    torch.testing.assert_close(network(y), x)
    assert network.calls == Calls(forward=3, adjoint=3)


def test_a_fresh_learned_proximal_network_is_gradient_descent() -> None:
    y = torch.randn(3, 1, 4, 3)
    proximal = LearnedProximal(blur(), step=0.5, iterations=3, hidden=4)
    torch.testing.assert_close(proximal(y), UnrolledDescent(blur(), step=0.5, iterations=3)(y))


def test_gradients_of_the_baselines() -> None:
    for network in (UnrolledDescent(blur(), step=0.5), LearnedProximal(blur(), step=0.5, hidden=3, dilations=(1, 2))):
        network.double()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        y = torch.randn(2, 1, 4, 3).double().requires_grad_()
        assert torch.autograd.gradcheck(network, y)
        assert all(p.grad is None for p in network.parameters())
        network(y).square().sum().backward()
        assert all(float(p.grad.abs().sum()) > 0 for p in network.parameters() if p.grad is not None)


def scaled_pairs(count: int = 64) -> tuple[Tensor, Tensor]:
    """``y = 2 x`` without noise."""
    x = torch.randn(count, 1, 8, generator=torch.Generator().manual_seed(3))
    return x, 2 * x


def test_the_step_that_is_learnt_is_the_best_one() -> None:
    """For ``y = 2 x`` one step of length ``1/4`` gives ``x`` itself."""
    operator = from_pylops(pylops.Diagonal(np.full(8, 2.0)))
    network = UnrolledDescent(operator, step=0.1, iterations=1)
    train_estimator(network, *scaled_pairs(), epochs=20, learning_rate=0.05)
    assert abs(float(network.log_steps.detach().exp()) - 0.25) < 1e-3


class Linear(nn.Module):
    """Estimates by any matrix, so that the optimum of the squared error is in reach."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Linear(4, 4)

    def forward(self, y: Tensor) -> Tensor:
        out: Tensor = self.matrix(y)
        return out


def test_training_finds_the_linear_least_mean_square_estimate() -> None:
    draws = torch.Generator().manual_seed(4)
    mixing = torch.randn(4, 4, generator=draws)
    x = torch.randn(4000, 4, generator=draws) @ mixing.T
    y = x + 0.5 * torch.randn(4000, 4, generator=draws)
    network = Linear()
    train_estimator(network, x, y, epochs=6, batch_size=32, learning_rate=0.02)
    covariance = mixing @ mixing.T
    expected = covariance @ torch.linalg.inv(covariance + 0.25 * torch.eye(4))
    # 4000 pairs: each entry is known to about sqrt(.25 / 4000) = .008 in these units, and Adam ends near the optimum.
    assert float((network.matrix.weight.detach() - expected).abs().max()) < 0.05


def sparse_pairs(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Sparse spikes under a blur: least squares knows nothing of sparsity, a network can learn it."""
    draws = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 1, 12, 12, generator=draws) * (torch.rand(count, 1, 12, 12, generator=draws) < 0.1)
    y = operator()(x)
    return x, y + 0.05 * y.std() * torch.randn(y.shape, generator=draws)


def operator() -> Matrix:
    """A blur over three by three pixels."""
    line = (torch.eye(12) + torch.eye(12).roll(1, 0) + torch.eye(12).roll(-1, 0)) / 3
    return Matrix(torch.kron(line, line), (1, 12, 12), (1, 12, 12))


def test_an_irim_learns_more_than_least_squares_and_descent() -> None:
    """In some seconds, by 1 dB and more."""
    (x, y), held = sparse_pairs(256, 1), sparse_pairs(64, 2)
    torch.manual_seed(0)
    network = IRIM(operator(), iterations=3, memory=3, hidden=16, dilations=(1,))
    rows = train_estimator(network, x, y, epochs=6, batch_size=8, learning_rate=1e-2, held=held)
    least_squares = max(snr(held[0], cgls(operator(), held[1], iterations=n)) for n in (2, 5, 10, 20, 40))
    descent = UnrolledDescent(operator(), step=1.0, iterations=3)
    trained = train_estimator(descent, x, y, epochs=6, learning_rate=0.1, held=held)
    assert rows[-1].loss < rows[0].loss
    assert rows[-1].snr > least_squares + 1
    assert rows[-1].snr > trained[-1].snr + 1


def test_training_repeats_itself() -> None:
    def once(seed: int) -> Tensor:
        torch.manual_seed(0)
        network = IRIM(operator(), iterations=1, memory=1, hidden=4, dilations=(1,))
        train_estimator(network, *sparse_pairs(16, 1), epochs=1, batch_size=4, seed=seed)
        return torch.cat([p.detach().flatten() for p in network.parameters()])

    assert torch.equal(once(0), once(0))
    assert not torch.equal(once(0), once(1))


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="expected a positive step"):
        UnrolledDescent(blur(), step=0.0)
    with pytest.raises(ValueError, match="expected as many data as images, 8 or more, got 64 images, 63 data"):
        train_estimator(Linear(), torch.zeros(64, 4), torch.zeros(63, 4))
    with pytest.raises(FloatingPointError, match="lower learning_rate"):
        train_estimator(Linear(), torch.ones(64, 4), torch.full((64, 4), torch.inf))
