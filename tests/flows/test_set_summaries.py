"""Sets: the order does not matter, padding does not, the number does; every part is trained."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bayesinv.flows import DeepSet, SetTransformer

NETWORKS = {
    "deep-set": lambda: DeepSet(2, 3, hidden=8),
    "set-transformer": lambda: SetTransformer(2, 3, hidden=8, heads=2),
    "set-transformer-inducing": lambda: SetTransformer(2, 3, hidden=8, heads=2, inducing=4, seeds=2),
}
IMAGES = {rank: lambda rank=rank: DeepSet(2, 3, rank=rank, hidden=8) for rank in (1, 2, 3)}


@pytest.fixture(params=NETWORKS.values(), ids=list(NETWORKS))
def network(request: pytest.FixtureRequest) -> nn.Module:
    return request.param().double()


def observations(n: int, *space: int) -> Tensor:
    return torch.randn(4, n, 2, *space, dtype=torch.float64)


def test_the_order_does_not_matter(network: nn.Module) -> None:
    y = observations(7)
    order = torch.randperm(7)
    torch.testing.assert_close(network(y[:, order]), network(y), rtol=1e-10, atol=1e-12)
    assert not torch.allclose(network(y + 0.1), network(y))


@pytest.mark.parametrize("filler", [0.0, 7.0, float("nan"), float("inf")])
def test_padding_changes_neither_the_result_nor_a_gradient(network: nn.Module, filler: float) -> None:
    y = observations(5)
    padded = torch.cat([y, torch.full((4, 3, 2), filler, dtype=torch.float64)], 1)
    mask = (torch.arange(8) < 5).expand(4, 8)
    order = torch.tensor([6, 0, 1, 5, 2, 3, 7, 4])  # padding in between, too
    found, expected = network(padded[:, order], mask[:, order]), network(y)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    weights = torch.randn_like(expected)
    of_found = torch.autograd.grad((found * weights).sum(), list(network.parameters()))
    of_expected = torch.autograd.grad((expected * weights).sum(), list(network.parameters()))
    for a, b in zip(of_found, of_expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


def test_each_set_has_its_own_number_of_observations(network: nn.Module) -> None:
    y, counts = observations(6), torch.tensor([6, 1, 3, 4])
    together = network(y, torch.arange(6) < counts[:, None])
    for i, count in enumerate(counts):
        torch.testing.assert_close(network(y[i : i + 1, :count]), together[i : i + 1], rtol=1e-10, atol=1e-12)


def test_twice_the_same_observations_say_more_than_once(network: nn.Module) -> None:
    """A mean alone could not tell them apart, but a posterior from twice the data is narrower."""
    y = observations(3)
    assert not torch.allclose(network(torch.cat([y, y], 1)), network(y), atol=1e-4)


def test_an_empty_set_has_a_summary_of_its_own(network: nn.Module) -> None:
    out = network(torch.full((2, 3, 2), float("nan"), dtype=torch.float64), torch.zeros(2, 3, dtype=torch.bool))
    more = network(torch.zeros(2, 5, 2, dtype=torch.float64), torch.zeros(2, 5, dtype=torch.bool))
    assert out.isfinite().all()
    torch.testing.assert_close(out, more)


def test_every_parameter_is_trained(network: nn.Module) -> None:
    network(observations(5)).square().sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("rank", IMAGES)
def test_a_set_of_images_gives_a_condition_of_their_space(rank: int) -> None:
    network, y = IMAGES[rank]().double(), observations(3, *[4, 6, 2][:rank])
    out = network(y)
    assert out.shape == (4, 3, *y.shape[3:])
    torch.testing.assert_close(network(y.flip(1)), out)
    mask = torch.tensor([True, False, True]).expand(4, 3)
    torch.testing.assert_close(network(y, mask), network(y[:, ::2]))


def test_a_set_transformer_compares_observations() -> None:
    """A `DeepSet` before its ``rho`` is a sum over observations; attention is not: mixed differences do not vanish."""
    network = SetTransformer(1, 1, hidden=8, heads=2).double()
    a, b = torch.randn(2, 2, 1, dtype=torch.float64)
    pairs = torch.stack([torch.stack([x, y]) for x in (a[0], b[0]) for y in (a[1], b[1])])
    with torch.no_grad():
        values = network(pairs)[:, 0]
    assert abs(float(values[0] - values[1] - values[2] + values[3])) > 1e-6


@pytest.mark.parametrize(
    ("options", "match"),
    [({"heads": 3}, "multiple of the heads"), ({"blocks": 0}, "blocks=0"), ({"seeds": 0}, "seeds=0")],
)
def test_impossible_transformers_are_refused(options: dict[str, int], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        SetTransformer(1, 1, **options)


def test_impossible_masks_and_data_are_refused(network: nn.Module) -> None:
    y = observations(3)
    with pytest.raises(ValueError, match=r"boolean mask \(4, 3\)"):
        network(y, torch.ones(4, 3))
    with pytest.raises(ValueError, match=r"boolean mask \(4, 3\)"):
        network(y, torch.ones(4, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match="observations, channels"):
        network(y[0])
