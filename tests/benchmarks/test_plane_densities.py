"""Flows against laws of known entropy; `benchmarks/plane_densities.py` trains all at full size, and draws them."""

from __future__ import annotations

import pytest
from plane_densities import FLOWS, LAWS, SPLINE, divergence, learned

from bayesinv.flows import realnvp
from bayesinv_datasets.plane import banana


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_learns_a_law(name: str, law: str) -> None:
    build, bound = FLOWS[name]
    flow = learned(LAWS[law](), build, 1000 if "spline" in name else 2000)
    assert -0.01 < divergence(LAWS[law](), flow) < bound


def test_splines_learn_a_banana_at_once() -> None:
    """The everyday part of the above: 150 steps of two pairs of couplings."""
    flow = learned(banana(), lambda: realnvp((2,), levels=1, steps=2, **SPLINE), 150)
    assert 0 < divergence(banana(), flow) < 0.1
