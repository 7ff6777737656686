"""Tiles: any budget gives the numbers of the whole, in both directions; the step's memory follows the budget."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import reversible_laws as laws
import torch
from reversible_parts import Case
from torch import Tensor, nn
from torch.nn import functional as F

from bayesinv.reversible import (
    Additive,
    Chain,
    Conditioner,
    Coupling,
    Hyperbolic,
    ResNetConditioner,
    Reversible,
    Squeezed,
    WaveForce,
    Workspace,
    convolution,
    memory_report,
    strips,
)
from bayesinv.reversible.tiles import Tile, budgeted, tiles

SPACE = (11, 6, 5)


def awake(network: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network


def test_tiled_gradients_are_those_of_the_whole(case: Case) -> None:
    """One row at a time: the smallest tiles there are, in every map of the registry."""
    layer, x, cond = case.layer(), case.input(), case.condition()
    for direction in laws.DIRECTIONS:
        expected = laws.gradients(layer, x, cond, direction=direction, plain=True)
        layer.workspace = 1
        laws.assert_same_gradients(laws.gradients(layer, x, cond, direction=direction, plain=False), expected)
        with torch.no_grad():
            tiled = getattr(layer, direction)(x, cond)
            layer.workspace = 2**30
            for one, other in zip(tiled, getattr(layer, direction)(x, cond), strict=True):
                torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("activation", ["relu", "silu"])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("rank", [0, 1, 2, 3])
@pytest.mark.parametrize("workspace", [1, 20_000, 60_000, 2**30])
def test_conditioners_in_tiles(
    activation: str, kernel: int, rank: int, workspace: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand (ReLU, hidden gradients in quarters) and by autograd (any other), with a condition; halos of 0 to 4."""
    monkeypatch.setattr(strips, "_PART", 1)
    options = {} if activation == "relu" else {"activation": F.silu}
    network = Conditioner(2, 6, hidden=8, rank=rank, cond_channels=3, kernel=kernel, **options)
    layer = Coupling(awake(network), passive=2).double()
    layer.workspace = workspace
    x, cond = (torch.randn(3, n, *SPACE[:rank], dtype=torch.float64) for n in (5, 3))
    for direction in laws.DIRECTIONS:
        expected = laws.gradients(layer, x, cond, direction=direction, plain=True)
        laws.assert_same_gradients(laws.gradients(layer, x, cond, direction=direction, plain=False), expected)


@pytest.mark.parametrize("activation", [F.relu, F.silu])
@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_residual_networks_in_tiles(activation: Any, blocks: int, kernel: int, rank: int) -> None:
    """Halos of 0 to 16 rows, of 11 there are."""
    network = awake(
        ResNetConditioner(
            2, 6, hidden=4, rank=rank, blocks=blocks, cond_channels=3, kernel=kernel, activation=activation
        )
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.div_(2)
    layer = Coupling(network, passive=2).double()
    x, cond = (torch.randn(2, n, *SPACE[:rank], dtype=torch.float64) for n in (5, 3))
    for workspace in (1, 30_000):
        layer.workspace = workspace
        for direction in laws.DIRECTIONS:
            expected = laws.gradients(layer, x, cond, direction=direction, plain=True)
            laws.assert_same_gradients(laws.gradients(layer, x, cond, direction=direction, plain=False), expected)


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("rank", [0, 1, 2, 3])
@pytest.mark.parametrize("workspace", [1, 5_000])
def test_leapfrog_steps_in_tiles(kernel: int, rank: int, workspace: int) -> None:
    """With a wave's force, and with networks of one's own that have their gradients by hand."""
    forces = (
        WaveForce(2, hidden=5, rank=rank, kernel=kernel, cond_channels=3),
        Conditioner(2, 2, hidden=4, rank=rank, kernel=kernel, cond_channels=3),
        nn.Sequential(convolution(2, 4, kernel=kernel, rank=rank), nn.ReLU(), convolution(4, 2, kernel=1, rank=rank)),
    )
    x, cond = (torch.randn(2, n, *SPACE[:rank], dtype=torch.float64) for n in (4, 3))
    for force in forces:
        layer, own = Hyperbolic(awake(force)).double(), None if isinstance(force, nn.Sequential) else cond
        layer.workspace = workspace
        for direction in laws.DIRECTIONS:
            expected = laws.gradients(layer, x, own, direction=direction, plain=True)
            laws.assert_same_gradients(laws.gradients(layer, x, own, direction=direction, plain=False), expected)
            with torch.no_grad():
                tiled = getattr(layer, direction)(x, own)[0]
                layer.workspace = 2**30
                torch.testing.assert_close(tiled, getattr(layer, direction)(x, own)[0], rtol=1e-11, atol=1e-11)
                layer.workspace = workspace


@pytest.mark.parametrize("fewer", [1, 0])
@pytest.mark.parametrize("kind", [ResNetConditioner, WaveForce])
def test_the_reach_is_as_far_as_said(kind: Any, fewer: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault: with one row less the numbers are wrong."""
    torch.manual_seed(0)
    layer: Reversible = Hyperbolic(awake(WaveForce(2, rank=2, kernel=5, activation=torch.tanh)))  # by autograd
    if kind is ResNetConditioner:
        layer = Coupling(awake(ResNetConditioner(2, 4, hidden=4, rank=2)), passive=2)
    monkeypatch.setattr(kind, "is_built", lambda self: True)
    for network in layer.modules():
        if isinstance(network, kind):
            network.reach -= fewer
    x = torch.randn(1, 4, 40, 8, dtype=torch.float64)
    with torch.no_grad():
        whole: Tensor = layer.double()(x)[0]
        layer.workspace = 1
        assert torch.allclose(layer(x)[0], whole, atol=1e-9) is not bool(fewer)


@pytest.mark.parametrize("change", ["kernel", "block", "subclass", "inject"])
def test_a_residual_network_or_force_that_was_changed_is_seen_whole(change: str) -> None:
    class Own(ResNetConditioner):
        pass

    network: nn.Module = (Own if change == "subclass" else ResNetConditioner)(2, 6, hidden=4, rank=2, cond_channels=3)
    force: nn.Module = WaveForce(2, rank=2, cond_channels=3)
    if change == "kernel":
        network.last = conv(4, 6, 5)
        force.weight = nn.Parameter(torch.randn(4, 2, 5, 5))
    elif change == "block":
        network.blocks.append(nn.BatchNorm2d(4))
        force.inject = nn.Sequential(force.inject)
    elif change == "subclass":
        force = type("Own", (WaveForce,), {})(2, rank=2)
    else:
        network.inject, force.inject = conv(3, 4), conv(3, 4)
    a, whole = torch.zeros(4, 2, 16, 16), [Tile(slice(0, 4), slice(0, 16))]
    with budgeted(1):
        assert tiles(network, a) == tiles(force, a) == whole
        assert len(tiles(ResNetConditioner(2, 6, hidden=4, rank=2), a)) == len(tiles(WaveForce(2, rank=2), a)) == 64


@pytest.mark.parametrize("where", ["force", "inject"])
def test_a_force_with_a_hook_is_asked_itself(where: str) -> None:
    force = awake(WaveForce(2, rank=2, cond_channels=3)).double()
    (force if where == "force" else force.inject).register_forward_hook(lambda module, given, out: 2 * out)
    x, cond = torch.randn(1, 4, 8, 8, dtype=torch.float64), torch.randn(1, 3, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        y = Hyperbolic(force)(x, cond)[0]
        torch.testing.assert_close(y[:, 2:], 2 * x[:, 2:] - x[:, :2] - force(x[:, 2:], cond))


@pytest.mark.parametrize("change", ["hook", "layer", "parametrized"])
def test_a_changed_network_is_asked_itself(change: str) -> None:
    network = awake(Conditioner(2, 6, hidden=8, rank=2)).double()
    if change == "hook":
        network.middle.register_forward_hook(lambda module, given, out: 2 * out)
    elif change == "layer":
        network.middle = nn.Sequential(network.middle, nn.Conv2d(8, 8, 1).double())
    else:
        nn.utils.parametrizations.weight_norm(network.middle)
    layer, x = Coupling(network, passive=2), torch.randn(2, 5, 8, 8, dtype=torch.float64)
    expected = laws.gradients(layer, x, None, direction="forward", plain=True)
    laws.assert_same_gradients(laws.gradients(layer, x, None, direction="forward", plain=False), expected)
    with torch.no_grad():
        assert torch.allclose(layer(x)[0][:, 2:], layer._forward(x, None)[0][:, 2:])
        b = layer.how.forward(x[:, 2:], network(x[:, :2]))[0]
        torch.testing.assert_close(layer(x)[0][:, 2:], b)


def conv(channels: int, out: int, kernel: int = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(channels, out, kernel, padding=kernel // 2, **options)


def with_layer(network: Conditioner, name: str, layer: nn.Module) -> nn.Module:
    setattr(network, name, layer)
    return network


def tied(network: nn.Module, first: nn.Module, last: nn.Module) -> nn.Module:
    last.weight = first.weight
    return network


def networks() -> dict[str, nn.Module]:
    """From two channels to two, on images of 6x6, none of which is what it looks like at first sight."""
    act, same = nn.ReLU(), conv(2, 2)
    chain, residual = nn.Sequential(conv(2, 2), nn.ReLU(), conv(2, 2)), Conditioner(2, 2, hidden=2, rank=2)
    smooth = Conditioner(2, 2, hidden=4, rank=2, activation=F.silu)
    return {
        "one activation at two places": nn.Sequential(conv(2, 8), act, conv(8, 8, 1), act, conv(8, 2)),
        "an activation first": nn.Sequential(act, conv(2, 8), act, conv(8, 2)),
        "two activations in a row": nn.Sequential(conv(2, 8), act, nn.ReLU(), conv(8, 2)),
        "two activations first": nn.Sequential(act, act, conv(2, 8), act, conv(8, 2)),
        "one layer at two places": nn.Sequential(same, act, same),
        "tied weights": tied(chain, chain[0], chain[2]),
        "tied weights of a conditioner": tied(residual, residual.first, residual.last),
        "linear along the last axis": nn.Sequential(nn.Linear(6, 6), act, nn.Linear(6, 6)),
        "padded in a circle": with_layer(
            Conditioner(2, 2, hidden=4, rank=2), "first", conv(2, 4, padding_mode="circular")
        ),
        "a wider kernel": with_layer(Conditioner(2, 2, hidden=4, rank=2), "middle", conv(4, 4)),
        "a wider kernel of a smooth one": with_layer(smooth, "middle", conv(4, 4)),
    }


@pytest.mark.parametrize("workspace", ["auto", 1])
@pytest.mark.parametrize("name", networks())
def test_networks_that_look_like_plain_ones(name: str, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips, "_PART", 1)  # hidden gradients are computed in quarters
    layer = Coupling(awake(networks()[name]), passive=2, how=Additive()).double()
    layer.workspace = workspace
    x = torch.randn(2, 4, 6, 6, dtype=torch.float64)
    for direction in laws.DIRECTIONS:
        expected = laws.gradients(layer, x, None, direction=direction, plain=True)
        laws.assert_same_gradients(laws.gradients(layer, x, None, direction=direction, plain=False), expected)


class Summed(nn.Module):
    """Adds a number from all of the condition to a layer of ``a``."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.of_a, self.of_cond = convolution(2, 4, kernel=3, rank=rank), nn.Linear(3, 4)

    def forward(self, a: Tensor, cond: Tensor) -> Tensor:
        far: Tensor = self.of_cond(cond.flatten(2).square().mean(2))
        out: Tensor = self.of_a(a) + far.view(*far.shape, *[1] * (a.ndim - 2))
        return out


@pytest.mark.parametrize("workspace", ["auto", 1])
@pytest.mark.parametrize("of_cond", [(1, 1), (12, 12), (9,)])
@pytest.mark.parametrize("space", [(), (6, 6)])
def test_a_condition_of_another_space(space: tuple[int, ...], of_cond: tuple[int, ...], workspace: Workspace) -> None:
    """It is the network's affair: none of it is cut off."""
    layer = Coupling(awake(Summed(len(space))), passive=2).double()
    layer.workspace = workspace
    x, cond = (torch.randn(2, *sizes, dtype=torch.float64) for sizes in ((4, *space), (3, *of_cond)))
    expected = laws.gradients(layer, x, cond, direction="forward", plain=True)
    laws.assert_same_gradients(laws.gradients(layer, x, cond, direction="forward", plain=False), expected)


@pytest.mark.parametrize("workspace", ["auto", 1])
def test_one_pixel_of_condition_for_all(workspace: Workspace) -> None:
    layer = Coupling(awake(Conditioner(2, 4, hidden=8, rank=2, cond_channels=3)), passive=2).double()
    layer.workspace = workspace
    x, cond = torch.randn(2, 4, 6, 6, dtype=torch.float64), torch.randn(2, 3, 1, 1, dtype=torch.float64)
    expected = laws.gradients(layer, x, cond, direction="forward", plain=True)
    laws.assert_same_gradients(laws.gradients(layer, x, cond, direction="forward", plain=False), expected)


def test_autocast_leaves_float64_alone() -> None:
    layer, x = (
        Coupling(awake(Conditioner(2, 4, hidden=8, rank=2)), passive=2).double(),
        torch.randn(2, 4, 6, 6).double(),
    )
    with torch.no_grad():
        expected = layer(x)[0]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            torch.testing.assert_close(layer(x)[0], expected)


def test_frozen_parameters_get_no_gradient() -> None:
    network = awake(Conditioner(2, 6, hidden=8, rank=2))
    network.middle.requires_grad_(False)
    layer, x = Coupling(network, passive=2), torch.randn(2, 5, 8, 8, requires_grad=True)
    layer(x)[0].square().sum().backward()
    assert network.middle.weight.grad is None
    assert network.first.weight.grad is not None


def test_a_network_that_tells_no_reach_is_seen_whole() -> None:
    a = torch.zeros(4, 2, 16, 16)
    with budgeted(1):
        assert tiles(nn.Conv2d(2, 4, 3, padding=1), a) == [Tile(slice(0, 4), slice(0, 16))]


def test_tiles_cover_every_row_once_with_exact_halos() -> None:
    network, a = Conditioner(2, 4, hidden=8, rank=2, kernel=5), torch.zeros(3, 2, 37, 8)
    for workspace in (1, 10_000, 50_000, 200_000, 10**9):
        seen = torch.zeros(3, 37, dtype=torch.int64)
        with budgeted(workspace):
            for tile in tiles(network, a):
                seen[tile.samples, tile.rows] += 1
                assert tile.before == min(4, tile.rows.start)
                assert tile.after == min(4, 37 - tile.rows.stop)
        assert bool((seen == 1).all())


@pytest.mark.parametrize("workspace", [0, -1, 1.5, "big", None])
def test_a_budget_is_auto_or_bytes(workspace: object) -> None:
    layer = Coupling(Conditioner(1, 2, hidden=4, rank=1), passive=1)
    with pytest.raises(ValueError, match="expected 'auto' or a positive number of bytes"):
        layer.workspace = workspace  # type: ignore[assignment]
    assert layer.workspace == "auto"


def test_memory_follows_the_budget_and_not_the_hidden_width() -> None:
    """Beyond the parameters' gradients; at a hidden width of 8 and of 64 within 15 percent."""

    def peak(hidden: int, workspace: int) -> int:
        conditioner = partial(Conditioner, hidden=hidden, rank=2)
        chain = Squeezed(Chain(*[Coupling(conditioner(2, 4), passive=2) for _ in range(2)]))
        chain.workspace = workspace
        gradients = sum(p.nbytes for p in chain.parameters())
        return memory_report(chain, (1, 64, 64), batch=4).peak - gradients

    data = 4 * 64 * 64 * 4
    tight = peak(64, data // 2)
    assert tight < 0.25 * peak(64, 10**9)
    assert abs(tight / peak(8, data // 2) - 1) < 0.15


def _three_layers(passive: int, out: int, hidden: int) -> nn.Module:
    first, last = nn.Conv2d(passive, hidden, 3, padding=1), nn.Conv2d(hidden, out, 3, padding=1)
    return nn.Sequential(first, nn.ReLU(), nn.Conv2d(hidden, hidden, 1), nn.ReLU(), last)


@pytest.mark.parametrize("network", [partial(Conditioner, rank=2), _three_layers])
@pytest.mark.parametrize("batch", [1, 4])
def test_two_hidden_layers_and_a_quarter_are_alive(
    network: Callable[..., nn.Module], batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the backward pass of whole images, with a gradient of samples or of rows; the rest is of few channels."""
    monkeypatch.setattr(strips, "_PART", 1)
    coupling = Coupling(network(2, 4, hidden=128), passive=2)
    coupling.workspace = 10**9
    gradients = sum(p.nbytes for p in coupling.parameters())
    layer = 4 * batch * 128 * 64 * 64
    assert memory_report(coupling, (4, 64, 64), batch=batch).peak - gradients < 2.6 * layer


def test_the_memory_of_leapfrog_steps_follows_the_budget() -> None:
    def peak(hidden: int, workspace: int) -> int:
        chain = Chain(*[Hyperbolic(WaveForce(4, hidden=hidden, rank=2)) for _ in range(2)])
        chain.workspace = workspace
        gradients = sum(p.nbytes for p in chain.parameters())
        return memory_report(chain, (8, 64, 64), batch=4).peak - gradients

    data = 4 * 8 * 64 * 64 * 4
    tight = peak(64, data // 4)
    assert tight < 0.5 * peak(64, 10**9)
    assert abs(tight / peak(8, data // 4) - 1) < 0.15


class Told(nn.Module):
    """A network of a user, who says how far it reaches."""

    def __init__(self, reach: int) -> None:
        super().__init__()
        self.inner, self.reach, self.footprint = (
            awake(Conditioner(2, 6, hidden=8, rank=2, activation=F.silu)),
            reach,
            64,
        )

    def forward(self, a: Tensor) -> Tensor:
        out: Tensor = self.inner(a)
        return out


@pytest.mark.parametrize(("reach", "right"), [(1, False), (2, True), (3, True)])
def test_the_halo_matters(reach: int, right: bool) -> None:
    """A planted fault: with one row less the numbers are wrong."""
    torch.manual_seed(0)
    layer, x = Coupling(Told(reach), passive=2).double(), torch.randn(1, 5, 16, 8, dtype=torch.float64)
    with torch.no_grad():
        whole: Tensor = layer(x)[0]
        layer.workspace = 1
        assert torch.allclose(layer(x)[0], whole, atol=1e-9 if right else 1e-3) is right
