"""What flows reach on laws of known entropy: splines within 0.05 nats, affine couplings within 0.15.

Measured is the Kullback-Leibler divergence, mean of ``log p - log q`` over draws of ``p``: of the same mean as the loss
minus the entropy, with a smaller error. A training takes about a minute of one thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from bayesinv.flows import Flow, glow, hint, realnvp
from bayesinv_datasets.plane import banana, ring, swirl, two_moons

LAWS: dict[str, Callable[..., Any]] = {law.__name__: law for law in (banana, ring, swirl, two_moons)}
AFFINE = {"hidden": 64, "bound": 2.0}
SPLINE = {"hidden": 32, "coupling": "spline"}
FLOWS: dict[str, tuple[Callable[[], Flow], float]] = {
    "realnvp-affine": (lambda: realnvp((2,), levels=1, steps=8, **AFFINE), 0.15),
    "realnvp-spline": (lambda: realnvp((2,), levels=1, steps=3, **SPLINE), 0.05),
    "hint": (lambda: hint((2,), steps=16, **AFFINE), 0.15),
    "hint-spline": (lambda: hint((2,), steps=6, **SPLINE), 0.05),
    "glow": (lambda: glow((2,), levels=1, steps=16, **AFFINE), 0.15),
    "glow-spline": (lambda: glow((2,), levels=1, steps=6, **SPLINE), 0.05),
}


def divergence(law: Any, build: Callable[[], Flow], steps: int) -> float:
    """In nats, after ``steps`` of maximum likelihood on a pool of draws."""
    torch.manual_seed(0)
    flow, pool, test = build(), law.sample(100_000, 0), law.sample(20_000, 1)
    optimizer = torch.optim.Adam(flow.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        loss = -flow.log_prob(pool[torch.randint(len(pool), (256,))]).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return float((law.log_prob(test) - flow.eval().log_prob(test)).mean())


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_learns_a_law(name: str, law: str) -> None:
    build, bound = FLOWS[name]
    assert -0.01 < divergence(LAWS[law](), build, 1000 if "spline" in name else 2000) < bound


def test_splines_learn_a_banana_at_once() -> None:
    """The everyday part of the above: 150 steps of two pairs of couplings."""
    found = divergence(banana(), lambda: realnvp((2,), levels=1, steps=2, **SPLINE), 150)
    assert 0 < found < 0.1
