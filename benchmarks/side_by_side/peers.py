"""The same work in normflows, FrEIA and MemCNN, which the extra ``bench`` installs."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from types import ModuleType

import torch
from torch import Tensor, nn

from side_by_side.cases import Case
from side_by_side.plain_net import PlainStep, relu_network

__all__ = ["Missing", "freia", "memcnn_step", "normflows"]

Parts = tuple[nn.Module, Callable[[Tensor], Tensor], Callable[[int], Tensor]]


class Missing(Exception):
    """A line cannot be drawn, and why."""


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Missing(f"{name.split('.')[0]} is not installed: pip install 'bayesinv[bench]'") from error


def _images(case: Case, name: str) -> None:
    if len(case.space) != 2:
        raise Missing(f"{name} has no such net for {len(case.space)} axes of space")


def normflows(case: Case) -> Parts:
    """The model with which InvertibleNetworks.jl is compared in its paper: MultiscaleFlow of GlowBlocks.

    Source: Witte et al., InvertibleNetworks.jl, 2024, doi 10.21105/joss.06554.
    """
    peer = _package("normflows")
    _images(case, "normflows")
    bases, flows, merges = [], [], []
    for i in range(case.levels):  # from the coarsest level on
        depth = case.levels - i
        channels = case.channels * 2 ** (depth + 1)
        blocks = [
            peer.flows.GlowBlock(channels, case.hidden, split_mode="channel", scale=True) for _ in range(case.steps)
        ]
        flows.append([*blocks, peer.flows.Squeeze()])
        if i > 0:
            merges.append(peer.flows.Merge())
        latent = channels // 2 if i > 0 else channels
        bases.append(peer.distributions.DiagGaussian((latent, *[n // 2**depth for n in case.space]), trainable=False))
    model = peer.MultiscaleFlow(bases, flows, merges, class_cond=False)

    def sample(n: int) -> Tensor:
        with torch.no_grad():
            x: Tensor = model.sample(n)[0]
        return x

    return model, lambda x: model.forward_kld(x), sample


def freia(case: Case) -> Parts:
    """GraphINN of IRevNetDownsampling, AllInOneBlock (fixed random rotations) and Split."""
    framework, modules = _package("FrEIA.framework"), _package("FrEIA.modules")
    _images(case, "FrEIA")
    block = {
        "subnet_constructor": lambda c, out: relu_network(c, out, hidden=case.hidden, rank=2),
        "permute_soft": True,
    }
    nodes = [framework.InputNode(*case.shape)]
    here, ends = nodes[0], []
    for level in range(case.levels):
        for kind, arguments in [(modules.IRevNetDownsampling, {}), *[(modules.AllInOneBlock, block)] * case.steps]:
            here = framework.Node(here, kind, arguments)
            nodes.append(here)
        if level < case.levels - 1:
            split = framework.Node(here, modules.Split, {})
            ends.append(framework.OutputNode(split.out1))
            nodes.append(split)
            here = split.out0
    ends.append(framework.OutputNode(here))
    graph = framework.GraphINN([*nodes, *ends], verbose=False)

    def loss(x: Tensor) -> Tensor:
        z, logdet = graph(x)
        square = sum(part.flatten(1).square().sum(1) for part in z)
        return (0.5 * square - logdet).mean() + 0.5 * math.prod(case.shape) * math.log(2 * math.pi)

    shapes = [node.input_dims[0] for node in ends]

    def sample(n: int) -> Tensor:
        device = next(graph.parameters()).device
        z = [torch.randn(n, *shape, device=device) for shape in shapes]
        with torch.no_grad():
            x: Tensor = graph(z, rev=True, jac=False)[0]
        return x

    return graph, loss, sample


def memcnn_step(step: PlainStep) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """A plain step that MemCNN inverts in the backward pass; the log-determinant goes along as a second input."""
    wrapped: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = _package("memcnn").InvertibleModuleWrapper(
        fn=step, keep_input=False, keep_input_inverse=False
    )
    return wrapped
