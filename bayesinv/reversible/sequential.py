r"""Plain networks by hand: `torch.nn.Sequential` of same-size convolutions (or linear layers) and ReLUs, on strips.

Their reach is the sum of ``kernel // 2``. Beyond the image's edge every layer sees zeros, so that the rows of a strip
that lie there are set to zero after each layer, and so are their gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from bayesinv.reversible.gradients import Gradients
from bayesinv.reversible.strips import (
    applied,
    cleared,
    compute_dtype,
    is_same_size,
    is_touched,
    masked,
    missing,
    padded,
    pulled,
    trimmed,
)
from bayesinv.reversible.tiles import Tile

__all__ = ["evaluated_in_order", "is_plain_network", "margins"]


def is_plain_network(network: nn.Module, rank: int) -> bool:
    """Whether it is a `Sequential` of such layers, which nobody has changed by hooks, parametrizations or compiling.

    On an image (``rank`` axes of space) a linear layer would mix pixels, and is none of them.
    """
    if type(network) is not nn.Sequential or not len(network) or is_touched(network):
        return False
    return all(_is_known(layer, rank) for layer in network)


def _is_known(layer: Any, rank: int) -> bool:
    if is_touched(layer):
        return False
    return type(layer) is nn.ReLU or is_same_size(layer, rank)


def _in_order(network: Any) -> list[Any]:
    """The layers, a shared one as often as it stands there, which ``children()`` would name once."""
    return list(network)


def margins(network: nn.Module) -> tuple[int, int]:
    """The reach along any axis, and how many numbers are alive for each pixel: all layers, and a part of a gradient."""
    layers: list[Any] = [layer for layer in _in_order(network) if not isinstance(layer, nn.ReLU)]
    if not layers:
        return 0, 1
    widths: list[int] = [layers[0].weight.shape[1], *[layer.weight.shape[0] for layer in layers]]
    return _reach(network), sum(widths) + max(widths) // 2 + widths[-1]


def _reach(network: nn.Module) -> int:
    return sum(max(layer.kernel_size) // 2 for layer in _in_order(network) if hasattr(layer, "kernel_size"))


def evaluated_in_order(
    network: nn.Module, a: Tensor, *, tile: Tile, wanted: bool = False
) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, None, Gradients]]]:
    """The output on the tile, from the input on the tile with its halo, and the function from its gradient to all."""
    edges = beyond = missing(_reach(network), tile)
    x = padded(a, edges).to(compute_dtype(a))
    steps: list[tuple[Any, Tensor, int, tuple[int, int]]] = []  # layer, its input (a ReLU's output), padding, beyond
    for layer in _in_order(network):
        if isinstance(layer, nn.ReLU):
            if steps and isinstance(steps[-1][0], nn.ReLU):
                continue  # the second one of two changes nothing
            x = x.relu_() if steps else x.relu()
            steps.append((layer, x, 0, beyond))
            continue
        margin = 0 if isinstance(layer, nn.Linear) else int(layer.kernel_size[0]) // 2
        pad = 0 if tile.is_strip else margin
        beyond = (max(0, beyond[0] - margin), max(0, beyond[1] - margin))
        steps.append((layer, x, pad, beyond))
        x = cleared(applied(layer, x, pad), beyond)

    def pull(grad: Tensor) -> tuple[Tensor, None, Gradients]:
        grads: Gradients = {}
        grad, given = grad.to(compute_dtype(a)), True
        while steps:
            layer, x, pad, beyond = steps.pop()
            if isinstance(layer, nn.ReLU):
                grad = masked(grad, x, into=None if given else grad)
            else:
                rectified = bool(steps) and isinstance(steps[-1][0], nn.ReLU)
                grad = pulled(layer, x, grad if given else cleared(grad, beyond), pad, grads, rectified=rectified)
                if rectified:
                    steps.pop()
            given = False
        return trimmed(grad, edges).to(a.dtype), None, grads

    return x, pull
