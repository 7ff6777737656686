"""Convolutions and their gradients as products agree with torch's, whatever the size of the blocks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bayesinv.reversible import patches, strips


@pytest.mark.parametrize("block", [1, 300, 2**17])
@pytest.mark.parametrize(("channels", "out"), [(2, 5), (5, 2), (3, 3)])
@pytest.mark.parametrize("pads", [(1,), (0,), (1, 1), (0, 1), (1, 0, 1), (1, 1, 1)])
def test_products_are_the_convolution(
    monkeypatch: pytest.MonkeyPatch, block: int, channels: int, out: int, pads: tuple[int, ...]
) -> None:
    monkeypatch.setattr(patches, "_BLOCK", block)
    rank = len(pads)
    x = torch.randn(3, channels, *(7, 5, 6)[:rank], dtype=torch.float64, requires_grad=True)
    weight = torch.randn(out, channels, *[3] * rank, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(out, dtype=torch.float64)
    y = (F.conv1d, F.conv2d, F.conv3d)[rank - 1](x, weight, bias, padding=pads)
    grad = torch.randn_like(y)
    wanted = torch.autograd.grad(y, (x, weight), grad)
    torch.testing.assert_close(patches.convolved(x.detach(), weight.detach(), bias, pads), y.detach())
    found: Any = patches.pulled(x.detach(), weight.detach(), grad, pads, (True, True))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("channels", "out", "width", "avx512", "products"),
    [(3, 5, 64, False, True), (3, 5, 63, False, False), (8, 2, 9, False, True), (8, 3, 9, False, False),
     (3, 5, 64, True, False), (1, 16, 9, True, True), (32, 2, 64, True, True), (2, 31, 64, True, False)],
)  # fmt: skip
def test_a_layers_gradients_by_either_way(
    monkeypatch: pytest.MonkeyPatch, channels: int, out: int, width: int, avx512: bool, products: bool
) -> None:
    """Weights of wide images and of few outputs by products; with AVX512 those of far more channels on one side."""
    asked: list[bool] = []
    sound = strips.products
    monkeypatch.setattr(strips, "_is_avx512", lambda: avx512)
    monkeypatch.setattr(strips, "products", lambda *given: (asked.append(True), sound(*given))[1])
    layer = nn.Conv2d(channels, out, 3, padding=1).double()
    x = torch.randn(2, channels, 6, width, dtype=torch.float64, requires_grad=True)
    y = layer(x)
    grad = torch.randn_like(y)
    wanted = torch.autograd.grad(y, (x, layer.weight, layer.bias), grad)  # type: ignore[arg-type]
    grads: Any = {}
    found = strips.pulled(layer, x.detach(), grad, 1, grads)
    assert bool(asked) == products
    for one, other in zip((found, grads[layer.weight], grads[layer.bias]), wanted, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("into", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("kernel", [1, 3])
def test_a_layers_gradient_is_added_to_another(
    kernel: int, into: torch.memory_format, layout: torch.memory_format
) -> None:
    """In its place, by a product of matrices where the kernel is one pixel and channels come last in memory."""
    layer = nn.Conv2d(4, 5, kernel, padding=kernel // 2).double()
    x = torch.randn(2, 4, 6, 7, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    y = layer(x)
    grad = torch.randn_like(y)
    of_x, of_weight = torch.autograd.grad(y, (x, layer.weight), grad)
    other = torch.randn_like(of_x).to(memory_format=into)
    wanted = other + of_x
    grads: Any = {}
    found = strips.pulled(layer, x.detach(), grad, kernel // 2, grads, into=other)
    assert found is other
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(grads[layer.weight], of_weight)
