"""`LearnedSqueezed` beyond the laws: what it starts as, that it stays orthogonal, and its two-pixel closed form."""

from __future__ import annotations

import math

import pytest
import torch
from test_reversible_squeeze import Seen

from bayesinv.reversible import ActNorm, Chain, LearnedSqueezed, squeeze


@pytest.mark.parametrize("space", [(6,), (4, 6), (2, 4, 6)])
@pytest.mark.parametrize("shared", [False, True])
def test_starts_as_space_to_depth(space: tuple[int, ...], shared: bool) -> None:
    seen, x = Seen(), torch.randn(2, 3, *space)
    layer = LearnedSqueezed(seen, channels=3, rank=len(space), shared=shared)
    y, logdet = layer(x)
    torch.testing.assert_close(seen.x, squeeze(x, kind="space-to-depth"))
    torch.testing.assert_close(y, x)
    assert not logdet.any()
    n = 2 ** len(space)
    assert layer.upper.shape == (1 if shared else 3, n * (n - 1) // 2)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_orthogonal_wherever_it_goes(rank: int) -> None:
    layer = LearnedSqueezed(seen := Seen(), channels=2, rank=rank).double()
    torch.nn.init.normal_(layer.upper, std=3.0)
    x = torch.randn(3, 2, *[4] * rank, dtype=torch.float64)
    y, _ = layer(x)
    torch.testing.assert_close(y, x, rtol=0, atol=1e-12)
    torch.testing.assert_close(seen.x.flatten(1).norm(dim=1), x.flatten(1).norm(dim=1), rtol=1e-12, atol=0)
    assert float((seen.x - squeeze(x, kind="space-to-depth")).norm()) > 1


def test_two_pixels_are_turned_by_the_angle() -> None:
    """In 1-D the exponential is a plane rotation, of each channel by its own angle."""
    layer = LearnedSqueezed(seen := Seen(), channels=2, rank=1).double()
    angles = (0.3, -1.2)
    with torch.no_grad():
        layer.upper.copy_(torch.tensor(angles)[:, None])
    x = torch.randn(3, 2, 6, dtype=torch.float64)
    layer(x)
    for i, angle in enumerate(angles):
        even, odd = x[:, i, ::2], x[:, i, 1::2]
        c, s = math.cos(layer.upper[i].item()), math.sin(layer.upper[i].item())
        assert abs(c - math.cos(angle)) < 1e-6
        torch.testing.assert_close(seen.x[:, 2 * i], c * even + s * odd)
        torch.testing.assert_close(seen.x[:, 2 * i + 1], c * odd - s * even)


def test_it_can_learn_haar() -> None:
    """Trained to put all energy of piecewise constant signals into one channel, it finds sums and differences."""
    torch.manual_seed(0)
    layer = LearnedSqueezed(Chain(), channels=1, rank=2).double()
    means = torch.randn(64, 1, 4, 4, dtype=torch.float64)
    x = means.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.nn.init.normal_(layer.upper, std=0.1)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.05)
    for _ in range(150):
        u = (layer._rotation(layer.upper) @ squeeze(x, kind="space-to-depth").flatten(2)[:, None])[:, 0]
        loss = (u[:, 1:] ** 2).sum() / (u**2).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 1e-4


def test_autocast_leaves_the_rotation_alone() -> None:
    layer, x = LearnedSqueezed(Seen(), channels=1, rank=2), torch.randn(4, 1, 8, 8)
    torch.nn.init.normal_(layer.upper)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, _ = layer(x)
    assert float((y - x).detach().norm() / x.norm()) < 1e-5


def test_mistakes() -> None:
    for channels, rank in ((0, 1), (1, 0), (1, 4)):
        with pytest.raises(ValueError, match="expected at least one channel and 1 to 3 axes"):
            LearnedSqueezed(Chain(), channels=channels, rank=rank)
    layer = LearnedSqueezed(ActNorm(4), channels=1, rank=2)
    with pytest.raises(ValueError, match="expected 1 channels and 2 axes, got shape"):
        layer(torch.randn(2, 2, 4, 4))
    with pytest.raises(ValueError, match="expected 1 channels and 2 axes, got shape"):
        layer(torch.randn(2, 1, 4))
    with pytest.raises(ValueError, match="can be halved"):
        layer(torch.randn(2, 1, 4, 5))
