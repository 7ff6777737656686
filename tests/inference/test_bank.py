"""Banks of pairs: keyed like the problem, summaries chunk by chunk, mirrored pairs that are pairs."""

from __future__ import annotations

import pytest
import torch
from toy_problems import line_problem, square_problem

from bayesinv.inference import bank
from bayesinv.inference.bank import derived_seed, mirrored, simulate_bank
from bayesinv.inference.summaries import summarise


def test_a_bank_is_the_problems_pairs_and_their_summaries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bank, "_CHUNK", 3)
    problem = line_problem()
    x, y, sigma = problem.sample(7, seed=2)
    seen: list[int] = []
    made = simulate_bank(problem, "cgls", 7, 2, advance=seen.append)
    given = simulate_bank(problem, "cgls", 7, 99, pairs=(x, y, sigma))
    assert seen == [3, 3, 1]
    assert len(made) == 7
    for one in (made, given):
        for found, expected in zip((one.x, one.y, one.sigma), (x, y, sigma), strict=True):
            assert torch.allclose(found, expected, atol=1e-5)
        again = summarise("cgls", problem.forward, y, sigma)  # 12 steps in float32 amplify the rounding of a batch of 3
        assert float((one.c - again).norm() / again.norm()) < 0.05


def test_training_keeps_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    made = simulate_bank(line_problem(), "cgls", 5, 2, keep_data=False)
    assert made.y.numel() == 0
    assert len(made) == 5


def test_purposes_have_seeds_of_their_own() -> None:
    seeds = {derived_seed(seed, purpose) for seed in range(50) for purpose in ("training", "validation", "temperature")}
    assert len(seeds) == 150


def test_a_mirrored_pair_is_a_pair() -> None:
    """The summary of mirrored data is the mirrored summary, for the blur commutes with the reversal."""
    problem = square_problem(8)
    x, y, sigma = problem.sample(16, seed=1)
    c = summarise("cgls", problem.forward, y.double(), sigma)
    flipped_x, flipped_c = mirrored(x.double(), c, (2, 3), seed=0, step=4)
    moved = (flipped_x != x).flatten(1).any(1)
    assert 4 <= int(moved.sum()) <= 16  # 12 expected of 16, each with probability 3/4: 4 standard deviations
    kinds = set()
    for i in range(16):
        for axes in ((), (1,), (2,), (1, 2)):
            if torch.equal(flipped_x[i], x[i].double().flip(axes)):
                kinds.add(axes)
                turned = y[i : i + 1].double().flip([a + 1 for a in axes])
                again = summarise("cgls", problem.forward, turned, sigma[i : i + 1])
                assert torch.allclose(flipped_c[i], again[0], rtol=1e-5, atol=1e-5)
    assert kinds == {(), (1,), (2,), (1, 2)}
    same_x, _ = mirrored(x.double(), c, (2, 3), seed=0, step=4)
    assert torch.equal(same_x, flipped_x)
    assert mirrored(x, c, (), seed=0, step=4)[0] is x
