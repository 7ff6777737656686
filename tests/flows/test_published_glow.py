"""`published_glow` against a transcription of the published layer equations that shares no code with it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from bayesinv.flows import Flow, published_glow
from bayesinv.reversible import ActNorm, Chain, Coupling, Householder, OnPart, Squeezed

Step = tuple[ActNorm, Householder, Coupling]


def blocks(x: Tensor) -> Tensor:
    """Checkerboard squeeze, offset-major: pixels of one parity, last axis first, hold all channels."""
    batch, channels, rows, columns = x.shape
    out = torch.zeros(batch, 4 * channels, rows // 2, columns // 2, dtype=x.dtype)
    for i in range(2):
        for j in range(2):
            for c in range(channels):
                for r in range(rows // 2):
                    for k in range(columns // 2):
                        out[:, (2 * i + j) * channels + c, r, k] = x[:, c, 2 * r + i, 2 * k + j]
    return out


def reflection(v: Tensor) -> Tensor:
    return torch.eye(len(v), dtype=v.dtype) - 2 * torch.outer(v, v) / v.dot(v)


def one_step(x: Tensor, c: Tensor | None, parts: Step, low: float, high: float) -> tuple[Tensor, Tensor]:
    """ActNorm, three reflections of every pixel, and the coupling whose first half is transformed."""
    norm, rotation, coupling = parts
    s, b = norm.log_scale.exp(), norm.bias
    x = s[None, :, None, None] * x + b[None, :, None, None]
    logdet = x.shape[2] * x.shape[3] * s.abs().log().sum()
    v = rotation.vectors
    assert v.shape[1] == 3
    matrix = reflection(v[:, 0]) @ reflection(v[:, 1]) @ reflection(v[:, 2])
    x = torch.einsum("ij,bjrk->birk", matrix, x)
    changed = round(x.shape[1] / 2)  # half to even
    x1, x2 = x[:, :changed], x[:, changed:]
    net = coupling.network.network
    first = F.relu(F.conv2d(x2 if c is None else torch.cat([x2, c], 1), net.first.weight, net.first.bias, padding=1))
    second = F.relu(first + F.conv2d(first, net.middle.weight, net.middle.bias))
    third = F.relu(F.conv_transpose2d(second, net.last.weight, padding=1))
    assert net.last.bias is None
    scale = low + (high - low) / (1 + torch.exp(-third[:, :changed]))
    y1 = scale * x1 + third[:, changed:]
    return torch.cat([y1, x2], 1), logdet + scale.log().sum((1, 2, 3))


def levels(flow: Flow) -> list[list[Step]]:
    """The layers of each level, checked for being nothing else."""
    found, current = [], flow.map
    while current is not None:
        assert isinstance(current, Squeezed)
        assert current.kind == "checkerboard"
        maps = list(current.inner)
        inner = maps.pop() if isinstance(maps[-1], OnPart) else None
        found.append([tuple(maps[i : i + 3]) for i in range(0, len(maps), 3)])
        assert inner is None or (inner.start, inner.stop) == (0, len(maps[0].bias) // 2)
        current = inner and inner.inner
    return found


def awake(flow: Flow) -> Flow:
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return flow.double().eval()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("cond", [0, 2])
def test_split_scales(channels: int, cond: int) -> None:
    flow = awake(published_glow((channels, 8, 4), condition=cond, levels=2, steps=2, hidden=6))
    x = torch.randn(3, channels, 8, 4, dtype=torch.float64)
    c = given = torch.randn(3, cond, 8, 4, dtype=torch.float64) if cond else None
    found, logdet = flow.map(x, None if flow.summary is None else flow.summary(given))
    total, latents = torch.zeros(3, dtype=torch.float64), []
    if c is not None:
        norm = flow.summary.first
        c = norm.log_scale.exp()[None, :, None, None] * c + norm.bias[None, :, None, None]
    steps = levels(flow)
    assert [len(level) for level in steps] == [2, 2]
    for i, level in enumerate(steps):
        x, c = blocks(x), None if c is None else blocks(c)
        for parts in level:
            x, more = one_step(x, c, parts, 0.5, 1.0)
            total = total + more
        if i < len(steps) - 1:
            x, leaving = x.chunk(2, 1)
            latents.append(leaving)
    latents.append(x)
    whole = blocks(found)  # the latent has the shape of x: the same squeezes lead back to the parts
    assert torch.allclose(whole[:, 2 * channels :], latents[0], rtol=0, atol=1e-12)
    assert torch.allclose(blocks(whole[:, : 2 * channels]), latents[1], rtol=0, atol=1e-12)
    torch.testing.assert_close(logdet, total, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("low", "high"), [(0.5, 1.0), (0.0, 1.0)])
def test_scales_that_are_not_split(low: float, high: float) -> None:
    """Odd channels: the first ``round(5/2) = 2`` are transformed; there is no squeeze, of x or of the condition."""
    flow = awake(published_glow((5, 4, 6), condition=2, levels=2, steps=1, hidden=6, split=False, low=low, high=high))
    x, given = torch.randn(3, 5, 4, 6, dtype=torch.float64), torch.randn(3, 2, 4, 6, dtype=torch.float64)
    (c,) = flow.summary(given)
    found, logdet = flow.map(x, (c,))
    assert isinstance(flow.map, Chain)
    maps, total = list(flow.map), torch.zeros(3, dtype=torch.float64)
    assert len(maps) == 6
    for i in (0, 3):
        x, more = one_step(x, c, tuple(maps[i : i + 3]), low, high)
        total = total + more
    torch.testing.assert_close(found, x, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(logdet, total, rtol=1e-12, atol=1e-12)


def test_scales_and_shifts_keep_to_their_published_ranges() -> None:
    flow = published_glow((4, 4, 4), levels=1, steps=1, hidden=6, split=False)
    coupling = list(flow.map)[2]
    raw = coupling.network(torch.randn(50, 2, 4, 4)).detach()
    shift, scaled = (coupling.how.forward(torch.full((50, 2, 4, 4), b), raw)[0] for b in (0.0, 1.0))
    scale = scaled - shift
    assert float(shift.min()) >= 0
    assert float(shift.max()) > 0
    assert float(scale.min()) >= 0.75 - 1e-6
    assert 0.76 < float(scale.max()) < 1


def test_weights_start_at_random_and_biases_at_zero() -> None:
    """Glorot-uniform: variance 2 / (fan in + fan out), the last convolution, too."""
    flow = published_glow((64, 4, 4), levels=1, steps=1, hidden=64, split=False)
    net = list(flow.map)[2].network.network
    for layer, kernel in ((net.first, 9), (net.middle, 1), (net.last, 9)):
        fans = kernel * (layer.weight.shape[0] + layer.weight.shape[1])
        assert float(layer.weight.detach().var()) == pytest.approx(2 / fans, rel=0.1)
    assert float(net.first.bias.detach().abs().max() + net.middle.bias.detach().abs().max()) == 0


def test_the_condition_has_an_actnorm_of_its_own() -> None:
    """It takes its start from the first batch, and the density and the samples go through it."""
    flow = published_glow((1, 8, 8), condition=1, levels=2, steps=1, hidden=6)
    c = 5 + 3 * torch.randn(64, 1, 8, 8)
    fine, middle, coarse = (part.detach() for part in flow.summary(c))
    assert [part.shape[1] for part in (fine, middle, coarse)] == [1, 4, 16]
    assert abs(float(fine.mean())) < 1e-5
    assert float(fine.std()) == pytest.approx(1, abs=1e-3)
    assert torch.equal(middle, blocks(fine))
    x = flow.sample(5, c[:2], seed=0)
    assert x.shape == (5, 2, 1, 8, 8)
    assert not torch.allclose(flow.sample(5, c[:2] + 1, seed=0), x)
    flow.log_prob(x[0], c[:2]).sum().backward()
    assert float(flow.summary.first.bias.grad.abs().sum()) > 0
