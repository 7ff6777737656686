"""`squeeze` and `Squeezed`: orthogonal, with the known layouts, and clear words for sizes that cannot be halved."""

from __future__ import annotations

import pytest
import torch

from bayesinv.reversible import Chain, Squeezed, coarser, squeeze, unsqueeze

KINDS = ["haar", "space-to-depth"]
SPACES = [(6,), (4, 6), (2, 4, 6)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("space", SPACES)
def test_orthogonal(kind: str, space: tuple[int, ...]) -> None:
    x = torch.randn(3, 2, *space, dtype=torch.float64)
    y = squeeze(x, kind=kind)
    assert y.shape == (3, 2 * 2 ** len(space), *[n // 2 for n in space])
    # A few additions of doubles: some eps.
    torch.testing.assert_close(unsqueeze(y, kind=kind), x, rtol=0, atol=1e-14)
    torch.testing.assert_close(y.flatten(1).norm(dim=1), x.flatten(1).norm(dim=1), rtol=1e-14, atol=0)
    other = torch.randn_like(y)
    torch.testing.assert_close((y * other).sum(), (x * unsqueeze(other, kind=kind)).sum(), rtol=1e-12, atol=1e-12)


def test_space_to_depth_is_torchs() -> None:
    x = torch.randn(2, 3, 4, 6)
    y = squeeze(x, kind="space-to-depth")
    assert torch.equal(y, torch.pixel_unshuffle(x, 2))
    assert torch.equal(unsqueeze(y, kind="space-to-depth"), torch.pixel_shuffle(y, 2))


@pytest.mark.parametrize("space", SPACES)
def test_haar_puts_the_means_first(space: tuple[int, ...]) -> None:
    x = torch.randn(2, 3, *space, dtype=torch.float64)
    torch.testing.assert_close(squeeze(x)[:, :3], coarser(x) * 2 ** (len(space) / 2))


@pytest.mark.parametrize("kind", KINDS)
def test_squeezed_twice_and_nothing_within(kind: str) -> None:
    x = torch.randn(2, 1, 4, 8, dtype=torch.float64)
    y, logdet = Squeezed(Squeezed(Chain(), kind=kind), kind=kind)(x)
    torch.testing.assert_close(y, x, rtol=0, atol=1e-14)
    assert torch.equal(logdet, torch.zeros(2, dtype=torch.float64))


@pytest.mark.parametrize(("space", "good"), [((5,), r"\[6\]"), ((4, 7), r"\[4, 8\]"), ((1, 3, 2), r"\[2, 4, 2\]")])
@pytest.mark.parametrize("kind", KINDS)
def test_odd_sizes_name_sizes_that_would_do(space: tuple[int, ...], good: str, kind: str) -> None:
    for use in (lambda x: squeeze(x, kind=kind), Squeezed(Chain(), kind=kind)):
        with pytest.raises(ValueError, match=rf"can be halved, got a tensor of shape .*; sizes {good} would do"):
            use(torch.randn(2, 1, *space))


def test_other_mistakes() -> None:
    with pytest.raises(ValueError, match="can be halved"):
        squeeze(torch.randn(2, 4))
    with pytest.raises(ValueError, match="expected a multiple of 4 channels"):
        unsqueeze(torch.randn(2, 6, 2, 2))
    for use in (squeeze, unsqueeze):
        with pytest.raises(ValueError, match="expected kind 'haar' or 'space-to-depth', got 'harr'"):
            use(torch.randn(2, 4, 2, 2), kind="harr")
    with pytest.raises(ValueError, match="expected kind 'haar' or 'space-to-depth', got 'harr'"):
        Squeezed(Chain(), kind="harr")
    with pytest.raises(ValueError, match="pyramid"):
        Squeezed(Chain())(torch.randn(2, 1, 4), (torch.randn(2, 1, 4),))
