"""Steps within the backward pass: the weights of ordinary training, no gradient left, nothing spoilt by a NaN."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from test_training_resume import Killed, die, rows, stop_at
from torch import Tensor, nn
from toy_problems import line_problem, same_state, square_problem, tiny

from bayesinv.flows import Flow, glow
from bayesinv.inference import History, Posterior, Problem, fit, training
from bayesinv.inference.objective import Objective
from bayesinv.inference.step_in_backward import StepInBackward
from bayesinv.reversible import ActNorm, Additive, Chain, Conditioner, Coupling, guard
from bayesinv.reversible.memory import _Counting

SMALL: dict[str, Any] = {
    "simulations": 64, "epochs": 3, "batch_size": 16, "validation": 4, "checkpoint_steps": 3, "seed": 3, "clip": 1e9,
    "show_progress": False, "device": "cpu",
}  # fmt: skip


@pytest.fixture(autouse=True)
def as_for_larger_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where autograd keeps little, its own backward pass is used, the same to rounding only."""
    monkeypatch.setattr(training, "choose_temperature", lambda *args, **kwargs: 1.0)
    monkeypatch.setattr(training, "_KEPT", 0)


def trained(
    problem: Problem, out: Path | None = None, *, summary: str = "cgls", **changes: Any
) -> tuple[Posterior, History]:
    posterior = tiny(problem, steps=2, summary=summary)
    return posterior, fit(posterior, problem, out=out, **SMALL | changes)


@pytest.mark.parametrize("summary", ["cgls", "unrolled"])
@pytest.mark.parametrize("make", [line_problem, square_problem])
def test_without_clipping_a_run_is_the_same_to_the_bit(make: Any, summary: str) -> None:
    """Adam, warm-up and cosine, head and joint phase, averaged weights, on lines and on images (channels last).

    An i-RIM in the summary network uses its weights in every iteration.
    """
    (one, first), (other, second) = (
        trained(make(8), summary=summary, step_in_backward=within) for within in (False, True)
    )
    assert same_state(one, other)
    assert rows(first) == rows(second)
    assert not same_state(one, trained(make(8), summary=summary, step_in_backward=True, clip=0.5)[0])
    assert other.record["training"]["settings"]["step_in_backward"] is True
    assert "step_in_backward" not in one.record["training"]["settings"]


def net(seed: int = 0) -> Flow:
    torch.manual_seed(seed)
    flow = glow((1, 8, 8), condition=2, levels=1, steps=3, hidden=8).double()
    flow.log_prob(torch.randn(16, 1, 8, 8).double(), torch.randn(16, 2, 8, 8).double())
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return flow


class Conditional(nn.Module):
    """A flow with a summary network, which autograd differentiates as ever."""

    def __init__(self) -> None:
        super().__init__()
        self.flow, self.network = net(), nn.Conv2d(1, 2, 3, padding=1).double()

    def forward(self, x: Tensor) -> Tensor:
        return -self.flow.log_prob(x, self.network(x.flip(-1))).mean()


@pytest.mark.parametrize("clip", [0.3, math.inf])
@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_each_tensor_is_clipped_alone(kind: str, clip: float) -> None:
    ordinary = Conditional()
    within = copy.deepcopy(ordinary)

    def optimizer(module: nn.Module) -> torch.optim.Optimizer:
        if kind == "sgd":
            return torch.optim.SGD(module.parameters(), 1e-3, momentum=0.9)
        return torch.optim.Adam(module.parameters(), 1e-3, fused=True)

    apart, together = optimizer(ordinary), optimizer(within)
    stepping = StepInBackward(within, within.flow.map, together, clip=clip)
    clipped = 0
    for seed in range(4):
        x = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(seed)).double()
        apart.zero_grad()
        ordinary(x).backward()
        for parameter in ordinary.parameters():
            clipped += int(nn.utils.clip_grad_norm_([parameter], clip) > clip)
        apart.step()
        with stepping.within():
            within(x).backward()
        assert stepping.sound
        assert all(parameter.grad is None for parameter in within.parameters())
    assert (clipped > 0) == (clip < 1)
    for one, other in zip(ordinary.parameters(), within.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_a_gradient_of_another_layout_steps_the_right_numbers() -> None:
    """Fused Adam goes through weight, gradient and moments as they lie in memory."""
    found: list[Tensor] = []
    for layout in (torch.channels_last, torch.contiguous_format):
        flow = net()
        weight = next(p for p in flow.parameters() if p.ndim == 4 and p.shape[1] > 1 and p.shape[2] > 1)
        assert not weight.is_contiguous()
        before = weight.detach().clone()
        gradient = torch.zeros_like(weight, memory_format=layout)
        gradient[0, 1, 2, 0] = 1
        stepping = StepInBackward(flow, flow.map, torch.optim.Adam(flow.parameters(), 1.0, fused=True))
        with stepping.within():
            stepping._update(weight, gradient)
        found.append(weight.detach() - before)
    assert torch.equal(found[0], found[1])
    assert found[0].nonzero().tolist() == [[0, 1, 2, 0]]


@pytest.mark.parametrize("step", [2, 4, 7])
def test_a_killed_run_goes_on_as_if_undisturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """With Adam's moments in the layout of their weights; clipped, so that it is a run of its own."""
    problem = square_problem(8)
    expected, undisturbed = trained(problem, step_in_backward=True, clip=0.5)
    with monkeypatch.context() as patch:
        stop_at(patch, step, die)
        with pytest.raises(Killed):
            trained(problem, tmp_path, step_in_backward=True, clip=0.5)
    found, history = trained(problem, tmp_path, step_in_backward=True, clip=0.5)
    assert same_state(found, expected)
    assert rows(history) == rows(undisturbed)


@pytest.mark.parametrize("within", [True, False])
def test_a_run_of_the_other_kind_is_refused_by_name(tmp_path: Path, within: bool) -> None:
    problem = line_problem(8)
    trained(problem, tmp_path, step_in_backward=within)
    with pytest.raises(ValueError, match=r"another step_in_backward .*restart"):
        trained(problem, tmp_path, step_in_backward=not within)


class Spoilt(torch.autograd.Function):
    """The identity, with a gradient of NaN."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * math.nan


class Spoiling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = Conditioner(1, 1, hidden=4, rank=1)
        self.on = True

    def forward(self, a: Tensor) -> Tensor:
        out: Tensor = self.network(a)
        return Spoilt.apply(out) if self.on else out  # type: ignore[no-any-return, no-untyped-call]


def test_a_gradient_that_is_not_finite_ends_the_step_and_spoils_nothing() -> None:
    """What comes before it on the way back has stepped, what comes after it has not; the next step is as ever."""
    maps = [Coupling(Conditioner(1, 1, hidden=4, rank=1), passive=1, how=Additive()) for _ in range(3)]
    maps[1] = Coupling(Spoiling(), passive=1, how=Additive())
    flow = Flow(Chain(*maps), (2, 8))
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    optimizer = torch.optim.Adam(flow.parameters(), 1e-2)
    stepping = StepInBackward(flow, flow.map, optimizer)
    x = torch.randn(4, 2, 8)

    def changed() -> list[bool]:
        before = [[p.detach().clone() for p in one.parameters()] for one in maps]
        with stepping.within():
            (-flow.log_prob(x).mean()).backward()
        return [
            any(not torch.equal(p, old) for p, old in zip(one.parameters(), kept, strict=True))
            for one, kept in zip(maps, before, strict=True)
        ]

    assert changed() == [False, False, True]
    assert not stepping.sound
    assert all(bool(torch.isfinite(p).all()) for p in flow.parameters())
    assert all(bool(torch.isfinite(m).all()) for state in optimizer.state.values() for m in state.values())
    maps[1].network.on = False
    assert changed() == [True, True, True]
    assert stepping.sound


def test_gradients_of_nan_in_fit_end_training_with_advice(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    forward = Objective.forward

    def spoilt(self: Any, u: Tensor, c: Tensor, head: bool) -> tuple[Tensor, Tensor]:
        nll, mse = forward(self, u, c, head)
        return Spoilt.apply(nll), mse  # type: ignore[no-untyped-call]

    monkeypatch.setattr(Objective, "forward", spoilt)
    problem = line_problem(8)
    posterior = tiny(problem)
    with pytest.raises(FloatingPointError, match="lower learning_rate"):
        fit(posterior, problem, **SMALL | {"step_in_backward": True, "epochs": 20, "head_fraction": 0.0})
    assert "ended early: its loss or gradient is not finite" in caplog.text
    assert all(bool(torch.isfinite(t).all()) for t in posterior.state_dict().values() if t.is_floating_point())


def test_gradients_do_not_lie_in_memory_together() -> None:
    """The peak of a step falls by nearly all of the gradients."""

    def peak(*, within: bool) -> int:
        torch.manual_seed(0)
        maps: list[Any] = []
        for _ in range(12):
            maps += [ActNorm(4), Coupling(Conditioner(2, 4, hidden=64, rank=1), passive=2)]
        flow, x = Flow(Chain(*maps), (4, 8)), torch.randn(2, 4, 8)
        optimizer = torch.optim.SGD(flow.parameters(), 1e-3)
        stepping = StepInBackward(flow, flow.map, optimizer)

        def step() -> None:
            if within:
                with stepping.within():
                    (-flow.log_prob(x).mean()).backward()
                return
            optimizer.zero_grad()
            (-flow.log_prob(x).mean()).backward()
            optimizer.step()

        step()
        optimizer.zero_grad()
        with _Counting() as count:
            step()
        return count.peak

    gradients = 12 * 4 * 64 * 64
    assert peak(within=False) > gradients
    assert peak(within=False) - peak(within=True) > 0.8 * gradients


def test_shared_weights_step_once_or_are_refused() -> None:
    shared = Coupling(Conditioner(1, 2, hidden=4, rank=1), passive=1)
    flow = Flow(Chain(shared, ActNorm(2), shared), (2, 8))
    optimizer = torch.optim.SGD(flow.parameters(), 1e-3)
    steps: list[nn.Parameter] = []
    stepping = StepInBackward(flow, flow.map, optimizer)
    optimizer.register_step_post_hook(lambda *_: steps.extend(optimizer.param_groups[0]["params"]))
    with stepping.within():
        (-flow.log_prob(torch.randn(4, 2, 8)).mean()).backward()
    assert len(steps) == len(set(steps)) == len(list(flow.parameters()))

    problem = line_problem(8)
    posterior = tiny(problem)
    posterior.summary_network.also = next(iter(posterior.flow.map.parameters()))
    with pytest.raises(ValueError, match=r"expected a map that shares no weights with the rest.*1 shared"):
        fit(posterior, problem, **SMALL, step_in_backward=True)
    posterior = tiny(problem)
    posterior.summary_network.also = next(one for one in posterior.flow.map.modules() if isinstance(one, ActNorm))
    with pytest.raises(ValueError, match="expected a map that shares no weights"):
        fit(posterior, problem, **SMALL, step_in_backward=True)


def test_a_guarded_flow_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training._Run, "__init__", lambda *_: pytest.fail("worked"))
    problem = line_problem(8)
    posterior = tiny(problem)
    with guard(posterior.flow.map), pytest.raises(ValueError, match="expected a map without a guard"):
        fit(posterior, problem, **SMALL, step_in_backward=True)
