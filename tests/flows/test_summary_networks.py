"""`UNet` and `DenseSummary`: pyramids that fit a flow, a head that starts at zero."""

from __future__ import annotations

import pytest
import torch

from bayesinv.flows import DenseSummary, UNet, glow
from bayesinv.flows.summary.regression import Regression, least_squares


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_pyramid_fits_the_flow(rank: int) -> None:
    network = UNet(3, 4, rank=rank, widths=(4, 6), features=5)
    shape = (2, *[8] * rank)
    pyramid = network(torch.randn(2, 3, *shape[1:]))
    assert [tuple(part.shape) for part in pyramid] == [(2, 4, *[8] * rank), (2, 5, *[4] * rank), (2, 5, *[2] * rank)]
    flow = glow(shape, condition=(4, 5, 5), levels=2, steps=1, hidden=4)
    assert flow.log_prob(torch.randn(2, *shape), pyramid).shape == (2,)


def test_the_head_starts_at_zero_so_that_the_flow_starts_without_it() -> None:
    head, *features = UNet(1, 2, rank=2, widths=(4, 4), features=3)(torch.randn(2, 1, 4, 8))
    assert float(head.detach().abs().max()) == 0
    assert float(features[0].detach().abs().max()) > 0


def test_each_record_is_summarised_by_itself() -> None:
    network, c = UNet(1, 2, rank=1, widths=(4, 4), features=3).double(), torch.randn(3, 1, 8, dtype=torch.float64)
    for together, alone in zip(network(c), network(c[1:2]), strict=True):
        assert torch.allclose(together[1:2], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("rank", "widths"), [(0, (4, 4)), (4, (4, 4)), (2, ())])
def test_impossible_networks_are_refused(rank: int, widths: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="1 to 3 spatial axes and one width or more"):
        UNet(1, 2, rank=rank, widths=widths)


def test_images_that_the_scales_cannot_halve_are_refused() -> None:
    network = UNet(1, 2, rank=2, widths=(4, 4), features=3)
    with pytest.raises(ValueError, match="multiples of 4"):
        network(torch.randn(1, 1, 8, 6))


def test_a_dense_summary() -> None:
    out = DenseSummary(5, 3, hidden=8)(torch.randn(4, 5))
    assert out.shape == (4, 3)


def test_a_fixed_space_has_a_place_for_every_pixel_and_a_linear_path() -> None:
    network = UNet(1, 2, rank=2, widths=(8, 8), features=4, linear_ends=True, space=(8, 8))
    c, turn = torch.randn(6400, 1, 8, 8), torch.linalg.qr(torch.randn(64, 64)).Q
    x = (c.flatten(1) @ turn + 1).view_as(c)
    network.regress([(c[:6300], x[:6300])])
    assert network.regression is not None
    assert not network.regression.weight.any()
    network.regress([(c[:5000], x[:5000]), (c[5000:], x[5000:])])
    raw, shift = network(c[:5])[0].chunk(2, 1)
    assert torch.allclose(shift, x[:5], atol=1e-3)
    assert not raw.any()
    assert not {"regression.weight", "regression.bias"} & dict(network.named_parameters()).keys()
    network.regress([(c, 2 * x)])
    assert torch.equal(network(c[:5])[0], torch.cat([raw, shift], 1))  # set once
    before = [part.detach() for part in network(c[:1])]
    for place in network.places:
        place.data[..., 0, 1] += 1
    moved = [after - start for after, start in zip(network(c[:1]), before, strict=True)]
    assert all(int((part.abs() > 0.5).sum()) == part.shape[1] for part in moved)
    with pytest.raises(ValueError, match=r"expected images of \(8, 8\) pixels, got some of \(4, 4\)"):
        network.regression(torch.zeros(1, 1, 4, 4))


def test_large_images_have_no_dense_path() -> None:
    assert UNet(1, 2, rank=2, widths=(8, 8), features=4, space=(32, 32)).regression is None


@pytest.mark.parametrize(("pairs", "is_set"), [(299, False), (300, True)])
def test_a_regression_needs_a_hundred_pairs_for_each_input(pairs: int, is_set: bool) -> None:
    layer, c = Regression(1, 1, space=(3,)), torch.randn(pairs, 1, 3)
    layer.regress([(c, c.flip(2))])
    assert bool(layer.weight.any()) == is_set


def test_least_squares_is_that_of_the_ridge_that_fits_other_pairs_best() -> None:
    """Of 40 inputs of which 3 tell something; the others, all but copies of each other, only by chance."""
    random = torch.Generator().manual_seed(0)
    c = torch.randn(1000, 40, generator=random)
    c[:, 3:] = c[:, 3:4] + 0.03 * c[:, 3:]
    truth = torch.zeros(2, 40)
    truth[:, :3] = torch.tensor([[1.0, 2.0, -1.0], [0.0, 1.0, 3.0]])
    x = c @ truth.T + 5 + torch.randn(1000, 2, generator=random)
    pairs = list(zip(c[:300].split(70), x[:300].split(70), strict=True))
    ridges = [1e-6, 1e-2, 1e2]
    found = {ridge: least_squares(pairs, ridges=[ridge]) for ridge in ridges}
    missed = {r: float((c[300:] @ w.float().T + b.float() - x[300:]).square().mean()) for r, (w, b, _) in found.items()}
    weight, bias, count = least_squares(pairs, ridges=ridges)
    best = min(missed, key=missed.get)  # type: ignore[arg-type]
    assert best == 1e-2
    assert torch.equal(weight, found[best][0])
    assert count == 300
    rows = torch.cat([c[:300], torch.ones(300, 1)], 1).double()
    plain = torch.linalg.lstsq(rows, x[:300].double()).solution
    weight, bias, _ = least_squares(pairs, ridges=[1e-12])
    assert torch.allclose(torch.cat([weight, bias[:, None]], 1).T, plain, atol=1e-6)
    with pytest.raises(ValueError, match="at least one pair"):
        least_squares([], ridges=[1.0])
