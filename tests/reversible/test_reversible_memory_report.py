"""The memory report predicts what it measures, and what it measures is what others measure."""

from __future__ import annotations

import pytest
import torch
from reversible_maps import MAPS
from reversible_parts import coupling, step
from test_reversible_memory import LiveBytes

from bayesinv.flows import glow
from bayesinv.reversible import (
    LU,
    ActNorm,
    Chain,
    Householder,
    Inverted,
    OnPart,
    Squeezed,
    guard,
    memory_report,
    plain,
)


def test_kept_bytes_are_those_of_the_other_measure() -> None:
    layer = Chain(*[step(4, 2, cond=2, hidden=8) for _ in range(4)])
    x, cond = torch.randn(5, 4, 8, 8), torch.randn(5, 2, 8, 8)
    layer(x, cond)
    with LiveBytes(x, cond, *layer.parameters()) as mode:
        kept = layer(x, cond)
        expected = mode.count()
    del kept
    report = memory_report(layer, (4, 8, 8), condition=(2, 8, 8), batch=5)
    assert report.kept == report.kept_predicted == expected == 5 * (4 * 8 * 8 + 1) * 4
    assert report.data == (x.nbytes + cond.nbytes)
    assert report.parameters == sum(t.nbytes for t in (*layer.parameters(), *layer.buffers()))


@pytest.mark.parametrize("name", ["chain-dense-cond", "multiscale-1d-cond", "multiscale-2d-pyramid", "squeezed-3d"])
def test_predictions_hold(name: str) -> None:
    """Exactly for what is kept; for the peak of maps as small as these to 15 %, as parameters and kernels matter."""
    case = MAPS[name]
    report = memory_report(case.make(), case.shape, condition=case.cond, batch=64)
    assert report.kept == report.kept_predicted
    assert report.peak == pytest.approx(report.peak_predicted, rel=0.15)
    assert report.peak > report.kept


def test_the_largest_batch_fits_and_one_more_does_not() -> None:
    chain, shape = Chain(*[step(4, 1, hidden=8) for _ in range(3)]), (4, 32)
    budget = 2**18
    largest = memory_report(chain, shape, budget=budget).largest_batch
    assert largest is not None
    assert largest > 10
    totals = [memory_report(chain, shape, batch=n) for n in (largest, largest + 1)]
    sizes = [r.parameters + r.data + r.peak for r in totals]
    assert sizes[0] <= budget < sizes[1]
    assert memory_report(chain, shape, budget=100).largest_batch == 0


def test_depth_costs_plain_autograd_but_not_a_frugal_map() -> None:
    def kept(depth: int) -> int:
        return memory_report(Chain(*[step(4, 1) for _ in range(depth)]), (4, 32)).kept

    assert kept(16) == kept(4)
    with plain():
        assert kept(16) > 3.5 * kept(4)


def test_the_inverse_and_a_guard_are_reported_too() -> None:
    chain, shape = Chain(ActNorm(4), Householder(4), coupling(4, 1)), (4, 32)
    bare = memory_report(chain, shape, batch=4)
    assert memory_report(Inverted(chain), shape, batch=4).kept == bare.kept
    with guard(chain):
        assert (
            memory_report(chain, shape, batch=4).kept == bare.kept + 2 * 4 * 32
        )  # two maps of single pixels run as one


def test_the_map_is_left_as_it_was() -> None:
    chain = Chain(ActNorm(4), Householder(4))
    memory_report(chain, (4, 8))
    assert not bool(chain.maps[0].initialised)
    assert all(p.grad is None for p in chain.parameters())


def test_it_reads_well() -> None:
    words = str(memory_report(glow((1, 16, 16), levels=2, steps=2, hidden=16).map, (1, 16, 16), budget=2**30))
    assert words.startswith("a training step with 8 samples\n  parameters ")
    assert "kept for backward   8.03 KiB, predicted 8.03 KiB" in words
    assert words.endswith("in 1 GiB")


@pytest.mark.gpu
def test_on_a_cuda_device() -> None:
    chain = Chain(*[step(4, 2, hidden=8) for _ in range(4)]).cuda()
    report = memory_report(chain, (4, 64, 64), batch=16, budget=2**30)
    assert report.kept == pytest.approx(16 * 4 * 64 * 64 * 4, rel=0.05)
    assert report.peak == pytest.approx(report.peak_predicted, rel=0.2)
    with plain():
        assert memory_report(chain, (4, 64, 64), batch=16).kept > 4 * report.kept


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="expected a positive batch and a positive budget, got 0 and None"):
        memory_report(ActNorm(1), (1, 2), batch=0)
    with pytest.raises(ValueError, match="expected 1 channels"):
        memory_report(ActNorm(1), (2, 2))


def nested(levels: int, channels: int = 2) -> Squeezed:
    """Half of the channels go on to the next level."""
    wide = 4 * channels
    below = [OnPart(nested(levels - 1, wide // 2), start=0, stop=wide // 2)] if levels > 1 else []
    return Squeezed(Chain(LU(wide), *below, LU(wide)))


def test_the_levels_of_a_flow_need_the_memory_of_one() -> None:
    """What goes down a level lies in memory once: at the peak an input, its gradient, and 3 more for the whole pass."""
    peaks = []
    for levels in (1, 2, 3, 4):
        report = memory_report(nested(levels), (2, 64, 64), batch=4)
        peaks.append((report.peak - report.parameters) / report.data)
    assert max(peaks) < 5.15
