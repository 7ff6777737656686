r"""Convolutions and linear layers on strips of rows, with gradients by hand; what `by_hand` and `sequential` share."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bayesinv.reversible.few_outputs import convolved_side_by_side, lanes, neighbours
from bayesinv.reversible.gradients import Gradients, add_gradients
from bayesinv.reversible.patches import convolved, opposite, rows_of
from bayesinv.reversible.patches import pulled as products
from bayesinv.reversible.pixels import sum_of_rows
from bayesinv.reversible.tiles import Tile, even, is_given

__all__ = [
    "applied",
    "as_dtype",
    "cleared",
    "compute_dtype",
    "convolution_of",
    "is_same_size",
    "is_touched",
    "masked",
    "missing",
    "of_input",
    "of_weight",
    "padded",
    "parts_of",
    "pulled",
    "pulled_to_parameters",
    "trimmed",
]

Rows = tuple[int, int]
Part = tuple[slice, ...]
_PART = 2**18  # numbers of a hidden layer that may lie in memory twice where a workspace is given, or a quarter of it
_LONG = 2**10  # rows
_FEW = 2**11  # pixels; up to here calling a convolution costs more than its arithmetic


def compute_dtype(a: Tensor) -> torch.dtype:
    """That of autocast where it is on, which leaves float64 alone."""
    kind = a.device.type
    narrow = torch.is_autocast_enabled(kind) and a.dtype != torch.float64
    return torch.get_autocast_dtype(kind) if narrow else a.dtype


def as_dtype(x: Tensor, dtype: torch.dtype) -> Tensor:
    """``x.to(dtype)``, which costs as much as a small sum where there is nothing to do."""
    return x if x.dtype == dtype else x.to(dtype)


def is_same_size(layer: Any, rank: int) -> bool:
    """Whether it is what `applied` computes: a linear layer for ``rank`` 0, else a convolution that keeps the size."""
    if rank == 0:
        return type(layer) is nn.Linear
    if type(layer) not in (nn.Conv1d, nn.Conv2d, nn.Conv3d) or len(layer.kernel_size) != rank:
        return False
    kernel, ones = layer.kernel_size, (1,) * rank
    whole = all(k % 2 for k in kernel) and layer.padding == tuple(k // 2 for k in kernel)
    dense = layer.stride == layer.dilation == ones and layer.groups == 1
    return whole and dense and layer.padding_mode == "zeros"


def is_touched(module: nn.Module) -> bool:
    """Whether somebody has hung hooks on it, or compiled it."""
    hooked = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    return bool(hooked) or module._compiled_call_impl is not None


def missing(reach: int, tile: Tile) -> Rows:
    """How many rows of the halo of a strip lie beyond the image's edges; a whole image is padded by the layers."""
    return (reach - tile.before, reach - tile.after) if tile.is_strip else (0, 0)


def masked(grad: Tensor, out: Tensor, *, into: Tensor | None = None) -> Tensor:
    """``grad [out > 0]``, in the place of ``into``."""
    if into is None:
        return torch.ops.aten.threshold_backward(grad, out, 0)  # type: ignore[no-any-return]
    return torch.ops.aten.threshold_backward.grad_input(grad, out, 0, grad_input=into)  # type: ignore[no-any-return]


def applied(layer: Any, x: Tensor, pad: int) -> Tensor:
    """The layer, with ``pad`` rows of zeros around the first axis, and the same size along the others."""
    bias = None if layer.bias is None else as_dtype(layer.bias, x.dtype)
    return convolution_of(x, as_dtype(layer.weight, x.dtype), bias, _pads(layer, pad) if x.ndim > 2 else [])


def convolution_of(x: Tensor, weight: Tensor, bias: Tensor | None, pads: list[int]) -> Tensor:
    """The convolution, or the product where there is no space."""
    if x.ndim == 2:
        return F.linear(x, weight, bias)
    if x.ndim == 5 and _on_products(x):
        return convolved(x, weight, bias, pads)
    if _is_pointwise(weight):
        if len(x) * x.shape[2:].numel() <= _FEW and _on_products(x) and _is_channels_last(x):
            return F.linear(x.movedim(1, -1), weight.flatten(1), bias).movedim(-1, 1)
    elif (beside := neighbours(x, len(weight))) > 1:
        return convolved_side_by_side(x, weight, bias, pads, beside)
    return torch.convolution(x, weight, bias, *_geometry(pads))


def pulled(
    layer: Any, x: Tensor, grad: Tensor, pad: int, grads: Gradients, *, wanted: bool = True, into: Tensor | None = None,
    rectified: bool = False,
) -> Tensor:  # fmt: skip
    """The gradient of the layer's input, added to ``into`` where it is given; that of its parameters to ``grads``.

    The weight's comes first: while it is computed, the other does not lie in memory yet. Where ``x`` is ``rectified``,
    the output of a ReLU that is not needed again, it is overwritten by the gradient of the ReLU's input.
    """
    weight, pads = pulled_to_parameters(layer, x, grad, pad, grads)
    if rectified:
        for part, of_part, pads_of_part in parts_of(x, grad, weight, pads):
            masked(of_input(x[part], weight, of_part, pads_of_part), x[part], into=x[part])
        return x
    return of_input(x, weight, grad, pads, into) if wanted else None  # type: ignore[return-value]


def pulled_to_parameters(layer: Any, x: Tensor, grad: Tensor, pad: int, grads: Gradients) -> tuple[Tensor, list[int]]:
    """`pulled` for the parameters alone; returns weight and pads, of which `of_input` makes the rest."""
    weight, bias = layer.weight, layer.bias
    if bias is not None and bias.requires_grad:
        add_gradients(grads, {bias: as_dtype(_of_bias(grad), bias.dtype)})
    used, pads = as_dtype(weight, x.dtype), _pads(layer, pad) if x.ndim > 2 else []
    if weight.requires_grad:
        add_gradients(grads, {weight: as_dtype(of_weight(x, used, grad, pads), weight.dtype)})
    return used, pads


def parts_of(x: Tensor, grad: Tensor, weight: Tensor, pads: list[int]) -> Iterator[tuple[Part, Tensor, list[int]]]:
    """Quarters of a hidden layer, of samples or of rows, each with the output's gradient and the pads of its own.

    So that a second tensor of its size need not lie in memory. All of it where nobody has given a workspace, which is
    faster, and up to `_PART` numbers, which exceeds a workspace by a fifth, or half a MiB, at most.
    """
    largest, of_sample = max(_PART, x.numel() // 4), max(1, x.shape[1:].numel())
    if not x.is_cpu or x.numel() <= largest or not is_given():
        yield (slice(None),), grad, pads
    elif of_sample <= largest or x.ndim == 2:
        for i, j in even(len(x), max(1, largest // of_sample)):
            yield (slice(i, j),), grad[i:j], pads
    else:
        reach, rows = weight.shape[2] - 1, x.shape[2]
        for n, (i, j) in product(range(len(x)), even(rows, max(1, largest * rows // of_sample))):
            first, last = i + pads[0] - reach, j + pads[0]  # the output's rows that see these
            outside = max(0, -first), max(0, last - grad.shape[2])
            of_part = padded(grad[n : n + 1, :, first + outside[0] : last - outside[1]], outside)
            yield (slice(n, n + 1), slice(None), slice(i, j)), of_part, [reach, *pads[1:]]


def _of_bias(grad: Tensor) -> Tensor:
    return sum_of_rows(rows_of(grad)) if _is_channels_last(grad) else grad.sum([0, *range(2, grad.ndim)])


def of_weight(x: Tensor, weight: Tensor, grad: Tensor, pads: list[int]) -> Tensor:
    """The gradient of the weight of `convolution_of` from that of its output."""
    if _is_product(weight, x, grad):
        return _product_of_rows(rows_of(grad), rows_of(x)).view_as(weight)
    if _on_products(x) and _is_faster_as_products(x, weight):
        return products(x, weight, grad, pads, (False, True))[1]  # type: ignore[return-value]
    return _of_weight_by_library(x, weight, grad, pads)


def _product_of_rows(left: Tensor, right: Tensor) -> Tensor:
    """``left^T right``, of many rows in four parts, which is faster by a fifth."""
    parts = math.gcd(len(left), 4) if len(left) > _LONG else 1
    if parts == 1:
        return left.T @ right
    return torch.bmm(left.reshape(parts, -1, left.shape[1]).mT, right.reshape(parts, -1, right.shape[1])).sum(0)


def _is_faster_as_products(x: Tensor, weight: Tensor) -> bool:
    """Than the library: volumes, and without AVX512 images with wide rows or few outputs."""
    if x.ndim == 5 or _is_pointwise(weight) or (x.ndim == 4 and _is_avx512()):
        return x.ndim == 5
    return x.shape[-1] >= 64 or x.shape[1] >= 4 * len(weight)


def _of_weight_by_library(x: Tensor, weight: Tensor, grad: Tensor, pads: list[int]) -> Tensor:
    """On a CPU with the side of fewer channels as the input, for outputs are computed 16 at a time, used or not.

    Not where they are a multiple of 16, and the other way round where AVX512 has slow kernels, for 10 to 15 inputs. On
    strips, whose rows are not padded in one of the two ways but twice in the other, only where there are few.

    ``dW[o, i, k] = sum_p dy[o, p] x[i, p + k - pad]`` is, with ``k`` reversed, the same of ``dy`` as input and ``x``
    as gradient.
    """
    out, channels = weight.shape[:2]
    if not x.is_cpu or x.ndim != 4 or out == channels:
        return _library(x, weight, grad, pads, 1)
    vectors, few = x.dtype == torch.float32 and _is_avx512(), min(out, channels)
    slow = vectors and 9 < few < 16  # with these as the input
    whole = vectors and not slow and out % 16 == 0
    turned_pads = opposite(weight.shape[2:], pads)
    if whole or (out < channels) == slow or (few > 9 and turned_pads != pads):
        return _library(x, weight, grad, pads, 1)
    turned = weight.transpose(0, 1)  # of which the library reads nothing but shape and layout
    return _library(grad, turned, x, turned_pads, 1).flip(2, 3).transpose(0, 1)


def _is_avx512() -> bool:
    return lanes() == 16


def of_input(x: Tensor, weight: Tensor, grad: Tensor, pads: list[int], into: Tensor | None = None) -> Tensor:
    """The gradient of the input, added to ``into`` where it is given."""
    if _is_product(weight, x, grad):
        if into is not None and _is_channels_last(into):
            rows_of(into).addmm_(rows_of(grad), weight.flatten(1))
            return into
        found = (rows_of(grad) @ weight.flatten(1)).view(len(x), *x.shape[2:], x.shape[1]).movedim(-1, 1)
    elif x.ndim == 5 and _on_products(x):
        found = products(x, weight, grad, pads, (True, False))[0]  # type: ignore[assignment]
    elif not _is_pointwise(weight) and (beside := neighbours(grad, x.shape[1])) > 1:
        found = convolved_side_by_side(
            grad, weight.flip(2, 3).transpose(0, 1), None, opposite(weight.shape[2:], pads), beside
        )
    else:
        found = _library(x, weight, grad, pads, 0)
    return found if into is None else into.add_(found)


def _is_product(weight: Tensor, x: Tensor, grad: Tensor) -> bool:
    """Of matrices that lie in memory as they are: for a linear layer, and on a CPU for kernels of one pixel."""
    if x.ndim == 2:
        return True
    return _is_pointwise(weight) and _on_products(x) and _is_channels_last(x) and _is_channels_last(grad)


def _is_pointwise(weight: Tensor) -> bool:
    return weight.numel() == weight.shape[0] * weight.shape[1]


def _is_channels_last(x: Tensor) -> bool:
    return x.movedim(1, -1).is_contiguous()


def _library(x: Tensor, weight: Tensor, grad: Tensor, pads: list[int], which: int) -> Tensor:
    mask = [i == which for i in range(3)]
    found: Tensor = torch.ops.aten.convolution_backward(grad, x, weight, [0], *_geometry(pads), mask)[which]
    return found


def _on_products(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)


def _pads(layer: Any, pad: int) -> list[int]:
    return [pad if layer.padding[0] else 0, *layer.padding[1:]]


def _geometry(pads: list[int]) -> tuple[list[int], list[int], list[int], bool, list[int], int]:
    ones = [1] * len(pads)
    return ones, pads, ones, False, [0] * len(pads), 1


def _around(x: Tensor, rows: Rows) -> list[int]:
    """What `F.pad` calls these rows around the first axis of space."""
    return [0] * 2 * max(0, x.ndim - 3) + list(rows) if x.ndim > 2 else []


def padded(x: Tensor, rows: Rows) -> Tensor:
    """With as many rows of zeros before and after."""
    return F.pad(x, _around(x, rows)) if any(rows) else x


def trimmed(x: Tensor, rows: Rows) -> Tensor:
    """Without as many rows before and after."""
    return x[:, :, rows[0] : x.shape[2] - rows[1]] if any(rows) else x


def cleared(x: Tensor, rows: Rows) -> Tensor:
    """Itself, with as many of its first and last rows set to zero."""
    if rows[0]:
        x[:, :, : rows[0]] = 0
    if rows[1]:
        x[:, :, x.shape[2] - rows[1] :] = 0
    return x
