"""Convolutional and recurrent summaries, the identity, and the fusion of sources: shapes, padding, joint training."""

from __future__ import annotations

import pytest
import reversible_laws as laws
import torch
from torch import Tensor, nn

from bayesinv.flows import (
    DeepSet,
    DenseSummary,
    EncoderSummary,
    Flow,
    Fusion,
    RecurrentSummary,
    ResNetSummary,
    SetTransformer,
    Spread,
    UNet,
    glow,
)
from bayesinv.reversible import Condition

SPACE = (8, 4, 4)


def numbers(*shape: int) -> Tensor:
    return torch.randn(2, *shape, dtype=torch.float64)


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_a_resnet_keeps_the_space(rank: int) -> None:
    network, c = ResNetSummary(3, 5, rank=rank, hidden=6, blocks=2).double(), numbers(3, *SPACE[:rank])
    assert network(c).shape == (2, 5, *SPACE[:rank])
    torch.testing.assert_close(network(c)[1:], network(c[1:]))


@pytest.mark.parametrize("rank", [1, 2])
def test_a_resnets_parameters_and_receptive_field(rank: int) -> None:
    k, h, channels, features, blocks = 3**rank, 6, 2, 5, 2
    network = ResNetSummary(channels, features, rank=rank, hidden=h, blocks=blocks).double()
    counted = blocks * (2 * k * h**2 + 2 * h) + k * h * channels + (h + 1) * features
    assert sum(p.numel() for p in network.parameters()) == counted
    c = numbers(channels, *[25] * rank).requires_grad_()
    (grad,) = torch.autograd.grad(network(c)[(slice(None), slice(None), *[12] * rank)].square().sum(), c)
    reached = grad.abs().sum((0, 1)).nonzero()[:, 0]
    assert int(reached.max() - reached.min()) + 1 == 4 * blocks + 3


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("size", [5, 8])
def test_an_encoder_reads_any_size(rank: int, size: int) -> None:
    network, c = EncoderSummary(2, 3, rank=rank, widths=(4, 6)).double(), numbers(2, *[size] * rank)
    assert network(c).shape == (2, 3)
    torch.testing.assert_close(network(c)[1:], network(c[1:]))
    assert not torch.allclose(network(c), network(c + 0.3))


def test_an_encoders_receptive_field_before_the_mean() -> None:
    network = EncoderSummary(1, 1, rank=1, widths=(16, 16)).double()
    c = numbers(1, 80).requires_grad_()
    (grad,) = torch.autograd.grad(network.scales(c)[:, :, 10].square().sum(), c)
    reached = grad.abs().sum((0, 1)).nonzero()[:, 0]
    assert int(reached.max() - reached.min()) + 1 == 2**2 * 10 - 9


@pytest.mark.parametrize("stride", [1, 4])
@pytest.mark.parametrize("filler", [0.0, 9.0, float("nan")])
def test_padding_of_traces_changes_nothing(stride: int, filler: float) -> None:
    network, c = RecurrentSummary(2, 3, hidden=5, layers=2, stride=stride).double(), numbers(2, 11)
    padded = torch.cat([c, torch.full((2, 2, 6), filler, dtype=torch.float64)], 2)
    torch.testing.assert_close(network(padded, torch.tensor([11, 11])), network(c))
    mixed = network(padded, torch.tensor([11, 7]))
    torch.testing.assert_close(mixed[1:], network(c[1:, :, :7]))
    assert not torch.allclose(mixed[1:], network(c)[1:])


def test_a_recurrence_sees_order_from_both_ends() -> None:
    network, c = RecurrentSummary(1, 3, hidden=5).double(), numbers(1, 9)
    assert not torch.allclose(network(c.flip(2)), network(c))
    for end in (0, 8):
        moved = c.clone()
        moved[:, :, end] += 1
        assert float((network(moved) - network(c)).detach().abs().max()) > 1e-3


@pytest.mark.parametrize("lengths", [[0, 3], [3, 12], [3]])
def test_impossible_lengths_are_refused(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="one length in 1 to 11"):
        RecurrentSummary(1, 1)(torch.zeros(2, 1, 11), torch.tensor(lengths))


def test_vectors_are_joined_end_to_end() -> None:
    fused = Fusion(DenseSummary(5, 2), DeepSet(1, 3, hidden=4)).double()
    sources = (numbers(5), numbers(6, 1))
    first, second = (network(c) for network, c in zip(fused.networks, sources, strict=True))
    assert torch.equal(fused(sources), torch.cat([first, second], 1))


def test_a_vector_is_spread_over_the_space_of_a_tensor() -> None:
    fused = Fusion(nn.Identity(), DenseSummary(5, 2)).double()
    image, vector = numbers(1, 4, 6), numbers(5)
    out = fused((image, vector))
    assert torch.equal(out[:, :1], image)
    assert torch.equal(out[:, 1:], fused.networks[1](vector)[:, :, None, None].expand(-1, -1, 4, 6))


def test_heads_of_pyramids_are_added_and_their_levels_joined() -> None:
    first, second = (UNet(2, 2, rank=1, widths=(4, 4), features=3).double() for _ in range(2))
    for network in (first, second):
        network.head.bias.data.normal_()
    fused = Fusion(first, second, DenseSummary(5, 2).double(), nn.Identity())
    sources = (numbers(2, 8), numbers(2, 8), numbers(5), numbers(1, 8))
    head, fine, coarse = fused(sources)
    one, other = first(sources[0]), second(sources[1])
    assert torch.equal(head, one[0] + other[0])
    assert fine.shape == (2, 3 + 3 + 2 + 1, 4)
    assert coarse.shape == (2, 3 + 3 + 2 + 1, 2)
    torch.testing.assert_close(coarse[:, :6], torch.cat([one[2], other[2]], 1))
    torch.testing.assert_close(coarse[:, 8], sources[3][:, 0].reshape(2, 2, 4).mean(2))


def test_sources_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="one network or more"):
        Fusion()
    fused = Fusion(nn.Identity(), nn.Identity())
    with pytest.raises(ValueError, match="2 data sources, got 1"):
        fused((torch.zeros(1, 1, 4),))
    with pytest.raises(ValueError, match="of one space"):
        fused((torch.zeros(1, 1, 4), torch.zeros(1, 1, 8)))
    pyramids = Fusion(*[UNet(1, 2, rank=1, widths=(4,), features=3) for _ in range(2)])
    with pytest.raises(ValueError, match="pyramids of the same sizes"):
        pyramids((torch.zeros(1, 1, 4), torch.zeros(1, 1, 8)))


def jointly(name: str) -> tuple[nn.Module, Flow, object]:
    torch.manual_seed(1)
    image, steps = (1, 8, 8), {"levels": 2, "steps": 1, "hidden": 4}
    dense, imaged = glow((3,), condition=4, levels=1, steps=2, hidden=6), glow(image, condition=4, **steps)
    pairs = {
        "identity": (nn.Identity(), imaged, numbers(4, 8, 8)),
        "resnet": (ResNetSummary(2, 4, rank=2, hidden=5, blocks=1), imaged, numbers(2, 8, 8)),
        "encoder": (EncoderSummary(2, 4, rank=1, widths=(4,)), dense, numbers(2, 9)),
        "deep-set": (DeepSet(2, 4, hidden=5), dense, numbers(6, 2)),
        "deep-set-images": (DeepSet(2, 4, rank=2, hidden=5), imaged, numbers(3, 2, 8, 8)),
        "set-transformer": (SetTransformer(2, 4, hidden=4, heads=2), dense, numbers(6, 2)),
        "recurrent": (RecurrentSummary(2, 4, hidden=5), dense, numbers(2, 9)),
        "spread": (Spread(DenseSummary(5, 4), (8, 8)), imaged, numbers(5)),
        "fusion": (
            Fusion(UNet(2, 2, rank=2, widths=(4, 4), features=2), DenseSummary(5, 2)),
            glow(image, condition=(2, 4, 4), **steps),
            (numbers(2, 8, 8), numbers(5)),
        ),
    }
    return pairs[name]


NAMES = (
    *("identity", "resnet", "encoder", "deep-set", "deep-set-images"),
    *("set-transformer", "recurrent", "spread", "fusion"),
)


@pytest.mark.parametrize("name", NAMES)
def test_a_summary_network_is_trained_through_the_condition(name: str) -> None:
    """Gradients of the flow's own backward pass equal those of plain autograd, and reach every parameter."""
    network, flow, c = jointly(name)
    network, flow = network.double(), flow.double().eval()
    with torch.no_grad():
        for key, parameter in [*flow.named_parameters(), *network.named_parameters()]:
            if "vectors" not in key:
                parameter.add_(0.1 * torch.randn_like(parameter))
    x, named = numbers(*flow.shape), dict(network.named_parameters(prefix="network")) | dict(flow.named_parameters())

    def gradients(*, plain: bool) -> dict[str, Tensor]:
        cond: Condition = network(c)
        z, logdet = flow.map._forward(x, cond) if plain else flow.map(x, cond)
        found = torch.autograd.grad(0.5 * z.square().sum() - logdet.sum(), list(named.values()))
        return dict(zip(named, found, strict=True))

    found = gradients(plain=False)
    laws.assert_same_gradients(found, gradients(plain=True))
    assert all(float(g.abs().sum()) > 0 for g in found.values())
