r"""The laws of a reversible map, each written once; each raises `AssertionError` where it is broken.

"Plain autograd" is the layer's own `_forward` or `_inverse` run under grad, with everything stored.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import torch
from torch import Tensor

from bayesinv.reversible import Condition, Reversible

DIRECTIONS = ("forward", "inverse")
PARTS = ("both", "y", "logdet")

# The design's bounds. An inverse loses some eps (2.2e-16, 1.2e-7) times the condition number of the map: 2e-5 was the
# worst of the registry in float32, 1e-12 in float64.
INVERSE = {torch.float64: 1e-10, torch.float32: 1e-4}
# Exact formulas in float64; the slogdet of at most 64x64 loses 64 eps times a condition number of up to 1e4.
LOGDET = 1e-8
# Two orders of the same sums in float64, behind a rebuilt input that is good to 1e-10.
GRADIENT = 1e-8
# Of a gradient that is zero in exact arithmetic only rounding is left, far below any other gradient here (order 1).
ZERO = 1e-10


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).detach().norm() / expected.detach().norm())


def leaves(layer: Reversible, x: Tensor, cond: Condition) -> tuple[Tensor, Condition, dict[str, Tensor]]:
    """Fresh leaves for input and condition, and all that has a gradient, by name."""
    x = x.detach().clone().requires_grad_()
    named = {"input": x}
    if isinstance(cond, tuple):
        cond = tuple(c.detach().clone().requires_grad_() for c in cond)
        named |= {f"cond[{i}]": c for i, c in enumerate(cond)}
    elif cond is not None:
        cond = cond.detach().clone().requires_grad_()
        named["cond"] = cond
    return x, cond, named | {name: p for name, p in layer.named_parameters() if p.requires_grad}


def gradients(
    layer: Reversible, x: Tensor, cond: Condition, *, direction: str, part: str = "both", plain: bool
) -> dict[str, Tensor]:
    """Gradients of a random linear function of the output, of the logdet, or of both."""
    x, cond, named = leaves(layer, x, cond)
    function = getattr(layer, f"_{direction}" if plain else direction)
    y, logdet = function(x, cond)
    draws = torch.Generator().manual_seed(5)
    for_y = torch.randn(y.shape, generator=draws, dtype=torch.float64).to(y)
    for_logdet = torch.randn(logdet.shape, generator=draws, dtype=torch.float64).to(y)
    loss = {
        "both": (y * for_y).sum() + (logdet * for_logdet).sum(),
        "y": (y * for_y).sum(),
        "logdet": (logdet * for_logdet).sum() + 0 * x.sum(),  # of a constant logdet too
    }[part]
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {n: torch.zeros_like(t) if g is None else g for (n, t), g in zip(named.items(), found, strict=True)}


def assert_same_gradients(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name, want in expected.items():
        error = float((found[name] - want).norm())
        assert error <= GRADIENT * float(want.norm()) + ZERO, f"gradient of {name}: off by {error:.1e}"


def inverse_undoes(layer: Reversible, x: Tensor, cond: Condition) -> None:
    """``f^{-1}(f(x)) = x = f(f^{-1}(x))``, and the two logdets cancel."""
    tolerance = INVERSE[x.dtype]
    for there, back in ((layer.forward, layer.inverse), (layer.inverse, layer.forward)):
        y, logdet = there(x, cond)
        again, other = back(y, cond)
        assert y.shape == x.shape
        assert logdet.shape == (x.shape[0],)
        assert y.dtype == logdet.dtype == x.dtype
        assert relative(again, x) <= tolerance
        assert float((logdet + other).detach().abs().max()) <= tolerance * max(1.0, float(logdet.detach().abs().max()))


def logdet_is_the_jacobians(layer: Reversible, x: Tensor, cond: Condition) -> None:
    """Per sample, both ways: ``logdet = log |det dy/dx|`` of the Jacobian assembled row by row."""
    for direction in DIRECTIONS:
        _, logdet = getattr(layer, direction)(x, cond)
        for i in range(x.shape[0]):
            own = cond[i : i + 1] if isinstance(cond, Tensor) else cond and tuple(c[i : i + 1] for c in cond)
            leaf = x[i : i + 1].detach().clone().requires_grad_()
            y, _ = getattr(layer, f"_{direction}")(leaf, own)
            basis = torch.eye(leaf.numel(), dtype=x.dtype).view(-1, *y.shape)
            (jacobian,) = torch.autograd.grad(y, leaf, basis, is_grads_batched=True)
            expected = torch.linalg.slogdet(jacobian.view(leaf.numel(), -1)).logabsdet
            assert abs(float(logdet[i].detach() - expected)) <= LOGDET * max(1.0, abs(float(expected)))


def gradients_are_autograds(
    layer: Reversible,
    x: Tensor,
    cond: Condition,
    *,
    directions: Sequence[str] = DIRECTIONS,
    parts: Sequence[str] = PARTS,
) -> None:
    """Gradients of input, condition and every parameter, through output and logdet, equal those of plain autograd."""
    for direction in directions:
        for part in parts:
            found = gradients(layer, x, cond, direction=direction, part=part, plain=False)
            expected = gradients(layer, x, cond, direction=direction, part=part, plain=True)
            assert_same_gradients(found, expected)


def energy_is_the_outputs(layer: Reversible, x: Tensor, cond: Condition) -> None:
    """``(|y|^2 / 2, logdet)`` and its gradients, again from a graph that was kept; input and condition stay."""
    x, cond, named = leaves(layer, x, cond)
    before = {name: leaf.detach().clone() for name, leaf in named.items()}
    y, expected = layer._forward(x, cond)
    found, logdet = layer.energy(x, cond)
    torch.testing.assert_close(found, y.square().flatten(1).sum(1) / 2, rtol=GRADIENT, atol=GRADIENT)
    torch.testing.assert_close(logdet, expected, rtol=GRADIENT, atol=GRADIENT)
    weights, others = torch.linspace(-1, 1.5, len(x)).to(x), torch.linspace(1, -2, len(x)).to(x)

    def gradients_of(energy: Tensor, logdet: Tensor, *, keep: bool = False) -> dict[str, Tensor]:
        loss = (weights * energy + others * logdet).sum()
        grads = torch.autograd.grad(loss, list(named.values()), allow_unused=True, retain_graph=keep)
        return {n: torch.zeros_like(t) if g is None else g for (n, t), g in zip(named.items(), grads, strict=True)}

    wanted = gradients_of(y.square().flatten(1).sum(1) / 2, expected)
    for keep in (True, True, False):
        assert_same_gradients(gradients_of(found, logdet, keep=keep), wanted)
    assert all(torch.equal(leaf, before[name]) for name, leaf in named.items())


def backward_rebuilds_the_input(layer: Reversible, x: Tensor, cond: Condition) -> None:
    """What `_backward` and `_inverse_backward` hand back first is the input: the next layer down lives on it."""
    with torch.no_grad():
        for there, pull in ((layer._forward, layer._backward), (layer._inverse, layer._inverse_backward)):
            y, logdet = there(x, cond)
            again, *_ = pull(y, cond, torch.randn_like(y), torch.randn_like(logdet))
            assert relative(again, x) <= INVERSE[x.dtype]


def input_is_forgotten(
    layer: Reversible, x: Tensor, cond: Condition, *, directions: Sequence[str] = DIRECTIONS
) -> None:
    """Neither the input nor what it was made of outlives the caller's own reference; no garbage collection needed."""
    for direction in directions:
        x = x.detach().requires_grad_()
        made = x * 1
        input_gone, storage_gone = weakref.ref(made), weakref.ref(made.untyped_storage())
        y, logdet = getattr(layer, direction)(made, cond)
        del made
        assert input_gone() is None
        assert storage_gone() is None
        (y.sum() + logdet.sum()).backward()
        assert x.grad is not None


def taylor_slopes(layer: Reversible, x: Tensor, cond: Condition, *, direction: str) -> tuple[float, float]:
    """Fitted orders in ``h`` of ``|L(h) - L(0)|`` and ``|L(h) - L(0) - h <dL, d>|`` along a random direction.

    It moves all at once: input, condition, parameters. ``L = sum |y - w|^2 / 2 - logdet`` with random ``w``, as the
    training loss (``w = 0``) does not see rotations. The direction leans to the gradient, lest ``<dL, d>`` be small by
    chance. The steps 1e-4 to 1e-6 leave the second remainder (some 10 ``h^2`` = 1e-11 at the smallest) above the
    rounding of ``L`` (1e-13), and are so small that no ReLU of the conditioners changes sides.
    """
    x, cond, named = leaves(layer, x, cond)
    tensors = list(named.values())
    draws = torch.Generator().manual_seed(6)
    target = torch.randn(x.shape, generator=draws, dtype=x.dtype)

    def loss() -> Tensor:
        y, logdet = getattr(layer, direction)(x, cond)
        return ((y - target) ** 2).sum() / 2 - logdet.sum()

    start = loss()
    found = torch.autograd.grad(start, tensors, allow_unused=True)
    size = sum(float((g**2).sum()) for g in found if g is not None) ** 0.5
    along = [torch.randn(t.shape, generator=draws, dtype=t.dtype) for t in tensors]
    along = [d if g is None else d + g / size for d, g in zip(along, found, strict=True)]
    slope = sum(float((g * d).sum()) for g, d in zip(found, along, strict=True) if g is not None)
    steps = torch.logspace(-4, -6, 5, dtype=torch.float64)
    first, second = [], []
    origin = [t.detach().clone() for t in tensors]
    with torch.no_grad():
        for h in steps.tolist():
            for t, o, d in zip(tensors, origin, along, strict=True):
                t.copy_(o + h * d)
            change = float(loss() - start.detach())
            first.append(abs(change))
            second.append(abs(change - h * slope))
        for t, o in zip(tensors, origin, strict=True):
            t.copy_(o)
    return _order(steps, first), _order(steps, second)


def _order(steps: Tensor, errors: list[float]) -> float:
    logs = torch.stack([steps.log(), torch.ones_like(steps)], 1)
    return float(torch.linalg.lstsq(logs, torch.tensor(errors, dtype=steps.dtype).log()[:, None]).solution[0])


def taylor(layer: Reversible, x: Tensor, cond: Condition, *, directions: Sequence[str] = DIRECTIONS) -> None:
    """First- and second-order slopes. 0.1 below the theoretical 1 and 2, as the fit sees the next order's tail."""
    for direction in directions:
        first, second = taylor_slopes(layer, x, cond, direction=direction)
        assert first >= 0.9, f"{direction}: first-order slope {first:.2f}"
        assert second >= 1.9, f"{direction}: second-order slope {second:.2f}"
