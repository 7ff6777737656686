"""Layers of networks the fast way: few outputs side by side, the fewer channels as the library's input, small ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bayesinv.reversible import few_outputs, strips


def images(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Random ones, channels last."""
    return torch.randn(*shape, dtype=dtype).to(memory_format=torch.channels_last)


@pytest.mark.parametrize("m", [1, 2, 4])
@pytest.mark.parametrize("kernel", [(3, 3), (5, 3), (1, 7), (3, 1)])
@pytest.mark.parametrize("rows", ["whole", "strip"])
def test_pixels_side_by_side(m: int, kernel: tuple[int, int], rows: str) -> None:
    """The convolution, on whole images and on strips that bring their halo along."""
    x, weight, bias = images(2, 5, 6, 8), images(3, 5, *kernel), torch.randn(3, dtype=torch.float64)
    pads = [kernel[0] // 2 if rows == "whole" else 0, kernel[1] // 2]
    found = few_outputs.convolved_side_by_side(x, weight, bias, pads, m)
    torch.testing.assert_close(found, F.conv2d(x, weight, bias, padding=pads))  # type: ignore[arg-type]
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("lanes", "out", "width", "m"), [(16, 1, 64, 16), (16, 6, 64, 2), (16, 6, 63, 1), (8, 3, 64, 2)]
)
def test_as_many_pixels_as_fill_the_lanes(
    monkeypatch: pytest.MonkeyPatch, lanes: int, out: int, width: int, m: int
) -> None:
    monkeypatch.setattr(few_outputs, "lanes", lambda: lanes)
    x = images(1, 8, 128, width, dtype=torch.float32)
    assert few_outputs.neighbours(x, out) == m
    assert few_outputs.neighbours(x.contiguous(), out) == few_outputs.neighbours(x.double(), out) == 1
    assert few_outputs.neighbours(x[:, :, :8], out) == few_outputs.neighbours(x[..., None], out) == 1


@pytest.mark.parametrize("lanes", [1, 8, 16])
@pytest.mark.parametrize(("channels", "out"), [(16, 2), (2, 16), (16, 12), (12, 16), (16, 24), (24, 32), (5, 5)])
@pytest.mark.parametrize("pad", [0, 1])
def test_a_layer_and_its_gradients(
    monkeypatch: pytest.MonkeyPatch, lanes: int, channels: int, out: int, pad: int
) -> None:
    """On any processor, in float32, to its rounding; few outputs, and inputs of the gradient, side by side."""
    asked: list[int] = []
    sound = strips.convolved_side_by_side
    monkeypatch.setattr(strips, "convolved_side_by_side", lambda *given: (asked.append(given[-1]), sound(*given))[1])
    monkeypatch.setattr(few_outputs, "_MANY", 1)
    monkeypatch.setattr(few_outputs, "lanes", lambda: lanes)
    monkeypatch.setattr(strips, "_is_avx512", lambda: lanes == 16)
    layer = nn.Conv2d(channels, out, 3, padding=1).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = images(2, channels, 8, 16, dtype=torch.float32)
    grad = images(2, out, 6 + 2 * pad, 16, dtype=torch.float32)
    wide, twin = x.double().requires_grad_(), nn.Conv2d(channels, out, 3, padding=(pad, 1)).double()
    twin.load_state_dict(layer.state_dict())
    y = twin(wide)
    wanted = torch.autograd.grad(y, (wide, twin.weight, twin.bias), grad.double())  # type: ignore[arg-type]
    grads: Any = {}
    with torch.no_grad():
        found = strips.applied(layer, x, pad), strips.pulled(layer, x, grad, pad, grads)
    most = [1 << max(1, lanes // few).bit_length() - 1 for few in (out, channels)]
    assert asked == [m for m in most if m > 1]
    for one, other in zip((*found, grads[layer.weight], grads[layer.bias]), (y, *wanted), strict=True):
        other = other.detach()
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))


@pytest.mark.parametrize(
    ("channels", "out", "dtype", "avx512", "inputs"),
    [(16, 4, torch.float32, True, 4), (4, 16, torch.float32, True, 4), (64, 24, torch.float32, True, 24),
     (64, 12, torch.float32, True, 64), (12, 64, torch.float32, True, 64), (64, 12, torch.float64, True, 12),
     (64, 48, torch.float32, True, 64), (12, 12, torch.float32, True, 12),
     (16, 16, torch.float32, True, 16), (64, 12, torch.float32, False, 12)],
)  # fmt: skip
def test_which_channels_are_the_input(
    monkeypatch: pytest.MonkeyPatch, channels: int, out: int, dtype: torch.dtype, avx512: bool, inputs: int
) -> None:
    """The fewer ones, but for those that AVX512 has whole or slow kernels for."""
    seen: list[int] = []
    sound = strips._library
    monkeypatch.setattr(strips, "_is_avx512", lambda: avx512)
    monkeypatch.setattr(strips, "_library", lambda x, *more: (seen.append(x.shape[1]), sound(x, *more))[1])
    x, weight = images(1, channels, 4, 4, dtype=dtype), images(out, channels, 3, 3, dtype=dtype)
    grad = images(1, out, 4, 4, dtype=dtype)
    found = strips._of_weight_by_library(x, weight, grad, [1, 1])
    assert seen == [inputs]
    expected = torch.nn.grad.conv2d_weight(x, list(weight.shape), grad, padding=1)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("size", [4, 64])
def test_one_pixel_kernels_on_small_and_large_images(size: int) -> None:
    layer = nn.Conv2d(3, 5, 1)
    x = images(2, 3, size, size, dtype=torch.float32)
    torch.testing.assert_close(strips.applied(layer, x, 0), layer(x))


@pytest.mark.parametrize(("rank", "products"), [(1, True), (2, False), (3, True)])
def test_avx512_has_fast_kernels_for_images_only(monkeypatch: pytest.MonkeyPatch, rank: int, products: bool) -> None:
    """Wide traces and volumes go by products of patches as on other processors."""
    monkeypatch.setattr(strips, "_is_avx512", lambda: True)
    x, weight = torch.zeros(1, 2, *[64] * rank), torch.zeros(32, 2, *[3] * rank)
    assert strips._is_faster_as_products(x, weight) == products
