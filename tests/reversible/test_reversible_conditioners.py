"""The conditioners: zero at the start, deaf to the size of outliers, any space, and what their arguments mean."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from reversible_laws import relative
from torch import Tensor, nn
from torch.nn import functional as F

from bayesinv.reversible import Conditioner, Coupling, DenseConditioner, ResNetConditioner, UNetConditioner

SPACE = (5, 4, 3)
Make = Callable[..., nn.Module]
KINDS: dict[str, Make] = {
    "residual": lambda rank, **options: Conditioner(2, 6, hidden=4, rank=rank, **options),
    "dense": lambda rank, **options: DenseConditioner(2, 6, hidden=4, space=SPACE[:rank], **options),
    "resnet": lambda rank, **options: ResNetConditioner(2, 6, hidden=4, rank=rank, **options),
    "unet": lambda rank, **options: UNetConditioner(2, 6, widths=(4, 5, 6), rank=rank, **options),
}
ALL = pytest.mark.parametrize(
    ("name", "rank"), [(name, rank) for name in KINDS for rank in range(4) if (name, rank) != ("unet", 0)]
)


def awake(network: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network.double()


def numbers(rank: int, channels: int = 2) -> Tensor:
    return torch.randn(3, channels, *SPACE[:rank], dtype=torch.float64)


@ALL
@pytest.mark.parametrize("cond", [0, 3])
def test_zero_at_the_start_and_of_the_right_shape(name: str, rank: int, cond: int) -> None:
    network = KINDS[name](rank, cond_channels=cond).double()
    given = [numbers(rank), *([numbers(rank, 3)] if cond else [])]
    out = network(*given)
    assert out.shape == (3, 6, *SPACE[:rank])
    assert not out.any()
    awake(network)
    assert float(network(*given).detach().abs().mean()) > 1e-2
    if cond:
        assert float((network(given[0], given[1] + 1) - network(*given)).detach().abs().max()) > 1e-3


@ALL
def test_outliers_are_held(name: str, rank: int) -> None:
    """Numbers of 1e3 and of 1e4 look the same, up to (2.5 / 1e3)^4 / 4 = 1e-11; of 1 and of 2 do not."""
    network, a = awake(KINDS[name](rank, activation=F.softplus)), numbers(rank).sign()
    assert relative(network(1e4 * a), network(1e3 * a)) < 1e-10
    assert relative(network(2 * a), network(a)) > 1e-2


@ALL
def test_a_smooth_activation_makes_a_smooth_network(name: str, rank: int) -> None:
    """Third differences of a smooth function fall as h^3; those of a ReLU network over its kinks only as h."""
    a, b = numbers(rank), numbers(rank)
    t = torch.linspace(0, 1, 129, dtype=torch.float64)

    def roughness(network: nn.Module) -> float:
        rows = torch.stack([network(a + s * (b - a)).detach() for s in t])
        fine, coarse = (float((rows[::k].diff(n=3, dim=0)).abs().max()) for k in (1, 2))
        return coarse / fine

    assert roughness(awake(KINDS[name](rank, activation=F.softplus))) > 6
    assert roughness(awake(KINDS[name](rank))) < 4


@ALL
def test_condition_missing_or_not_expected(name: str, rank: int) -> None:
    with pytest.raises(ValueError, match="expected a condition"):
        KINDS[name](rank, cond_channels=3).double()(numbers(rank))
    with pytest.raises(ValueError, match="expected no condition"):
        KINDS[name](rank).double()(numbers(rank), numbers(rank, 3))


@pytest.mark.parametrize(("widths", "reach"), [((4,), 4), ((4, 4, 4), 40)])
def test_how_far_a_unet_sees(widths: tuple[int, ...], reach: int) -> None:
    """One scale: 1 + 2 + 1 pixels to each side. Three scales: all of 41 pixels."""
    network = awake(UNetConditioner(1, 1, widths=widths, rank=1, activation=F.softplus))
    a = torch.randn(1, 1, 41, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(network(a)[0, 0, 0], a)
    assert int(grad[0, 0].nonzero().max()) <= reach
    if reach == 4:
        assert int(grad[0, 0].nonzero().max()) == reach
    else:
        assert int(grad[0, 0].nonzero().max()) > 16


@pytest.mark.parametrize("blocks", [1, 3])
def test_how_far_a_resnet_sees(blocks: int) -> None:
    network = awake(ResNetConditioner(1, 1, hidden=4, rank=1, blocks=blocks, activation=F.softplus))
    a = torch.randn(1, 1, 41, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(network(a)[0, 0, 0], a)
    assert int(grad[0, 0].nonzero().max()) == 2 * blocks + 2


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 13])
def test_a_unet_takes_any_size(size: int) -> None:
    network = awake(UNetConditioner(1, 2, widths=(3, 3, 3), rank=2))
    assert network(torch.randn(1, 1, size, 5, dtype=torch.float64)).shape == (1, 2, size, 5)


MISTAKES: dict[str, tuple[Callable[[], object], str]] = {
    "no layer": (lambda: DenseConditioner(1, 2, hidden=3, layers=0), "expected one hidden layer or more, got 0"),
    "another space": (
        lambda: DenseConditioner(1, 2, hidden=3, space=(4,))(torch.randn(2, 1, 5)),
        r"expected an input of shape \(1, 4\), got \(1, 5\)",
    ),
    "no block": (lambda: ResNetConditioner(1, 2, hidden=3, rank=1, blocks=0), "expected one block or more, got 0"),
    "no width": (lambda: UNetConditioner(1, 2, widths=(), rank=1), r"one width or more, got 1 and \(\)"),
    "no axis": (lambda: UNetConditioner(1, 2, widths=(3,), rank=0), "expected 1 to 3 spatial axes"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake(name: str) -> None:
    use, words = MISTAKES[name]
    with pytest.raises(ValueError, match=words):
        use()


def test_a_coupling_lays_out_weights_as_images_are() -> None:
    """Channels last in memory, or each convolution would copy its weight; other parameters stay as they are."""
    network = nn.Sequential(nn.Conv2d(2, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 4, 3, padding=1))
    before = [p.detach().clone() for p in network.parameters()]
    Coupling(network, passive=2)
    assert all(layer.weight.is_contiguous(memory_format=torch.channels_last) for layer in (network[0], network[2]))
    assert all(torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True))


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("kind", ["residual", "plain"])
@pytest.mark.parametrize("place", ["first", "middle"])
def test_a_network_that_has_diverged_shows_it(kind: str, place: str, rank: int) -> None:
    """A parameter that is not a number reaches the output of a coupling: no ReLU takes it for a zero."""
    kernels: dict[int, type[nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
    conv = kernels[rank]
    network: nn.Module = Conditioner(2, 4, hidden=8, rank=rank)
    if kind == "plain":
        network = nn.Sequential(conv(2, 8, 3, padding=1), nn.ReLU(), conv(8, 8, 1), nn.ReLU(), conv(8, 4, 3, padding=1))
    layers = [one for one in network.modules() if isinstance(one, conv)]
    with torch.no_grad():
        layers[["first", "middle"].index(place)].bias[3] = torch.nan  # type: ignore[index, operator]
    y, _ = Coupling(network, passive=2)(torch.randn(2, 4, *SPACE[:rank]))
    assert not bool(y.isfinite().all())


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_an_empty_batch(rank: int) -> None:
    layer = Coupling(Conditioner(2, 4, hidden=8, rank=rank), passive=2)
    x = torch.zeros(0, 4, *SPACE[:rank], requires_grad=True)
    y, logdet = layer(x)
    (y.sum() + logdet.sum()).backward()
    assert y.shape == x.shape
    assert logdet.shape == (0,)
