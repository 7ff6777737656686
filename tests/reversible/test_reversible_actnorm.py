"""`ActNorm` beyond the laws: initialisation by the first batch, from either side, once."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from bayesinv.reversible import ActNorm

SHAPES = [(64, 3), (16, 3, 9), (8, 3, 4, 5), (4, 3, 2, 3, 4)]


def batch(*shape: int) -> Tensor:
    return 5 + 3 * torch.randn(*shape, dtype=torch.float64)


def whitened(y: Tensor) -> bool:
    axes = [0, *range(2, y.ndim)]
    # The epsilon of 1e-6 beside a deviation of about 3 moves the variance by less than 1e-6.
    return bool((y.mean(axes).abs() < 1e-6).all() and ((y.var(axes, correction=0) - 1).abs() < 1e-5).all())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_first_batch_comes_out_white(shape: tuple[int, ...], direction: str) -> None:
    layer, x = ActNorm(3).double(), batch(*shape)
    out, _ = getattr(layer, direction)(x)
    assert whitened(out)
    back, _ = (layer.inverse if direction == "forward" else layer.forward)(out)
    torch.testing.assert_close(back, x, rtol=1e-12, atol=1e-12)


def test_only_the_first_batch_counts() -> None:
    layer = ActNorm(3).double()
    layer(batch(16, 3, 4))
    before = copy.deepcopy(layer.state_dict())
    layer(10 * batch(16, 3, 4))
    assert all(torch.equal(before[name], now) for name, now in layer.state_dict().items())


def test_a_fresh_layer_is_the_identity_in_evaluation() -> None:
    layer, x = ActNorm(3).double().eval(), batch(4, 3, 5)
    for out, logdet in (layer(x), layer.inverse(x)):
        assert torch.equal(out, x)
        assert torch.equal(logdet, torch.zeros(4, dtype=torch.float64))
    assert not layer.initialised
    assert whitened(layer.train()(x)[0])


@pytest.mark.parametrize("by", ["state_dict", "deepcopy"])
def test_a_restored_layer_is_not_initialised_again(by: str) -> None:
    layer, x = ActNorm(3).double(), batch(16, 3, 4)
    layer(x)
    restored = copy.deepcopy(layer)
    if by == "state_dict":
        restored = ActNorm(3).double()
        restored.load_state_dict(layer.state_dict())
    other = 10 * batch(16, 3, 4)
    assert torch.equal(restored.train()(other)[0], layer.eval()(other)[0])


def test_a_layer_restored_to_its_beginning_is_initialised_again() -> None:
    layer = ActNorm(3).double()
    beginning = copy.deepcopy(layer.state_dict())
    layer(batch(16, 3, 4))
    layer.load_state_dict(beginning)
    assert whitened(layer(10 * batch(16, 3, 4))[0])


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_a_constant_channel_stays_finite(direction: str) -> None:
    layer, x = ActNorm(2).double(), batch(8, 2, 4)
    x[:, 0] = 7.0
    y, logdet = getattr(layer, direction)(x)
    assert not y[:, 0].any()
    assert logdet.isfinite().all()
    scale = layer.log_scale.detach().exp()[0]
    assert float(scale if direction == "inverse" else 1 / scale) == pytest.approx(1e-6)  # the epsilon


def test_epsilon_is_added_to_the_deviation() -> None:
    x = batch(16, 1, 9)
    y, _ = ActNorm(1, epsilon=0.5).double()(x)
    deviation = float(x.std(correction=0))
    assert float(y.std(correction=0).detach()) == pytest.approx(deviation / (deviation + 0.5))


def test_one_value_a_channel_leaves_it_fresh() -> None:
    layer = ActNorm(3).double()
    x = batch(1, 3)
    assert torch.equal(layer(x)[0], x)
    assert not layer.initialised
    assert whitened(layer(batch(16, 3))[0])


def test_a_shared_layer_is_initialised_by_its_first_use() -> None:
    from bayesinv.reversible import Chain

    norm, x = ActNorm(3).double(), batch(16, 3, 4)
    y, _ = Chain(norm, norm)(x)
    again, _ = norm(norm(x)[0])
    torch.testing.assert_close(y, again)


@pytest.mark.parametrize("channels", [1, 2])
def test_wrong_channels(channels: int) -> None:
    """One channel would be broadcast, in silence, with a wrong logdet."""
    for layer, x in ((ActNorm(3), torch.randn(2, channels, 4)), (ActNorm(1), torch.randn(2, channels + 1, 4))):
        with pytest.raises(ValueError, match=r"expected \d channels"):
            layer.eval()(x)
        with pytest.raises(ValueError, match=r"expected \d channels"):
            layer.train()(x)
