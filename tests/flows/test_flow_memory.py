"""What a whole flow with its head keeps between forward and backward does not grow with the steps a level."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bayesinv.flows import glow
from bayesinv.reversible import Condition

DEPTHS = (8, 16, 32)


def kept(depth: int, *, plain: bool = False) -> int:
    """Bytes that autograd nodes save, without parameters and conditions, which are older."""
    flow = glow((1, 16, 16), condition=(2, 3, 3), levels=2, steps=depth, hidden=8)
    x, cond = torch.randn(4, 1, 16, 16), tuple(torch.randn(4, c, n, n) for c, n in ((2, 16), (3, 8), (3, 4)))
    flow.log_prob(x, cond)  # ActNorm's first batch
    old = {t.untyped_storage()._cdata for t in (*flow.parameters(), *cond)}
    sizes: dict[int, int] = {}
    alive: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in old:
            sizes[storage._cdata] = storage.nbytes()
            alive.append(tensor)
        return tensor

    condition: Condition = tuple(c.requires_grad_() for c in cond)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        if plain:
            z, logdet = flow.map._forward(x, condition)
            loss = (z.square().flatten(1).sum(1) / 2 - logdet).mean()
        else:
            loss = -flow.log_prob(x, condition).mean()
    loss.backward()
    return sum(sizes.values())


def test_saved_activations_do_not_grow_with_depth() -> None:
    sizes = [kept(depth) for depth in DEPTHS]
    assert sizes[0] >= 4 * 16 * 16 * 4  # the latent at least
    assert max(sizes) < 1.01 * min(sizes)


@pytest.mark.parametrize("depth", DEPTHS[:1])
def test_the_measure_sees_what_plain_autograd_keeps(depth: int) -> None:
    assert kept(2 * depth, plain=True) > 1.8 * kept(depth, plain=True) > 50 * kept(depth)
