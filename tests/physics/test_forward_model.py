"""The forward model: what it simulates, and what it refuses at the door."""

from __future__ import annotations

import numpy as np
import pylops
import pytest
import torch

from bayesinv.physics import Axis, ForwardModel, GaussianNoise, from_pylops


def model(scale=1.0, **fields):
    return ForwardModel(from_pylops(scale * pylops.FirstDerivative((8, 6))), GaussianNoise(0.1), **fields)


def images(batch=3):
    return torch.randn(batch, 1, 8, 6, generator=torch.Generator().manual_seed(0))


def test_it_simulates_and_weighs():
    forward, x = model(), images()
    y, sigma = forward.simulate(x, 0)
    assert y.dtype == sigma.dtype == torch.float32
    part, _ = forward.simulate(x[2:], 0, start=2)
    assert torch.equal(y[2:], part)
    expected = torch.distributions.Normal(forward.operator(x), sigma[:, None, None, None]).log_prob(y).sum((1, 2, 3))
    torch.testing.assert_close(forward.log_likelihood(x, y, sigma), expected)
    x.requires_grad_()
    forward.log_likelihood(x, y, sigma).sum().backward()
    residual = (y - forward.operator(x.detach())) / sigma[:, None, None, None] ** 2
    torch.testing.assert_close(x.grad, forward.operator.adjoint(residual))
    assert forward.log_likelihood(x, y[:1], sigma[:1]).shape == (3,)


def test_the_fingerprint_tells_operators_apart():
    assert model().fingerprint() == model(name="other").fingerprint()
    prints = {model(scale).fingerprint() for scale in (1.0, 1.01, -1.0)}
    assert len(prints) == 3
    assert len(model().fingerprint()) == 16


def test_axes_have_defaults_and_are_checked():
    forward = model()
    assert [(axis.name, axis.unit, len(axis)) for axis in forward.model_axes] == [("z", "1", 8), ("x", "1", 6)]
    assert [axis.name for axis in forward.data_axes] == ["data_0", "data_1"]
    with pytest.raises(ValueError, match=r"model_axes of lengths \(8, 6\), got \(5,\)"):
        model(model_axes=(Axis("z", "mm", np.arange(5)),))
    with pytest.raises(ValueError, match=r"mirror.*\['z', 'x'\], got \['w'\]"):
        model(mirror=("w",))
    with pytest.raises(ValueError, match="1-D coordinates"):
        Axis("z", "mm", np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"from_pylops\(op\)"):
        ForwardModel(pylops.FirstDerivative((8, 6)), GaussianNoise(0.1))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(3, 1, 8, 5), r"expected images of shape \(1, 8, 6\).*got a tensor of \(3, 1, 8, 5\)"),
        (torch.zeros(1, 8, 6), r"expected images of shape \(batch, 1, 8, 6\)"),
        (torch.zeros(3, 1, 8, 6, dtype=torch.int32), "floating dtype"),
        (torch.full((3, 1, 8, 6), float("nan")), "expected finite images, got 144 of 144"),
        (np.zeros((3, 1, 8, 6)), "torch tensor"),
    ],
)
def test_bad_images_are_named(x, message):
    with pytest.raises(ValueError, match=message):
        model().simulate(x, 0)


def test_bad_data_are_named():
    forward, x = model(), images()
    y, _ = forward.simulate(x, 0)
    y[0, 0, 0, 0] = float("inf")
    with pytest.raises(ValueError, match="expected finite data, got 1 of 144"):
        forward.log_likelihood(x, y, 1.0)
    with pytest.raises(ValueError, match=r"expected data of shape \(1, 8, 6\)"):
        forward.check_data(y[..., 1:])
