"""The invertible activations against closed forms, and at the ends of their ranges."""

from __future__ import annotations

import math

import pytest
import torch

from bayesinv.reversible import BoundedSigmoid, Chain, ExpClamp, LeakyReLU, Reversible

X = torch.tensor([[-3.0, -0.5, 0.0], [0.25, 1.0, 4.0]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("layer", "function", "slope"),
    [
        (LeakyReLU(), lambda x: x if x >= 0 else 0.01 * x, lambda x: 1.0 if x >= 0 else 0.01),
        (LeakyReLU(slope=3.0), lambda x: x if x >= 0 else 3 * x, lambda x: 1.0 if x >= 0 else 3.0),
        (
            BoundedSigmoid(),
            lambda x: 1 / (1 + math.exp(-x)),
            lambda x: math.exp(-x) / (1 + math.exp(-x)) ** 2,
        ),
        (
            BoundedSigmoid(low=0.5, high=1.0),
            lambda x: 0.5 + 0.5 / (1 + math.exp(-x)),
            lambda x: 0.5 * math.exp(-x) / (1 + math.exp(-x)) ** 2,
        ),
        (
            BoundedSigmoid(low=1.5, high=4.5),
            lambda x: 3 + 1.5 * math.tanh(x / 2),
            lambda x: 0.75 / math.cosh(x / 2) ** 2,
        ),
        (
            ExpClamp(),
            lambda x: math.exp(2 * 0.636 * math.atan(x)),
            lambda x: 1.272 / (1 + x * x) * math.exp(1.272 * math.atan(x)),
        ),
    ],
)
def test_closed_form(layer: Reversible, function: object, slope: object) -> None:
    y, logdet = layer(X)
    expected = torch.tensor([[function(v) for v in row] for row in X.tolist()], dtype=torch.float64)
    slopes = torch.tensor([[slope(v) for v in row] for row in X.tolist()], dtype=torch.float64)
    torch.testing.assert_close(y, expected, rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(logdet, slopes.log().sum(1), rtol=1e-13, atol=1e-13)
    again, back = layer.inverse(y)
    torch.testing.assert_close(again, X, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(back, -logdet, rtol=1e-12, atol=1e-12)


def test_gradients_stay_finite_far_out() -> None:
    """``exp(-x)/(1 + exp(-x))^2`` overflows there; in float32 the sigmoid of -80 is a normal number."""
    x = torch.tensor([[-80.0, -40.0, 15.0]], requires_grad=True)
    y, logdet = BoundedSigmoid()(x)
    (y.sum() + logdet.sum()).backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.tensor([[1.0, 1.0, -1.0]]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, 1.1, float("nan"), float("inf")])
def test_what_has_no_inverse_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="expected values between 0 and 1, got some from"):
        BoundedSigmoid().inverse(torch.tensor([[0.5, value]]))


@pytest.mark.parametrize("value", [0.0, -1.0, 8.0, math.exp(-2)])
def test_exp_clamp_refuses_what_it_cannot_reach(value: float) -> None:
    """The range ends a little inside of exp(-2) and exp(2), as 0.636 is a little below 2/pi."""
    with pytest.raises(ValueError, match=r"expected values between 0.135\d+ and 7.37\d+, got some"):
        ExpClamp().inverse(torch.tensor([[1.0, value]]))


def test_a_saturated_output_is_refused_in_the_backward_pass() -> None:
    """An input that rounding has put at the end cannot be rebuilt; no gradient of a made-up one is returned."""
    x = torch.tensor([[30.0]], requires_grad=True)
    y, logdet = BoundedSigmoid()(x)
    assert float(y.detach()) == 1.0
    with pytest.raises(ValueError, match="expected values between 0 and 1, got some from 1 to 1"):
        (y.sum() + logdet.sum()).backward()


def test_last_in_a_chain_they_bound_an_image() -> None:
    layer = Chain(LeakyReLU(slope=0.5), BoundedSigmoid(low=1.5, high=4.5))
    x = 3 * torch.randn(4, 1, 8, 8, dtype=torch.float64)
    y, _ = layer(x)
    assert 1.5 < float(y.min()) < float(y.max()) < 4.5
    torch.testing.assert_close(layer.inverse(y)[0], x)


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="expected a positive slope, got 0"):
        LeakyReLU(slope=0.0)
    with pytest.raises(ValueError, match=r"expected low < high, got 1.0 and 1.0"):
        BoundedSigmoid(low=1.0, high=1.0)
