"""Every flow on a device that is not the processor: the same densities, gradients and samples."""

from __future__ import annotations

from typing import Any

import torch
from flow_cases import FlowCase
from pretended_device import elsewhere

from bayesinv.flows import Flow


def test_densities_and_samples_elsewhere_are_those_here(flow_case: FlowCase) -> None:
    def found(flow: Flow, x: Any, cond: Any) -> dict[str, Any]:
        log_prob = flow.log_prob(x, cond)
        log_prob.sum().backward()
        gradients = {name: p.grad for name, p in flow.named_parameters()}
        with torch.no_grad():
            drawn = flow.sample_and_log_prob(3, cond, seed=1, batch_size=2)
        return {"log_prob": log_prob.detach(), "drawn": drawn, **gradients}

    with elsewhere() as (there, back):
        expected = found(flow_case.flow(), flow_case.input(), flow_case.cond())
        moved = [there(one) for one in (flow_case.flow(), flow_case.input(), flow_case.cond())]
        torch.testing.assert_close(back(found(*moved)), expected, rtol=1e-9, atol=1e-9)
