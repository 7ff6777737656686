"""`Flow.log_prob` is a density: constants, one value a sample, the temperature's law, one that samples agree with."""

from __future__ import annotations

import math

import pytest
import torch
from flow_cases import FLOWS, WITH_SUMMARY, FlowCase
from torch import Tensor

from bayesinv.flows import Flow, glow


def _standard_normal(x: Tensor, scale: float = 1.0) -> Tensor:
    return (-0.5 * (x / scale) ** 2 - 0.5 * math.log(2 * math.pi) - math.log(scale)).flatten(1).sum(1)


@pytest.mark.parametrize("shape", [(4,), (1, 16), (2, 8, 8), (1, 4, 4, 4)])
def test_a_flow_of_rotations_has_the_density_of_a_standard_normal(shape: tuple[int, ...]) -> None:
    """A fresh glow only rotates: its couplings and ActNorms are the identity."""
    flow = glow(shape, levels=2, steps=3, hidden=8).double().eval()
    x = torch.randn(5, *shape, dtype=torch.float64)
    for temperature in (1.0, 1.3):
        found = flow.log_prob(x, temperature=temperature)
        assert torch.allclose(found, _standard_normal(x, temperature), rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_a_density_in_the_plane_integrates_to_one(temperature: float) -> None:
    """Trapezoids on a grid of 0.05 over [-12, 12]^2: exact to far below 1e-3 for a smooth density inside it."""
    flow = FlowCase((2,), 1, levels=1).flow()
    line = torch.arange(-12, 12, 0.05, dtype=torch.float64)
    x = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    cond = torch.full((len(x), 1), 0.8, dtype=torch.float64)
    with torch.no_grad():
        total = float(flow.log_prob(x, cond, temperature=temperature).exp().sum()) * 0.05**2
    assert total == pytest.approx(1, abs=1e-3)


def test_the_density_of_a_scaled_latent(flow_case: FlowCase) -> None:
    """``log p_T(x) = -|z|^2 / (2 T^2) - d (log(2 pi)/2 + log T) + logdet``."""
    flow, x, cond = flow_case.flow(), flow_case.input(), flow_case.cond()
    with torch.no_grad():
        z, logdet = flow.map(x, cond)
        expected = _standard_normal(z, 1.2) + logdet
        assert torch.allclose(flow.log_prob(x, cond, temperature=1.2), expected, rtol=1e-12)


def test_each_sample_has_its_own_density(flow_case: FlowCase) -> None:
    flow, x, cond = flow_case.flow(), flow_case.input(3), flow_case.cond(3)
    with torch.no_grad():
        together = flow.log_prob(x, cond)
        assert together.shape == (3,)
        for i in range(3):
            own = cond[i : i + 1] if isinstance(cond, Tensor) else cond and tuple(c[i : i + 1] for c in cond)
            assert torch.allclose(flow.log_prob(x[i : i + 1], own), together[i], rtol=1e-12)


def test_samples_and_their_densities_come_from_one_pass(flow_case: FlowCase) -> None:
    flow, cond = flow_case.flow(), flow_case.cond()
    x, log_prob = flow.sample_and_log_prob(5, cond, seed=3, temperature=1.1)
    assert torch.equal(x, flow.sample(5, cond, seed=3, temperature=1.1))
    assert log_prob.shape == x.shape[: x.ndim - len(flow_case.shape)]
    with torch.no_grad():
        for i in range(5):
            again = flow.log_prob(x[i] if cond is not None else x[i : i + 1], cond, temperature=1.1)
            assert torch.allclose(again, log_prob[i], rtol=1e-9)


@pytest.mark.parametrize("case", WITH_SUMMARY.values(), ids=list(WITH_SUMMARY))
def test_a_flow_with_a_summary_of_its_own_digests_every_condition(case: FlowCase) -> None:
    flow, cond = case.flow(), case.cond()
    x, log_prob = flow.sample_and_log_prob(3, cond, seed=3)
    assert torch.allclose(x, flow.sample(3, cond, seed=3, batch_size=2), rtol=1e-9, atol=1e-9)
    with torch.no_grad():
        for i in range(3):
            z, logdet = flow.map(x[i], flow.summary(cond))
            assert torch.allclose(_standard_normal(z) + logdet, log_prob[i], rtol=1e-9)
            assert torch.allclose(flow.log_prob(x[i], cond), log_prob[i], rtol=1e-9)


def test_samples_follow_the_density() -> None:
    """Importance weights ``q / p`` of draws of ``p`` have mean one; ``q`` is the law at another temperature."""
    flow = FLOWS["dense-two"].flow()
    x, log_prob = flow.sample_and_log_prob(4000, seed=1, temperature=1.0, batch_size=4000)
    with torch.no_grad():
        weights = (flow.log_prob(x, temperature=0.8) - log_prob).exp()
    error = float(weights.std()) / math.sqrt(len(weights))
    assert abs(float(weights.mean()) - 1) < 4 * error
    assert error < 0.02


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_that_is_not_positive_is_refused(temperature: float) -> None:
    flow = glow((2,), levels=1, steps=1)
    with pytest.raises(ValueError, match="positive temperature"):
        flow.log_prob(torch.zeros(1, 2), temperature=temperature)
    with pytest.raises(ValueError, match="positive temperature"):
        flow.sample(1, temperature=temperature)


def test_an_x_of_another_shape_is_refused() -> None:
    flow: Flow = glow((1, 8, 8), levels=1, steps=1)
    with pytest.raises(ValueError, match=r"expected a batch of \(1, 8, 8\), got a tensor of shape \(2, 1, 8, 4\)"):
        flow.log_prob(torch.zeros(2, 1, 8, 4))
