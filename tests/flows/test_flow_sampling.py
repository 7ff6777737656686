"""`Flow.sample`: keyed by (seed, sample, observation), the same for every batch size and in both modes."""

from __future__ import annotations

import pytest
import torch
from flow_cases import FLOWS, FlowCase

from bayesinv.flows import glow


@pytest.mark.parametrize("batch_size", [1, 3, 4, 100])
def test_the_batch_size_changes_no_sample(flow_case: FlowCase, batch_size: int) -> None:
    flow, cond = flow_case.flow(), flow_case.cond()
    lead = (7,) if cond is None else (7, 2)
    expected = flow.sample(7, cond, seed=5)
    assert expected.shape == (*lead, *flow_case.shape)
    assert torch.allclose(flow.sample(7, cond, seed=5, batch_size=batch_size), expected, rtol=1e-9, atol=1e-9)


def test_more_samples_begin_with_the_same_ones_and_more_observations_too() -> None:
    case = FLOWS["1d-pyramid"]
    flow, cond = case.flow(), case.cond(4)
    assert isinstance(cond, tuple)
    many = flow.sample(6, cond, seed=5)
    few = flow.sample(4, tuple(part[:2] for part in cond), seed=5)
    assert torch.allclose(many[:4, :2], few, rtol=0, atol=1e-12)
    assert not torch.allclose(many, flow.sample(6, cond, seed=6))
    assert float((many[0] - many[1]).abs().max()) > 1e-3
    same = flow.sample(6, tuple(part[:1].expand(4, *part.shape[1:]) for part in cond), seed=5)
    assert float((same[:, 0] - same[:, 1]).abs().max()) > 1e-3  # equal observations draw different images


@pytest.mark.parametrize("training", [True, False])
def test_a_fresh_flow_samples_without_a_dummy_pass(training: bool) -> None:
    """Sampling is no first batch: it neither initialises ActNorm nor depends on the mode or the batch size."""
    flow = glow((1, 8, 8), levels=2, steps=2, hidden=8).train(training)
    before = {name: tensor.clone() for name, tensor in flow.state_dict().items()}
    x = flow.sample(9, seed=2, batch_size=4)
    y, log_prob = flow.sample_and_log_prob(9, seed=2)
    assert torch.allclose(x, y, atol=1e-5)
    assert x.shape == (9, 1, 8, 8)
    assert bool(torch.isfinite(x).all() & torch.isfinite(log_prob).all())
    assert torch.allclose(flow.eval().sample(9, seed=2), x, atol=1e-5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in flow.state_dict().items())


def test_sampling_leaves_every_module_in_its_mode() -> None:
    flow = glow((2,), levels=1, steps=2).train()
    flow.map.maps[0].eval()
    flow.sample(2)
    assert flow.training
    assert [one.training for one in flow.map] == [False] + [True] * 6


def test_batches_are_the_samples_and_leave_the_caller_alone_in_between() -> None:
    flow = FLOWS["2d-cond"].flow().train()
    cond, found = FLOWS["2d-cond"].cond(), []
    for x in flow.batches(7, cond, seed=5, batch_size=4):
        assert not x.requires_grad
        assert torch.is_grad_enabled()
        assert flow.map.training
        found.append(x)
    assert [len(x) for x in found] == [2, 2, 2, 1]
    assert torch.equal(torch.cat(found), flow.sample(7, cond, seed=5, batch_size=4))


def test_the_temperature_scales_the_latent(flow_case: FlowCase) -> None:
    flow, cond = flow_case.flow(), flow_case.cond()
    x = flow.sample(3, cond, seed=1, temperature=0.5)
    z = flow.latent(3, 1 if cond is None else 2, seed=1)
    assert z.dtype == torch.float64
    for i in range(3):
        found, _ = flow.map(x[i : i + 1] if cond is None else x[i], cond)
        assert torch.allclose(found, 0.5 * z[i], atol=1e-9)


def test_sampling_keeps_no_graph_and_leaves_torchs_generator_alone() -> None:
    flow, state = FLOWS["2d-cond"].flow(), torch.get_rng_state()
    assert not flow.sample(2, FLOWS["2d-cond"].cond()).requires_grad
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("n", "batch_size"), [(0, 4), (-1, 4), (2, 0)])
def test_nothing_to_draw_is_refused(n: int, batch_size: int) -> None:
    with pytest.raises(ValueError, match="at least one sample and a positive batch size"):
        glow((2,), levels=1, steps=1).sample(n, batch_size=batch_size)
