"""`Householder` beyond the laws: orthogonal, of the right determinant, and equal to the product of reflections."""

from __future__ import annotations

import pytest
import reversible_laws as laws
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from bayesinv.reversible import Householder

SIZES = [(5, 1), (5, 3), (5, 5), (3, 8), (1, 1)]  # k = 1, k < c, k = c, k > c


def matrix(layer: Householder) -> Tensor:
    """The rows of the identity through the layer: its transposed matrix."""
    return layer(torch.eye(layer.vectors.shape[0], dtype=torch.float64))[0].detach()


@pytest.mark.parametrize(("channels", "reflections"), SIZES)
def test_orthogonal_product_of_reflections(channels: int, reflections: int) -> None:
    layer = Householder(channels, reflections=reflections).double()
    unit = torch.eye(channels, dtype=torch.float64)
    product = unit
    for v in layer.vectors.detach().unbind(1):
        product = product @ (unit - 2 * torch.outer(v, v) / (v @ v))
    found = matrix(layer).T
    # T has a condition number of at most some 1e3 here.
    torch.testing.assert_close(found, product, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.T @ found, unit, rtol=0, atol=1e-12)
    assert abs(float(torch.linalg.det(found)) - (-1) ** reflections) < 1e-12


@pytest.mark.parametrize(("channels", "reflections"), SIZES)
@pytest.mark.parametrize("space", [(), (4,), (2, 3), (2, 1, 3)])
def test_gradient_of_the_vectors(channels: int, reflections: int, space: tuple[int, ...]) -> None:
    layer = Householder(channels, reflections=reflections).double()
    laws.gradients_are_autograds(layer, torch.randn(3, channels, *space, dtype=torch.float64), None)


def test_length_of_the_vectors_does_not_matter() -> None:
    layer = Householder(4, reflections=3).double()
    before = matrix(layer)
    with torch.no_grad():
        layer.vectors.mul_(torch.tensor([1e-3, 1.0, 1e3]))
    torch.testing.assert_close(matrix(layer), before, rtol=0, atol=1e-12)


def test_default_number_of_reflections() -> None:
    assert [Householder(c).vectors.shape[1] for c in (3, 16, 40)] == [3, 16, 16]


@pytest.mark.parametrize("sizes", [(0, 1), (3, 0)])
def test_empty(sizes: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="expected at least one channel and one reflection"):
        Householder(sizes[0], reflections=sizes[1])


def test_wrong_channels() -> None:
    with pytest.raises(ValueError, match="expected 3 channels, got a tensor of shape"):
        Householder(3)(torch.randn(2, 4, 5))


@pytest.mark.parametrize("reflections", [1, 8])  # thin products, and the assembled matrix
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_frozen_vectors_cost_nothing_in_backward(reflections: int, direction: str) -> None:
    """Two maps of rows are left, of the output and of its gradient; the sums over pixels are not formed."""

    def operations(frozen: bool) -> int:
        layer, x = Householder(8, reflections=reflections), torch.randn(64, 8, 5, requires_grad=True)
        layer.vectors.requires_grad_(not frozen)
        y, _ = getattr(layer, direction)(x)
        with FlopCounterMode(display=False) as counter:
            y.sum().backward()
        return int(counter.get_total_flops())

    pixels = 64 * 5
    maps = 2 * (2 * 2 * pixels * 8 if reflections == 1 else 2 * pixels * 8 * 8)
    assert maps <= operations(frozen=True) < 1.1 * maps + 4096  # the matrix itself
    assert operations(frozen=False) - operations(frozen=True) > 0.4 * maps
