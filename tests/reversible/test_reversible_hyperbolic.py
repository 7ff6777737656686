"""`Hyperbolic` beyond the laws: the leapfrog formula, the adjoint force, one evaluation, size and drift at depth."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from reversible_parts import Constant, leapfrog
from torch import Tensor, nn
from torch.nn import functional as F

from bayesinv.reversible import Chain, Hyperbolic, Squeezed, Unsqueezed, WaveForce

SPACES = [(), (7,), (4, 5), (2, 3, 4)]


def dense(force: WaveForce, shape: tuple[int, ...]) -> Tensor:
    """``K`` as a matrix from a state to the hidden channels, by convolution of unit states."""
    unit = torch.eye(torch.Size(shape).numel(), dtype=torch.float64).view(-1, *shape)
    rank = len(shape) - 1
    if rank == 0:
        return (unit @ force.weight.T).detach().T
    convolve: Callable[..., Tensor] = [F.conv1d, F.conv2d, F.conv3d][rank - 1]
    return convolve(unit, force.weight, padding=1).detach().flatten(1).T


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("activation", [torch.relu, torch.tanh])
def test_the_formula(space: tuple[int, ...], activation: Callable[[Tensor], Tensor]) -> None:
    """``X_new = 2 X_curr - X_prev - alpha K^T act(K X_curr + b)`` with the matrix of ``K``."""
    force = WaveForce(3, hidden=4, rank=len(space), alpha=0.7, activation=activation).double()
    nn.init.normal_(force.bias)
    x = torch.randn(2, 6, *space, dtype=torch.float64)
    y, logdet = Hyperbolic(force)(x)
    matrix, bias = dense(force, (3, *space)), force.bias.detach().repeat_interleave(torch.Size(space).numel())
    previous, current = x[:, :3], x[:, 3:]
    pulled = activation(current.flatten(1) @ matrix.T + bias) @ matrix
    torch.testing.assert_close(y[:, 3:], 2 * current - previous - 0.7 * pulled.view_as(current))
    assert torch.equal(y[:, :3], current)
    assert not logdet.any()


def test_the_condition_acts_inside_of_the_activation() -> None:
    force = WaveForce(2, hidden=3, rank=1, cond_channels=2).double()
    x, cond = torch.randn(2, 2, 5, dtype=torch.float64), torch.randn(2, 2, 5, dtype=torch.float64)
    hidden = F.conv1d(x, force.weight, force.bias, padding=1) + F.conv1d(cond, force.inject.weight)
    torch.testing.assert_close(force(x, cond), F.conv_transpose1d(hidden.relu(), force.weight, padding=1))


def test_one_evaluation_each_way() -> None:
    layer, x = leapfrog(2, 2), torch.randn(2, 4, 3, 3)
    count: list[bool] = []
    layer.force.register_forward_hook(lambda *_: count.append(torch.is_grad_enabled()))
    for direction in (layer, layer.inverse):
        y, _ = direction(x)
        y.sum().backward()
    assert count == [False, True] * 2


def test_a_frozen_constant_force_needs_no_graph() -> None:
    layer, x = Hyperbolic(Constant(2)), torch.randn(2, 4, 3, requires_grad=True)
    for parameter in layer.parameters():
        parameter.requires_grad_(False)
    layer(x)[0].sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.cat([-torch.ones(2, 2, 3), 3 * torch.ones(2, 2, 3)], 1))


def drift(layers: list[Hyperbolic]) -> tuple[float, float]:
    """Size of the output and error of the rebuilt input, relative to the input, in float32."""
    chain, x = Chain(*layers), torch.randn(4, 8, 8, 8)
    with torch.no_grad():
        y, _ = chain(x)
        rebuilt, *_ = chain._backward(y, None, torch.zeros_like(y), torch.zeros(4))
    return float(y.norm() / x.norm()), float((rebuilt - x).norm() / x.norm())


@pytest.mark.parametrize("hidden", [None, 16])
def test_size_and_drift_at_200_layers(hidden: int | None) -> None:
    """At initialisation, the design's bound; 3e-6 was measured."""
    size, error = drift([Hyperbolic(WaveForce(4, hidden=hidden, rank=2)) for _ in range(200)])
    assert size < 2
    assert error <= 1e-5


def test_random_forces_would_drift() -> None:
    """The control of the test above: what the start is for."""
    layers = [Hyperbolic(WaveForce(4, rank=2)) for _ in range(200)]
    for layer in layers:
        nn.init.normal_(layer.force.weight, std=(2 * 8 * 9) ** -0.5)
    size, error = drift(layers)
    assert size > 1e3
    assert error > 1


@pytest.mark.parametrize("alpha", [1.0, 2.0])
@pytest.mark.parametrize("space", SPACES)
def test_starts_near_a_turn(alpha: float, space: tuple[int, ...]) -> None:
    """``X_new = (2 - alpha) X_curr - X_prev``: 6 turns by 60 degrees, or 4 by 90, come back."""
    x = torch.randn(2, 6, *space)
    y, turns = x, {1.0: 6, 2.0: 4}[alpha]
    for _ in range(turns):
        y, _ = Hyperbolic(WaveForce(3, rank=len(space), alpha=alpha))(y)
    assert float((y - x).detach().norm() / x.norm()) < 0.5
    assert float((y - x).detach().norm()) > 0


def test_network_that_goes_down_and_up_again() -> None:
    """An encoder and a decoder: two levels down, and up again from within, at the size of the input there."""
    sizes: list[torch.Size] = []

    def step(states: int) -> Hyperbolic:
        layer = leapfrog(states, 2)
        layer.force.register_forward_hook(lambda _, given, out: sizes.append(out.shape[1:]))
        return layer

    inner = Chain(step(16), Unsqueezed(Chain(step(4), Unsqueezed(step(1), states=2)), states=2))
    net = Squeezed(Chain(step(4), Squeezed(inner, states=2)), states=2)
    x = torch.randn(2, 2, 8, 8)
    y, logdet = net(x)
    assert sizes == [(4, 4, 4), (16, 2, 2), (4, 4, 4), (1, 8, 8)]
    torch.testing.assert_close(net.inverse(y)[0], x, rtol=0, atol=1e-5)
    assert not logdet.any()


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="expected two states in an even number of channels"):
        leapfrog(1, 1)(torch.randn(2, 3, 4))
    with pytest.raises(ValueError, match="expected a force of shape"):
        Hyperbolic(nn.Conv1d(2, 3, 1))(torch.randn(2, 4, 5))
    with pytest.raises(ValueError, match="expected a state with 2 axes of space"):
        leapfrog(3, 2)(torch.randn(2, 6, 4))
    with pytest.raises(ValueError, match="expected no condition"):
        leapfrog(2, 1)(torch.randn(2, 4, 5), torch.randn(2, 1, 5))
    with pytest.raises(ValueError, match="expected a spatial rank of 0 to 3, got 4"):
        WaveForce(2, hidden=2, rank=4)
    with pytest.raises(ValueError, match="expected an odd kernel"):
        WaveForce(2, hidden=2, rank=1, kernel=2)
