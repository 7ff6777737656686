"""Convolutions and their gradients as products agree with torch's, whatever the size of the blocks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bayesinv.reversible import patches, strips
from bayesinv.reversible.pixels import sum_of_rows


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
     (3, 5, 64, True, False), (32, 2, 64, True, False)],
)  # fmt: skip
def test_a_layers_gradients_by_either_way(
    monkeypatch: pytest.MonkeyPatch, channels: int, out: int, width: int, avx512: bool, products: bool
) -> None:
    """Weights of wide images and of few outputs by products, with AVX512 by the library."""
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


@pytest.mark.parametrize("pixels", [(40, 40), (41, 39), (5, 5)])
@pytest.mark.parametrize("sliced", [False, True])
def test_gradients_of_many_pixels_in_parts(pixels: tuple[int, int], sliced: bool) -> None:
    """Of numbers of rows that 4 and 16 divide, and others; from memory of its own, and from every second channel's."""
    layer = nn.Conv2d(48, 32, 1)
    x, grad = torch.randn(2, 96, *pixels), torch.randn(2, 64, *pixels)
    x, grad = (t.to(memory_format=torch.channels_last)[:, ::2] for t in (x, grad))
    if not sliced:
        x, grad = (t.contiguous(memory_format=torch.channels_last) for t in (x, grad))
    twin = nn.Conv2d(48, 32, 1).double()
    twin.load_state_dict(layer.state_dict())
    wide = x.double().requires_grad_()
    wanted = torch.autograd.grad(twin(wide), (wide, twin.weight, twin.bias), grad.double())  # type: ignore[arg-type]
    grads: Any = {}
    found = strips.pulled(layer, x, grad, 0, grads)
    for one, other in zip((found, grads[layer.weight], grads[layer.bias]), wanted, strict=True):
        torch.testing.assert_close(one, other.float(), rtol=0, atol=1e-6 * float(other.norm()))


@pytest.mark.parametrize("rows", [0, 1, 4096, 4097])
@pytest.mark.parametrize("width", [30, 60])
def test_the_sum_of_rows(rows: int, width: int) -> None:
    matrix = torch.randn(rows, 60, dtype=torch.float64)[:, :width]
    torch.testing.assert_close(sum_of_rows(matrix), torch.einsum("ij->j", matrix))
