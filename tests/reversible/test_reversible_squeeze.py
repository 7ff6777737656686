"""`squeeze`, `Squeezed`, `Unsqueezed`: orthogonal, with the known layouts, and clear words for wrong sizes."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest
import reversible_laws as laws
import torch
from reversible_parts import step
from torch import Tensor

import bayesinv.reversible.unsqueezed as unsqueezed_module
from bayesinv.reversible import (
    ActNorm,
    Chain,
    Condition,
    OnPart,
    Reversible,
    Squeeze,
    Squeezed,
    Unsqueezed,
    coarser,
    finer,
    squeeze,
    unsqueeze,
)

KINDS = get_args(Squeeze)
SPACES = [(6,), (4, 6), (2, 4, 6)]


class Seen(Reversible):
    """The identity; remembers what it was given."""

    def _forward(self, x: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        self.x, self.cond = x.detach().clone(), cond
        return x, x.new_zeros(x.shape[0])

    def _inverse(self, y: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        return y, y.new_zeros(y.shape[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("space", [*SPACES, (2,), (2, 2, 2)])
def test_orthogonal(kind: Squeeze, space: tuple[int, ...]) -> None:
    """Also where a wavelet is longer than the image."""
    x = torch.randn(2, 3, *space, dtype=torch.float64)
    y = squeeze(x, kind=kind)
    assert y.shape == (2, 3 * 2 ** len(space), *[n // 2 for n in space])
    # At most three times 12 multiplications of doubles by filters that are good to 1e-16.
    torch.testing.assert_close(unsqueeze(y, kind=kind), x, rtol=0, atol=2e-14)
    torch.testing.assert_close(y.flatten(1).norm(dim=1), x.flatten(1).norm(dim=1), rtol=1e-14, atol=0)
    other = torch.randn_like(y)
    torch.testing.assert_close((y * other).sum(), (x * unsqueeze(other, kind=kind)).sum(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_memory_layout_and_type_do_not_matter(kind: Squeeze) -> None:
    x = torch.randn(2, 3, 4, 6)
    last = x.contiguous(memory_format=torch.channels_last)
    y = squeeze(x, kind=kind)
    assert y.dtype == torch.float32
    assert torch.equal(squeeze(last, kind=kind), y)
    torch.testing.assert_close(unsqueeze(y, kind=kind), x, rtol=0, atol=2e-6)
    assert squeeze(x[:0], kind=kind).shape == (0, 12, 2, 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("space", SPACES)
def test_without_gradients_the_same_numbers(kind: Squeeze, space: tuple[int, ...]) -> None:
    """By other steps, and images come out as convolutions like them: channels last in memory."""
    x = torch.randn(2, 3, *space)
    down, up = squeeze(x, kind=kind), unsqueeze(squeeze(x, kind=kind), kind=kind)
    with torch.no_grad():
        low = squeeze(x, kind=kind)
        found = low, unsqueeze(low, kind=kind)
    torch.testing.assert_close(found, (down, up))
    if len(space) == 2 and kind in ("haar", "space-to-depth", "checkerboard", "patch"):
        assert all(y.is_contiguous(memory_format=torch.channels_last) for y in found)


@pytest.mark.parametrize(("start", "stop"), [(0, 2), (1, 3), (2, 4)])
@pytest.mark.parametrize("inner", [Squeezed(ActNorm(8)), ActNorm(2)])
def test_a_part_leaves_images_channels_last(inner: Reversible, start: int, stop: int) -> None:
    layer, grad_logdet = OnPart(inner, start=start, stop=stop), torch.zeros(2)
    x = torch.randn(2, 4, 4, 6).to(memory_format=torch.channels_last)
    with torch.no_grad():
        layer(x)
        found = [layer(x)[0], layer.inverse(x)[0]]
        for inverted in (False, True):
            found += layer._backward_in_place(x.clone(), None, x.clone(), grad_logdet, inverted=inverted)[:2]
    assert all(y.is_contiguous(memory_format=torch.channels_last) for y in found)


def test_space_to_depth_is_torchs() -> None:
    x = torch.randn(2, 3, 4, 6)
    y = squeeze(x, kind="space-to-depth")
    assert torch.equal(y, torch.pixel_unshuffle(x, 2))
    assert torch.equal(unsqueeze(y, kind="space-to-depth"), torch.pixel_shuffle(y, 2))


@pytest.mark.parametrize("space", SPACES)
def test_offset_major_squeezes(space: tuple[int, ...]) -> None:
    """Block by block: each parity of the pixels, or each half of the image, the last axis counting fastest."""
    x = torch.randn(2, 3, *space)
    parities, halves = [], []
    for offset in itertools.product((0, 1), repeat=len(space)):
        parities.append(x[(..., *[slice(i, None, 2) for i in offset])])
        halves.append(x[(..., *[slice(i * n // 2, (i + 1) * n // 2) for i, n in zip(offset, space, strict=True)])])
    assert torch.equal(squeeze(x, kind="checkerboard"), torch.cat(parities, 1))
    assert torch.equal(squeeze(x, kind="patch"), torch.cat(halves, 1))


@pytest.mark.parametrize("space", SPACES)
def test_column_squeeze_moves_nothing(space: tuple[int, ...]) -> None:
    x = torch.randn(2, 3, *space)
    assert torch.equal(squeeze(x, kind="column").flatten(), x.flatten())


@pytest.mark.parametrize("kind", ["haar", "db4"])
@pytest.mark.parametrize("space", SPACES)
def test_wavelets_put_the_low_pass_first(space: tuple[int, ...], kind: Squeeze) -> None:
    """Of a constant image everything is in the first channels, ``2^(d/2)`` times as large."""
    x = torch.randn(2, 3, *[1] * len(space), dtype=torch.float64).expand(2, 3, *space)
    y = squeeze(x, kind=kind)
    half = x[(..., *[slice(n // 2) for n in space])]
    torch.testing.assert_close(y[:, :3], half * 2 ** (len(space) / 2))
    torch.testing.assert_close(y[:, 3:], torch.zeros_like(y[:, 3:]), rtol=0, atol=1e-14)


@pytest.mark.parametrize("space", SPACES)
def test_haar_has_the_block_means_first(space: tuple[int, ...]) -> None:
    x = torch.randn(2, 3, *space, dtype=torch.float64)
    torch.testing.assert_close(squeeze(x)[:, :3], coarser(x) * 2 ** (len(space) / 2))


@pytest.mark.parametrize("kind", KINDS)
def test_squeezed_twice_and_nothing_within(kind: Squeeze) -> None:
    x = torch.randn(2, 1, 4, 8, dtype=torch.float64)
    y, logdet = Squeezed(Squeezed(Chain(), kind=kind), kind=kind)(x)
    torch.testing.assert_close(y, x, rtol=0, atol=2e-14)
    assert torch.equal(logdet, torch.zeros(2, dtype=torch.float64))


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("kind", ["haar", "checkerboard"])
def test_states_are_squeezed_one_by_one(kind: Squeeze, space: tuple[int, ...]) -> None:
    seen, x = Seen(), torch.randn(2, 6, *space, dtype=torch.float64)
    y, _ = Squeezed(seen, kind=kind, states=2)(x)
    torch.testing.assert_close(y, x)
    states = [squeeze(state, kind=kind) for state in x.chunk(2, 1)]
    assert torch.equal(seen.x, torch.cat(states, 1))
    assert not torch.equal(seen.x, squeeze(x, kind=kind))
    Unsqueezed(again := Seen(), kind=kind, states=2)(seen.x)
    torch.testing.assert_close(again.x, x)


@pytest.mark.parametrize("kind", ["haar", "space-to-depth", "db2"])
def test_unsqueezed_undoes_squeezed(kind: Squeeze) -> None:
    """A map that goes down and up again to do its work is that map, with its gradients."""
    torch.manual_seed(1)
    inner = step(2, 2, cond=1).double().eval()
    for parameter in inner.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    around = Squeezed(Unsqueezed(inner, kind=kind), kind=kind)
    x = torch.randn(3, 2, 4, 6, dtype=torch.float64)
    # What the condition's block means have lost is lost.
    cond = finer(torch.randn(3, 1, 2, 3, dtype=torch.float64))
    for found, expected in zip(around(x, cond), inner(x, cond), strict=True):
        torch.testing.assert_close(found, expected)
    expected = laws.gradients(inner, x, cond, direction="forward", plain=True)
    found = laws.gradients(around, x, cond, direction="forward", plain=False)
    for name in set(expected) - {"cond"}:
        wanted = expected[name]
        torch.testing.assert_close(found[name if name == "input" else f"inner.inner.{name}"], wanted)
    torch.testing.assert_close(found["cond"], finer(coarser(expected["cond"])))


def test_finer_conditions() -> None:
    cond = torch.randn(2, 3, 4, 2)
    assert torch.equal(coarser(finer(cond)), cond)
    assert finer(None) is None
    pyramid = (cond, torch.randn(2, 1, 2, 1))
    above = finer(pyramid)
    assert [t.shape[2:] for t in above] == [(8, 4), (4, 2), (2, 1)]
    assert coarser(above) == pyramid


@pytest.mark.parametrize(
    ("name", "faulty"),
    [
        ("_adjoint", lambda g: g[1:] if isinstance(g, tuple) else g[:, :, ::2, ::2]),
        ("_finer_leaf", unsqueezed_module.finer),
    ],
)
@pytest.mark.parametrize("pyramid", [False, True])
def test_gradient_law_sees_a_condition_mistreated(
    name: str, faulty: object, pyramid: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    inner = Chain(step(2, 2, cond=1), Squeezed(step(8, 2, cond=1)))
    layer, x = Unsqueezed(inner).double().eval(), torch.randn(3, 8, 2, 2, dtype=torch.float64)
    for parameter in layer.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    cond: Condition = torch.randn(3, 1, 2, 2, dtype=torch.float64)
    cond = (cond, torch.randn(3, 1, 1, 1, dtype=torch.float64)) if pyramid else cond
    laws.gradients_are_autograds(layer, x, cond)
    monkeypatch.setattr(unsqueezed_module, name, faulty)
    with pytest.raises(AssertionError, match="gradient of cond"):
        laws.gradients_are_autograds(layer, x, cond)


@pytest.mark.parametrize(("space", "good"), [((5,), r"\[6\]"), ((4, 7), r"\[4, 8\]"), ((1, 3, 2), r"\[2, 4, 2\]")])
@pytest.mark.parametrize("kind", KINDS)
def test_odd_sizes_name_sizes_that_would_do(space: tuple[int, ...], good: str, kind: Squeeze) -> None:
    for use in (lambda x: squeeze(x, kind=kind), Squeezed(Chain(), kind=kind)):
        with pytest.raises(ValueError, match=rf"can be halved, got a tensor of shape .*; sizes {good} would do"):
            use(torch.randn(2, 1, *space))


def test_other_mistakes() -> None:
    with pytest.raises(ValueError, match="can be halved"):
        squeeze(torch.randn(2, 4))
    with pytest.raises(ValueError, match="expected a multiple of 4 channels"):
        unsqueeze(torch.randn(2, 6, 2, 2))
    with pytest.raises(ValueError, match="expected a multiple of 4 channels"):
        Unsqueezed(ActNorm(1))(torch.randn(2, 6, 2, 2))
    for use in (squeeze, unsqueeze):
        with pytest.raises(ValueError, match=r"expected kind 'haar', .* or 'coif2', got 'harr'"):
            use(torch.randn(2, 4, 2, 2), kind="harr")
    for combinator in (Squeezed, Unsqueezed):
        with pytest.raises(ValueError, match=r"expected kind 'haar', .* or 'coif2', got 'harr'"):
            combinator(Chain(), kind="harr")
    with pytest.raises(ValueError, match="expected a multiple of 2 channels"):
        Squeezed(Chain(), states=2)(torch.randn(2, 3, 4))
    with pytest.raises(ValueError, match="pyramid"):
        Squeezed(Chain())(torch.randn(2, 1, 4), (torch.randn(2, 1, 4),))
