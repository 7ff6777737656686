"""The input is forgotten, what is kept between forward and backward does not grow with depth, and drift stays small."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import reversible_laws as laws
import torch
from reversible_maps import MAPS
from reversible_parts import coupling, step
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bayesinv.flows import glow
from bayesinv.reversible import ActNorm, Chain, Householder, Reversible, memory

DEPTHS = (8, 16, 32)
Run = Callable[[Reversible, Tensor, Tensor], Any]


class LiveBytes(TorchDispatchMode):
    """Bytes of all tensor storages made under it that still live, whoever holds them; views of ``old`` are not new."""

    def __init__(self, *old: Tensor) -> None:
        super().__init__()
        self.old = {tensor.untyped_storage()._cdata for tensor in old}
        self.alive: dict[int, tuple[weakref.ref[Any], int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                self.alive[storage._cdata] = (weakref.ref(storage), storage.nbytes())
        return out

    def count(self) -> int:
        return sum(s for key, (ref, s) in self.alive.items() if ref() is not None and key not in self.old)


def flow(depth: int) -> Chain:
    return Chain(*[step(4, 2, cond=2, hidden=8) for _ in range(depth)])


def data() -> tuple[Tensor, Tensor]:
    return torch.randn(4, 4, 8, 8), torch.randn(4, 2, 8, 8)


def frugal(layer: Reversible, x: Tensor, cond: Tensor) -> Any:
    return layer(x, cond)


def frugal_inverse(layer: Reversible, x: Tensor, cond: Tensor) -> Any:
    return layer.inverse(x, cond)


def stored(layer: Reversible, x: Tensor, cond: Tensor) -> Any:
    return layer._forward(x, cond)


def live(run: Run, depth: int) -> int:
    """Bytes that live between forward and backward beyond what lived before: parameters and data are older."""
    layer, (x, cond) = flow(depth), data()
    layer(x, cond)  # ActNorm's first batch
    with LiveBytes(x, cond, *layer.parameters()) as mode:
        kept = run(layer, x, cond)
        size = mode.count()
    del kept
    return size


def saved(run: Run, depth: int) -> int:
    """Bytes of the tensors that autograd nodes save, without the parameters."""
    layer, (x, cond) = flow(depth), data()
    layer(x, cond)
    parameters = {p.untyped_storage()._cdata for p in layer.parameters()}
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in parameters:
            sizes[storage._cdata] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        kept = run(layer, x, cond)
    del kept
    return sum(sizes.values())


@pytest.mark.parametrize("measure", [live, saved])
@pytest.mark.parametrize("run", [frugal, frugal_inverse])
def test_activations_do_not_grow_with_depth(measure: Callable[[Run, int], int], run: Run) -> None:
    sizes = [measure(run, depth) for depth in DEPTHS]
    assert sizes[0] >= 4 * 4 * 8 * 8 * 4  # at least the output
    assert max(sizes) < 1.01 * min(sizes)


@pytest.mark.parametrize("measure", [live, saved])
def test_the_measure_sees_stored_activations(measure: Callable[[Run, int], int]) -> None:
    """Plain autograd of the same maps doubles with the depth."""
    sizes = [measure(stored, depth) for depth in DEPTHS]
    assert sizes[1] > 1.9 * sizes[0]
    assert sizes[2] > 1.9 * sizes[1]
    assert sizes[0] > 10 * measure(frugal, DEPTHS[0])


def test_nothing_is_left_after_backward() -> None:
    layer, (x, cond) = flow(4), data()
    layer(x, cond)
    with LiveBytes(x, cond, *layer.parameters()) as mode:
        y, logdet = layer(x, cond)
        ((y**2).sum() - logdet.sum()).backward()
        del y, logdet
        gradients = sum(p.grad.untyped_storage().nbytes() for p in layer.parameters() if p.grad is not None)
        assert mode.count() <= gradients


@pytest.mark.parametrize("kept", [False, True])
def test_an_energy_takes_two_tensors_less_than_the_output(kept: bool) -> None:
    """The output and its gradient are overwritten, but not where the graph may be walked again."""
    map, x = glow((1, 64, 64), levels=2, steps=2, hidden=8).map, torch.randn(2, 1, 64, 64)
    map.workspace = x.nbytes // 4

    def through_the_output() -> Tensor:
        y, logdet = map(x)
        return (y.square().flatten(1).sum(1) / 2 - logdet).mean()

    def energy() -> Tensor:
        found, logdet = map.energy(x)
        return (found - logdet).mean()

    def peak(loss: Callable[[], Tensor]) -> int:
        map.zero_grad(set_to_none=True)
        with memory._Counting() as count:
            loss().backward(retain_graph=kept)
        return count.peak

    peak(energy)  # ActNorm's first batch
    saved = (peak(through_the_output) - peak(energy)) / x.nbytes
    assert saved == pytest.approx(0 if kept else 2, abs=0.1)


@pytest.mark.parametrize("name", sorted(MAPS.keys() - {"chain-empty"}))  # which hands on the input itself
def test_the_input_is_forgotten(name: str) -> None:
    case = MAPS[name]
    laws.input_is_forgotten(case.layer(), case.input(), case.condition())


def test_the_input_is_remembered_by_plain_autograd() -> None:
    """The control of the test above."""
    case = MAPS["chain-2d-cond"]
    made = case.input().requires_grad_() * 2
    storage_gone = weakref.ref(made.untyped_storage())
    kept = case.layer()._forward(made, case.condition())
    del made
    assert storage_gone() is not None
    del kept


@pytest.mark.parametrize("rank", [0, 2])
def test_drift_at_200_layers(rank: int) -> None:
    """Float32 at initialisation: about 200 rotations of a few eps = 1.2e-7 each, adding up as a random walk."""
    layers = [one for _ in range(67) for one in (ActNorm(4), Householder(4), coupling(4, rank, hidden=8))][:200]
    chain = Chain(*layers)
    x = torch.randn(16, 4, *[8] * rank)
    with torch.no_grad():
        y, logdet = chain(x)
        again, other = chain.inverse(y)
        rebuilt, *_ = chain._backward(y, None, torch.zeros_like(y), torch.zeros(16))
    assert len(chain) == 200
    for found in (again, rebuilt):
        assert float((found - x).norm() / x.norm()) <= 1e-5
    assert float((logdet + other).abs().max()) <= 1e-5 * max(1.0, float(logdet.abs().max()))


FAULTS = """
import resource, sys, torch
from bayesinv.reversible import ActNorm, Chain, Conditioner, Coupling, base
if sys.argv[1] == "without":
    base.steady_heap = lambda: None
torch.set_num_threads(1)
step = lambda: [ActNorm(4), Coupling(Conditioner(2, 4, hidden=64, rank=2), passive=2)]
flow = Chain(*step(), *step())
x = torch.randn(2, 4, 192, 192)
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    y, logdet = flow(x)
    (y.square().sum() - logdet.sum()).backward()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="about glibc")
def test_the_memory_of_tiles_is_not_mapped_anew() -> None:
    """A step maps at most one hidden layer anew; without, five or more, unless the addresses are lucky.

    These are drawn anew for each process: one in six has few page faults without.
    """
    layer = 2304  # pages
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_", "LD_"))}

    def faults(how: str) -> int:
        command = [sys.executable, "-c", FAULTS, how]
        return int(subprocess.run(command, env=plain, capture_output=True, text=True, check=True).stdout)

    most = max(faults("with") for _ in range(3))
    assert most < 1.5 * layer
    assert any(faults("without") > 4 * layer for _ in range(10))
