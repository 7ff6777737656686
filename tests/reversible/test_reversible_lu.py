"""`LU` beyond the laws: its matrix, its log-determinant, its start; and `AffineMap`."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bayesinv.reversible import LU, ActNorm, AffineMap, Chain


def matrix(layer: LU) -> Tensor:
    """The columns of the identity through the layer: its matrix."""
    return layer(torch.eye(len(layer.sign), dtype=torch.float64))[0].detach().T


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_starts_as_a_rotation(channels: int) -> None:
    layer = LU(channels).double()
    unit = torch.eye(channels, dtype=torch.float64)
    # The factors of the start were rounded to float32.
    torch.testing.assert_close(matrix(layer) @ matrix(layer).T, unit, rtol=0, atol=1e-5)
    assert not torch.equal(matrix(LU(channels).double()), matrix(layer)) or channels == 1
    x = torch.randn(3, channels, 4, dtype=torch.float64)
    assert float(layer(x)[1].detach().abs().max()) < 1e-5


def test_starts_as_the_identity() -> None:
    x = torch.randn(3, 4, 5)
    y, logdet = LU(4, start="identity")(x)
    assert torch.equal(y, x)
    assert torch.equal(logdet, torch.zeros(3))


@pytest.mark.parametrize("space", [(), (4,), (2, 3), (2, 1, 3)])
def test_matrix_and_logdet_of_the_factors(space: tuple[int, ...]) -> None:
    """``W = P L (U + diag s)`` written out, the layer as a 1x1 convolution with it, ``logdet = pixels log|det W|``."""
    layer = LU(4).double()
    factors = torch.randn(4, 4, dtype=torch.float64)
    with torch.no_grad():
        layer.factors.copy_(factors)
    permutation = torch.eye(4, dtype=torch.float64)[layer.order]
    lower = factors.tril(-1) + torch.eye(4, dtype=torch.float64)
    weight = permutation @ lower @ (factors.triu(1) + torch.diag(layer.sign * factors.diagonal().exp()))
    torch.testing.assert_close(matrix(layer), weight, rtol=1e-12, atol=1e-12)
    x = torch.randn(3, 4, *space, dtype=torch.float64)
    y, logdet = layer(x)
    torch.testing.assert_close(y, torch.einsum("ij,bj...->bi...", weight, x))
    pixels = x[0, 0].numel()
    torch.testing.assert_close(logdet, torch.linalg.slogdet(weight).logabsdet.mul(pixels).expand(3))


def test_factors_start_of_order_one() -> None:
    """Pivoting holds ``L`` below 1; the rest stays small beside the 48 channels."""
    for seed in range(10):
        torch.manual_seed(seed)
        factors = LU(48).factors.detach()
        assert float(factors.tril(-1).abs().max()) <= 1
        assert float(factors.abs().max()) < 6


def test_autocast_leaves_the_matrix_alone() -> None:
    layer, x = LU(8), torch.randn(4, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        again, _ = layer.inverse(layer(x)[0])
    assert float((again - x).detach().norm() / x.norm()) < 1e-5


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="expected at least one channel, got 0"):
        LU(0)
    with pytest.raises(ValueError, match="expected start 'rotation' or 'identity', got 'zero'"):
        LU(3, start="zero")
    with pytest.raises(ValueError, match="expected 3 channels, got a tensor of shape"):
        LU(3)(torch.randn(2, 4, 5))


@pytest.mark.parametrize("space", [(), (4,), (2, 3), (2, 1, 3)])
def test_affine_map_is_its_formula(space: tuple[int, ...]) -> None:
    layer = AffineMap((2, *space)).double()
    with torch.no_grad():
        layer.log_scale.normal_()
        layer.bias.normal_()
    x = torch.randn(3, 2, *space, dtype=torch.float64)
    y, logdet = layer(x)
    torch.testing.assert_close(y, layer.log_scale.exp() * x + layer.bias)
    torch.testing.assert_close(logdet, layer.log_scale.sum().expand(3))


def test_affine_map_has_one_shape() -> None:
    with pytest.raises(ValueError, match=r"expected inputs \(batch, \(2, 4\)\), got one of shape \(3, 2, 5\)"):
        AffineMap((2, 4))(torch.randn(3, 2, 5))
    with pytest.raises(ValueError, match="expected inputs"):  # would be broadcast
        AffineMap((2, 1)).inverse(torch.randn(3, 2, 5))
    for shape in ((), (0, 2), (1, 2, 2, 2, 2)):
        with pytest.raises(ValueError, match="expected a shape"):
            AffineMap(shape)


def test_parameters_of_another_precision_than_the_buffers() -> None:
    """As one matrix with the layer before it, too."""
    chain = Chain(ActNorm(3), LU(3)).eval()
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    wide = {name: parameter.double() for name, parameter in chain.named_parameters()}
    with torch.no_grad():
        found, _ = torch.func.functional_call(chain, wide, (x,))
    torch.testing.assert_close(found, chain.double()(x)[0].detach())
