"""Reversible maps among the things that torch users use: other layers, hooks, autocast, compile, copies."""

from __future__ import annotations

import copy
import shutil
from typing import Any

import pytest
import reversible_laws as laws
import torch
from reversible_maps import MAPS
from reversible_parts import Case, coupling, step
from torch import Tensor, nn

from bayesinv.reversible import (
    ActNorm,
    Chain,
    Concatenated,
    Condition,
    Conditioner,
    Coupling,
    Householder,
    Reversible,
    guard,
    plain,
)


class Mixed(nn.Module):
    """Ordinary layers before and after a map, and beside it for its condition."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.beside = nn.Conv1d(3, 2, 3, padding=1), nn.Linear(6, 6)
        self.map = Chain(step(2, 1, cond=1), step(2, 1, cond=1))
        self.after = nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        z, logdet = self.map(torch.tanh(self.before(x)), self.beside(x[:, :1]))
        return (self.after(z) ** 2).mean() - logdet.mean()


def mixed() -> tuple[Mixed, Tensor]:
    torch.manual_seed(1)
    model, x = Mixed().double(), torch.randn(8, 3, 6, dtype=torch.float64)
    model(x)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model, x


def collected(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def plain_gradients(model: nn.Module, *batches: Tensor) -> dict[str, Tensor]:
    twin = copy.deepcopy(model)
    twin.zero_grad()
    with plain():
        for x in batches:
            twin(x).backward()
    return collected(twin)


def test_loss_backward_among_ordinary_layers() -> None:
    model, x = mixed()
    expected = plain_gradients(model, x)
    model(x).backward()
    assert expected.keys() == dict(model.named_parameters()).keys()
    laws.assert_same_gradients(collected(model), expected)


def test_gradient_accumulation_and_two_passes_before_one_backward() -> None:
    model, x = mixed()
    expected = plain_gradients(model, x[:4], x[4:])
    for part in (x[:4], x[4:]):
        model(part).backward()
    laws.assert_same_gradients(collected(model), expected)
    model.zero_grad()
    (model(x[:4]) + model(x[4:])).backward()
    laws.assert_same_gradients(collected(model), expected)


def test_frozen_and_shared_parameters_among_ordinary_layers() -> None:
    model, x = mixed()
    model.map = Chain(*model.map, model.map.maps[0])
    model.map.maps[1].requires_grad_(False)
    expected = plain_gradients(model, x)
    model(x).backward()
    assert not any(name.startswith("map.maps.1") for name in expected)
    laws.assert_same_gradients(collected(model), expected)


def test_a_hook_on_a_map_sees_the_output_behind_an_energy() -> None:
    layer, x, seen = mixed()[0].map.eval(), torch.randn(3, 2, 6, dtype=torch.float64), []
    cond = torch.randn(3, 1, 6, dtype=torch.float64)
    expected = layer.energy(x, cond)
    layer.register_forward_hook(lambda map, given, out: seen.append(out[0]))
    found = layer.energy(x, cond)
    assert len(seen) == 1
    for got, want in zip((*found, seen[0].square().flatten(1).sum(1) / 2), (*expected, expected[0]), strict=True):
        torch.testing.assert_close(got, want)


def test_hooks_on_parameters_and_inputs_run_once() -> None:
    """Also a hook that changes the gradient: the network's own graph inside of the backward pass does not call it."""
    model, x = mixed()
    expected = plain_gradients(model, x)
    calls: list[str] = []
    for name, parameter in model.named_parameters():
        parameter.register_hook(lambda g, name=name: calls.append(name) or 3 * g)
    model(x).backward()
    assert sorted(calls) == sorted(expected)
    laws.assert_same_gradients(collected(model), {name: 3 * g for name, g in expected.items()})
    calls.clear()
    model(x).backward()
    assert sorted(calls) == sorted(expected)


def test_optimizer_and_clipping() -> None:
    ends = []
    for plainly in (True, False):
        model, x = mixed()
        sgd = torch.optim.SGD(model.parameters(), 1e-2, momentum=0.9)
        for _ in range(3):
            sgd.zero_grad()
            if plainly:
                with plain():
                    loss = model(x)
            else:
                loss = model(x)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            sgd.step()
        ends.append(float(loss.detach()))
    assert ends[0] == pytest.approx(ends[1], rel=1e-12)


@pytest.mark.parametrize("options", [{}, {"every": 1}, {"stream": torch.float64}])
def test_autocast_trains_bfloat16_networks_in_a_float32_stream(options: dict[str, Any]) -> None:
    """The state stays float32 and is rebuilt to float32 precision; gradients are as good as plain autocast's."""
    case = Case(lambda: Chain(step(4, 2, hidden=16), step(4, 2, hidden=16)), (4, 6, 6))
    layer, x = case.layer(torch.float32), case.input(torch.float32)
    exact = laws.gradients(layer, x, None, direction="forward", plain=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = laws.gradients(layer, x, None, direction="forward", plain=True)
    seen: list[torch.dtype] = []
    for part in layer.modules():
        if isinstance(part, Coupling):
            part.network.register_forward_hook(lambda net, given, out: seen.append(out.dtype))
    with guard(layer, **options) as watch, torch.autocast("cpu", dtype=torch.bfloat16):
        y, _ = layer(x)
        assert y.dtype == torch.float32
        found = laws.gradients(layer, x, None, direction="forward", plain=False)
    assert watch.drift < 1e-5
    assert set(seen) == {torch.bfloat16}
    for name, want in exact.items():
        assert found[name].dtype == torch.float32
        errors = [float((g[name] - want).norm() / want.norm()) for g in (found, rough)]
        assert errors[0] <= 1.5 * errors[1] + 1e-2, name
        assert name != "input" or errors[0] > 1e-4  # it is bfloat16 indeed


@pytest.mark.parametrize("written_out", ["conditioner", "sequential"])
def test_autocast_of_networks_with_gradients_by_hand(written_out: str) -> None:
    """Nearly as good as plain autocast's, as masks are told from rounded sums; and in the dtype of the parameters."""
    network: nn.Module = Conditioner(2, 4, hidden=16, rank=2)
    if written_out == "sequential":
        first, last = nn.Conv2d(2, 16, 3, padding=1), nn.Conv2d(16, 4, 3, padding=1)
        network = nn.Sequential(first, nn.ReLU(), nn.Conv2d(16, 16, 1), nn.ReLU(), last)
    case = Case(lambda: Coupling(network, passive=2), (4, 8, 8))
    layer, x = case.layer(torch.float32), case.input(torch.float32)
    exact = laws.gradients(layer, x, None, direction="forward", plain=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough, found = (laws.gradients(layer, x, None, direction="forward", plain=plain) for plain in (True, False))
    for name, want in exact.items():
        assert found[name].dtype == torch.float32
        errors = [float((g[name] - want).norm() / want.norm()) for g in (found, rough)]
        assert errors[0] <= 1.5 * errors[1] + 3e-2, name
        assert name != "input" or errors[0] > 1e-4  # it is bfloat16 indeed
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        *_, grads = layer._backward(x, None, x, torch.ones(len(x)))
    assert {g.dtype for g in grads.values()} == {torch.float32}


@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="no C++ compiler")
@pytest.mark.slow  # the compiler takes half a minute
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
def test_compiled_conditioners() -> None:
    layer = MAPS["chain-1d"].layer()
    x = MAPS["chain-1d"].input()
    expected = laws.gradients(layer, x, None, direction="forward", plain=True)
    for part in layer.modules():
        if isinstance(part, Coupling):
            part.network.compile()
    for _ in range(2):
        laws.assert_same_gradients(laws.gradients(layer, x, None, direction="forward", plain=False), expected)


class Noisy(nn.Module):
    """A conditioner that drops out, in a module and in a function, and normalises over the batch."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv1d(channels, 8, 3, padding=1), nn.BatchNorm1d(8)
        self.drop, self.last = nn.Dropout(0.3), nn.Conv1d(8, out, 1)

    def forward(self, a: Tensor) -> Tensor:
        hidden = self.drop(torch.tanh(self.norm(self.first(a))))
        out: Tensor = self.last(nn.functional.dropout(hidden, 0.2, self.training))
        return out


def noisy(*, shared: bool = False) -> Chain:
    torch.manual_seed(4)
    first = Coupling(Noisy(1, 2), passive=1)
    second = first if shared else Coupling(Noisy(1, 2), passive=1)
    return Chain(first, Householder(2), second, Householder(2), first).double()


@pytest.mark.parametrize("options", [None, {}, {"on_drift": "anchor", "threshold": 1e-30}])
@pytest.mark.parametrize("direction", laws.DIRECTIONS)
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.filterwarnings("ignore::bayesinv.reversible.DriftWarning")
def test_dropout_and_batch_statistics(shared: bool, direction: str, options: dict[str, Any] | None) -> None:
    """As under plain autograd with the same seed; the running statistics move once, the generator goes on as before."""
    results = []
    for plainly in (True, False):
        layer, x = noisy(shared=shared), torch.randn(5, 2, 6, dtype=torch.float64, generator=torch.manual_seed(5))
        if options is not None and not plainly:
            guard(layer, **options)
        torch.manual_seed(6)
        x.requires_grad_()
        if plainly:
            with plain():
                y, logdet = getattr(layer, direction)(x)
        else:
            y, logdet = getattr(layer, direction)(x)
        after_forward = torch.get_rng_state()
        grads = torch.autograd.grad((y**2).sum() + logdet.sum(), [x, *layer.parameters()])
        assert torch.equal(torch.get_rng_state(), after_forward)
        named = dict(zip(["x", *[name for name, _ in layer.named_parameters()]], grads, strict=True))
        results.append((y.detach(), named, dict(layer.named_buffers()), after_forward))
    (y, expected, buffers, state), (same, found, again, same_state) = results
    torch.testing.assert_close(y, same, rtol=1e-12, atol=1e-12)
    assert torch.equal(state, same_state)
    laws.assert_same_gradients(found, expected)
    assert buffers["maps.0.network.norm.num_batches_tracked"] == (3 if shared else 2)
    for name, buffer in buffers.items():
        torch.testing.assert_close(again[name], buffer, rtol=1e-12, atol=1e-12)


def test_dropout_draws_anew_at_each_pass() -> None:
    layer, x = noisy(), torch.randn(5, 2, 6, dtype=torch.float64)
    assert not torch.equal(layer(x)[0], layer(x)[0])
    layer.eval()
    laws.inverse_undoes(layer, x, None)
    laws.gradients_are_autograds(layer, x, None)


def test_dropout_in_a_leaf_without_a_backward_of_its_own() -> None:
    """The base's recomputation evaluates the network twice."""

    class Leaf(Reversible):
        def __init__(self) -> None:
            super().__init__()
            self.pair = Coupling(Noisy(1, 2), passive=1)

        def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
            return self.pair._forward(x, cond)

        def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
            return self.pair._inverse(y, cond)

    layer, x = Chain(Leaf(), ActNorm(2)).double(), torch.randn(5, 2, 6, dtype=torch.float64)
    layer(x)
    with guard(layer):
        layer(x)[0].sum().backward()
    assert layer.maps[0].pair.network.norm.num_batches_tracked == 2


def test_plain_mode_gives_the_same_and_ends(case: Case) -> None:
    layer, x, cond = case.layer(), case.input(), case.condition()
    frugal = laws.gradients(layer, x, cond, direction="forward", plain=False)
    with plain():
        y, logdet = layer(x, cond)
        plainly = laws.gradients(layer, x, cond, direction="forward", plain=False)
    laws.assert_same_gradients(frugal, plainly)
    for one, other in zip(layer(x, cond), (y, logdet), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)  # the same maps in another order


def test_a_map_inside_of_a_conditioner() -> None:
    """A frugal pass inside of the network of a frugal pass, both of them guarded."""
    inner = Chain(coupling(2, 1), Householder(2), ActNorm(2))

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.map, self.last = inner, nn.Conv1d(2, 4, 1)

        def forward(self, a: Tensor) -> Tensor:
            z, _ = self.map(a)
            out: Tensor = self.last(z)
            return out

    layer = Case(lambda: Chain(Coupling(Network(), passive=2), ActNorm(4)), (4, 5)).layer()
    x = torch.randn(3, 4, 5, dtype=torch.float64)
    laws.gradients_are_autograds(layer, x, None)
    with guard(layer, every=1), guard(inner):
        laws.gradients_are_autograds(layer, x, None)


def test_state_dict_round_trip_goes_on_training_alike() -> None:
    model, x = mixed()
    twin = Mixed().double()
    twin.load_state_dict(model.state_dict())
    for one in (model, copy.deepcopy(model), twin):
        one.zero_grad()
        one(x).backward()
    laws.assert_same_gradients(collected(twin), collected(model))


@pytest.mark.slow  # two processes that import torch and talk over a socket
def test_two_processes_of_lightning_fabric_give_the_gradient_of_one() -> None:
    pytest.importorskip("lightning_fabric")
    model, x = mixed()
    expected = plain_gradients(model, x)
    torch.multiprocessing.set_sharing_strategy("file_system")
    results = torch.multiprocessing.get_context("spawn").SimpleQueue()
    fabric = _fabric(2)
    fabric.launch(_step_of_two, model.state_dict(), x, results)
    for _ in range(2):
        found = {name: torch.tensor(values, dtype=torch.float64) for name, values in results.get().items()}
        assert found.keys() == expected.keys()
        laws.assert_same_gradients(found, expected)


def _fabric(devices: int) -> Any:
    from lightning_fabric import Fabric
    from lightning_fabric.strategies import DDPStrategy

    return Fabric(accelerator="cpu", devices=devices, strategy=DDPStrategy(start_method="spawn"))


def _step_of_two(fabric: Any, state: dict[str, Tensor], x: Tensor, results: Any) -> None:
    model = Mixed().double()
    model.load_state_dict(state)
    wrapped = fabric.setup(model)
    half = x.chunk(2)[fabric.global_rank]
    assert len(half) == len(x) // 2
    fabric.backward(wrapped(half))
    results.put({name: grad.tolist() for name, grad in collected(model).items()})


def test_concatenated_user_network_with_everything() -> None:
    """A recurrent, normalising, dropping network of the user's own, under a condition, in float32."""
    network = Concatenated(nn.Sequential(nn.Conv1d(3, 8, 1), nn.GroupNorm(2, 8), nn.Dropout1d(0.5), nn.Conv1d(8, 2, 1)))
    layer = Chain(Coupling(network, passive=1), Householder(2))
    x, cond = torch.randn(4, 2, 6), torch.randn(4, 2, 6, requires_grad=True)
    with guard(layer):
        y, logdet = layer(x, cond)
        ((y**2).sum() - logdet.sum()).backward()
    assert cond.grad is not None
