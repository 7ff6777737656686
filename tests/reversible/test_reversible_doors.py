"""What a user can get wrong is refused at the door, in words; what would be wrong in silence is refused too."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import reversible_laws as laws
import torch
from reversible_maps import MAPS
from reversible_parts import Case, coupling
from torch import Tensor, nn

from bayesinv.reversible import (
    ActNorm,
    Chain,
    Conditioner,
    Coupling,
    Householder,
    OnPart,
    ShiftScale,
    convolution,
)

MISTAKES: dict[str, tuple[Callable[[], object], str]] = {
    "no channel axis": (lambda: ActNorm(3)(torch.randn(3)), r"\(batch, channels, \*space\), got torch.float32 of"),
    "integers": (lambda: ActNorm(3)(torch.ones(2, 3, dtype=torch.int64)), "expected a floating-point tensor"),
    "complex": (lambda: ActNorm(3)(torch.ones(2, 3, dtype=torch.complex64)), "expected a floating-point tensor"),
    "another batch": (lambda: Chain()(torch.randn(2, 3), torch.randn(4, 1)), "expected a condition with batch size 2"),
    "a list": (lambda: Chain()(torch.randn(2, 3), [torch.randn(2, 1)]), "a tuple of tensors from fine to coarse"),
    "no level": (lambda: Chain()(torch.randn(2, 3), ()), "a tuple of tensors from fine to coarse"),
    "not a map": (lambda: Chain(ActNorm(2), nn.ReLU()), "expected Reversible maps, got ReLU"),
    "an empty part": (lambda: OnPart(ActNorm(1), start=2, stop=2), "expected 0 <= start < stop"),
    "a part too far": (lambda: OnPart(ActNorm(2), start=2, stop=4)(torch.randn(2, 3)), "expected at least 4 channels"),
    "nothing passive": (lambda: Coupling(nn.Identity(), passive=0), "at least one passive channel"),
    "no bound": (lambda: Coupling(nn.Identity(), passive=1, bound=0.0), "a positive bound"),
    "all passive": (lambda: Coupling(nn.Identity(), passive=3)(torch.randn(2, 3)), "expected more than 3 channels"),
    "network too narrow": (lambda: Coupling(nn.Identity(), passive=1)(torch.randn(2, 2)), r"channels 2\*1"),
    "no condition": (lambda: coupling(4, 1, cond=2)(torch.randn(2, 4, 5)), "expected a condition, got the contrary"),
    "a condition": (lambda: coupling(4, 1)(torch.randn(2, 4, 5), torch.randn(2, 1, 5)), "expected no condition"),
    "no head": (lambda: ShiftScale()(torch.randn(2, 1, 4)), r"channels 2\*1 and space \(4,\), got None"),
    "head too small": (lambda: ShiftScale()(torch.randn(2, 1, 4), torch.randn(2, 2, 3)), r"got \(2, 2, 3\)"),
    "no bound of the head": (lambda: ShiftScale(bound=-1.0), "expected a positive bound, got -1.0"),
    "even kernel": (lambda: convolution(1, 1, kernel=4, rank=1), "expected an odd kernel"),
    "rank": (lambda: convolution(1, 1, kernel=3, rank=4), "expected a spatial rank of 0 to 3, got 4"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake(name: str) -> None:
    use, words = MISTAKES[name]
    with pytest.raises(ValueError, match=words):
        use()


def test_changing_the_output_in_place_is_seen() -> None:
    """The backward pass starts from the output: were it changed in silence, the gradient would be wrong."""
    layer, x = MAPS["chain-1d"].layer(), MAPS["chain-1d"].input()
    y, logdet = layer(x)
    y += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        (y.sum() + logdet.sum()).backward()


def test_changing_the_input_or_the_logdet_in_place_is_harmless(case: Case) -> None:
    """The input is not needed any more, and the logdet of no map is a view."""
    layer, x, cond = case.layer(), case.input(), case.condition()
    expected = laws.gradients(layer, x, cond, direction="forward", plain=True)
    x, cond, named = laws.leaves(layer, x, cond)
    made = x * 1
    y, logdet = layer(made, cond)
    if not (isinstance(layer, Chain) and len(layer) == 0):  # which hands on the input itself
        made.detach().zero_()
    logdet += 1
    draws = torch.Generator().manual_seed(5)
    out = [torch.randn(t.shape, generator=draws, dtype=t.dtype) for t in (y, logdet)]
    found = torch.autograd.grad([y, logdet], list(named.values()), out, allow_unused=True)
    given = {n: torch.zeros_like(t) if g is None else g for (n, t), g in zip(named.items(), found, strict=True)}
    laws.assert_same_gradients(given, expected)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_step_before_backward_is_seen(frozen: bool) -> None:
    """The input can be rebuilt with the parameters of the forward pass only; plain autograd refuses this, too."""
    layer, x = MAPS["chain-1d"].layer(), MAPS["chain-1d"].input().requires_grad_()
    for parameter in layer.parameters():
        parameter.requires_grad_(not frozen)
    y, logdet = layer(x)
    with torch.no_grad():
        next(layer.parameters()).add_(0.1)
    with pytest.raises(RuntimeError, match="expected the parameters of the forward pass"):
        (y.sum() + logdet.sum()).backward()


def test_foreign_parameters_at_backward_are_seen() -> None:
    layer, x = MAPS["chain-1d"].layer(), MAPS["chain-1d"].input()
    other = {name: (p + 0.1).detach().requires_grad_() for name, p in layer.named_parameters()}
    y, logdet = torch.func.functional_call(layer, other, (x,))
    with pytest.raises(RuntimeError, match="expected the parameters of the forward pass"):
        (y.sum() + logdet.sum()).backward()


def test_second_derivatives_are_refused() -> None:
    layer, x = MAPS["chain-1d"].layer(), MAPS["chain-1d"].input().requires_grad_()
    y, _ = layer(x)
    (grad,) = torch.autograd.grad((y**2).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"with bayesinv.reversible.plain\(\)"):
        grad.sum().backward()


def test_without_grad_there_is_no_graph(case: Case) -> None:
    layer, x, cond = case.layer(), case.input(), case.condition()
    with torch.no_grad():
        y, logdet = layer(x, cond)
    assert not y.requires_grad
    assert not logdet.requires_grad
    with torch.inference_mode():
        again, _ = layer(x, cond)
    assert torch.equal(again, y)


def test_autocast_holds_in_the_backward_pass() -> None:
    """A network in bfloat16 is so again in the backward pass, which runs outside of the context."""
    layer, x = coupling(4, 2), torch.randn(2, 4, 3, 3)
    seen: list[tuple[bool, Tensor]] = []
    layer.network.register_forward_hook(lambda net, given, out: seen.append((torch.is_grad_enabled(), out.detach())))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, logdet = layer(x)
    assert y.dtype == torch.float32
    ((y**2).sum() - logdet.sum()).backward()
    (_, there), (graph, back) = seen
    assert graph
    assert there.dtype == back.dtype == torch.bfloat16
    assert torch.equal(there, back)


def test_autocast_leaves_rotations_alone() -> None:
    layer, x = Householder(8), torch.randn(4, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        again, _ = layer.inverse(layer(x)[0])
    assert laws.relative(again, x) < 1e-5


def test_user_network_may_be_anything() -> None:
    """A recurrent network around the last axis, say: only shapes count."""

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.GRU(1, 4, batch_first=True)

        def forward(self, a: Tensor) -> Tensor:
            out: Tensor = self.cell(a.movedim(1, -1))[0]
            return out.movedim(-1, 1)

    layer = Coupling(Recurrent(), passive=1).double()
    x = torch.randn(2, 3, 5, dtype=torch.float64)
    laws.inverse_undoes(layer, x, None)
    laws.logdet_is_the_jacobians(layer, x, None)
    laws.gradients_are_autograds(layer, x, None)


def test_log_scale_is_bounded() -> None:
    layer = Coupling(nn.Linear(1, 2), passive=1, bound=1.5)
    with torch.no_grad():
        layer.network.bias.fill_(1e3)
    assert float(layer(torch.zeros(1, 2))[1].detach()) == pytest.approx(1.5)


def test_couplings_start_as_the_identity() -> None:
    for rank in range(4):
        layer = Coupling(Conditioner(2, 4, hidden=4, rank=rank), passive=2)
        x = torch.randn(2, 4, *[4] * rank)
        y, logdet = layer(x)
        assert torch.equal(y, x)
        assert not logdet.any()


def test_an_empty_batch_passes() -> None:
    layer = Chain(Householder(4), coupling(4, 2)).eval()
    y, logdet = layer(torch.randn(0, 4, 4, 4))
    assert y.shape == (0, 4, 4, 4)
    assert logdet.shape == (0,)
