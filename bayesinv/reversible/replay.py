"""Networks that are evaluated twice, once on the way and once in the backward pass, and behave as if it were once.

The second time a network draws the random numbers of the first time (dropout), and leaves its buffers alone (running
statistics). A network that runs several times in one pass draws the same numbers each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from bayesinv.reversible.gradients import Condition, ConditionGradient, Gradients, finest, pulled_back
from bayesinv.reversible.stand_ins import replaced
from bayesinv.reversible.stream import precise
from bayesinv.reversible.tape import Tape, current

__all__ = ["Pull", "evaluate", "graph", "narrowed_inputs", "untouched"]

Pull = Callable[[Tensor], tuple[Tensor | float, ConditionGradient, Gradients]]


def evaluate(network: nn.Module, *inputs: Tensor) -> Tensor:
    """``network(*inputs)``, for all networks in a reversible layer.

    Example:
        >>> evaluate(torch.nn.Identity(), torch.ones(2)).tolist()
        [1.0, 1.0]
    """
    tape = current()
    if tape is None:
        out: Tensor = network(*inputs)
        return out
    inputs = narrowed_inputs(*inputs)
    if not tape.replaying:
        return _first(tape, network, inputs)
    with untouched(network), _drawing(tape.draws.get(network), inputs[0].device):
        out = network(*inputs)
    return out


def graph(network: nn.Module, a: Tensor, cond: Condition) -> tuple[Tensor, Pull]:
    """In a backward pass: ``network(a, cond)``, and a function from its gradient to those of all that it is made of.

    With no condition it is ``network(a)``. The gradients are those of ``a``, of the condition (of its structure), and
    of the parameters. The graph is freed when the function has been called.

    Example:
        >>> out, pull = graph(torch.nn.Linear(1, 1, bias=False), torch.ones(1, 1), None)
        >>> _, _, grads = pull(torch.full((1, 1), 5.0))
        >>> [g.tolist() for g in grads.values()]
        [[[5.0]]]
    """
    own = finest(cond)
    parameters = [p for p in network.parameters() if p.requires_grad]
    with torch.enable_grad():
        leaf = a.detach().requires_grad_()
        side = [] if own is None else [own.detach().requires_grad_(own.requires_grad)]
        out = evaluate(network, leaf, *side)
    wanted = [leaf, *parameters, *[c for c in side if c.requires_grad]]

    def pull(grad: Tensor) -> tuple[Tensor | float, ConditionGradient, Gradients]:
        found: tuple[Tensor | None, ...] = (None,) * len(wanted)
        if out.requires_grad:
            found = pulled_back([out], wanted, [grad.to(out.dtype)])
        grads = {p: g for p, g in zip(parameters, found[1:], strict=False) if g is not None}
        of_side = found[-1] if len(wanted) > 1 + len(parameters) else None
        grad_cond = (of_side, *[None] * (len(cond) - 1)) if isinstance(cond, tuple) else of_side
        return 0.0 if found[0] is None else found[0], grad_cond, grads

    return out.detach(), pull


def narrowed_inputs(*inputs: Tensor) -> tuple[Tensor, ...]:
    """The inputs in the dtype of the networks, where the stream between the layers is a wider one.

    Example:
        >>> narrowed_inputs(torch.ones(1))
        (tensor([1.]),)
    """
    tape = current()
    if tape is None or tape.narrow is None:
        return inputs
    return tuple(_cast(t, tape.narrow) for t in inputs)


@contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """The buffers of the module are what they were when this ends; within it works on copies."""
    copies: dict[Tensor, Tensor] = {buffer: buffer.clone() for buffer in module.buffers()}
    with replaced(module.modules(), copies) if copies else nullcontext():
        yield


def _cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    """The same numbers, bit by bit, from an input that was rebuilt to the precision of the wider dtype.

    In one memory layout, as convolutions round differently in another one; and moved off the midpoints between two
    narrow numbers, on which sums and halves of narrow numbers fall, as these would be rounded up or down by chance.
    """
    if not x.is_floating_point():
        return x.to(precise(x, dtype))
    layout = torch.channels_last if x.ndim == 4 else torch.contiguous_format
    nudge = 1 + (torch.finfo(x.dtype).eps * torch.finfo(dtype).eps) ** 0.5
    return torch.empty(x.shape, dtype=dtype, device=x.device, memory_format=layout).copy_(x * nudge)


def _first(tape: Tape, network: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    """Runs the network, and notes the random states before if they have changed by then."""
    device = inputs[0].device
    with _drawing(tape.draws.get(network), device):
        before = [g.get_state() for g in _generators(device)]
        out: Tensor = network(*inputs)
        if network not in tape.draws and any(
            not torch.equal(g.get_state(), state) for g, state in zip(_generators(device), before, strict=True)
        ):
            tape.draws[network] = before
    return out


@contextmanager
def _drawing(states: list[Tensor] | None, device: torch.device) -> Iterator[None]:
    """From these random states, if any; the generators go on afterwards as if nothing had been drawn."""
    if states is None:
        yield
        return
    generators = _generators(device)
    before = [g.get_state() for g in generators]
    for generator, state in zip(generators, states, strict=True):
        generator.set_state(state)
    try:
        yield
    finally:
        for generator, state in zip(generators, before, strict=True):
            generator.set_state(state)


def _generators(device: torch.device) -> list[Any]:
    if device.type != "cuda":
        return [torch.default_generator]
    index = torch.cuda.current_device() if device.index is None else device.index
    return [torch.default_generator, torch.cuda.default_generators[index]]
