"""`fit`: what it keeps, when it stops, what it refuses, and the parts that a user may bring."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from toy_problems import Matrix, blur, dense_problem, line_problem, same_state, square_problem, tiny

from bayesinv.flows import Flow, glow
from bayesinv.inference import Posterior, Problem, fit, recentring, training
from bayesinv.inference import first_look as first_look_module
from bayesinv.inference.bank import derived_seed, simulate_bank
from bayesinv.inference.first_look import first_look, first_look_size
from bayesinv.inference.objective import Objective
from bayesinv.inference.plan import Plan
from bayesinv.inference.temperature import choose_temperature
from bayesinv.physics import ForwardModel, GaussianNoise
from bayesinv.reversible import ActNorm, Chain, Householder, ShiftScale
from bayesinv.reversible.plain import is_plain

SMALL: dict[str, Any] = {
    "simulations": 32, "epochs": 2, "batch_size": 16, "validation": 4, "show_progress": False, "device": "cpu",
}  # fmt: skip


@pytest.fixture(autouse=True)
def one_temperature(monkeypatch: pytest.MonkeyPatch) -> None:
    """The temperature has tests of its own, and takes most of the time of so short a training."""
    monkeypatch.setattr(training, "choose_temperature", lambda *args, **kwargs: 1.0)


def test_the_record_tells_what_happened() -> None:
    problem = line_problem(8)
    posterior = tiny(problem)
    history = fit(posterior, problem, **SMALL | {"epochs": 4, "head_fraction": 0.35})
    assert [row["step"] for row in history.rows] == [2, 4, 6, 8]
    assert [row["phase"] for row in history.rows] == ["head", "joint", "joint", "joint"]  # 35 % of 8 steps are 2
    held = {row["step"]: row["heldout"] for row in history.rows if row["phase"] == "joint"}
    assert history.best_step == min(held, key=held.get)  # type: ignore[arg-type]
    training_record = posterior.record["training"]
    assert training_record["heldout_nats_per_dim"] == min(held.values())
    assert training_record["versions"]["torch"].startswith("2.")
    assert history.temperature == posterior.temperature == 1.0
    assert posterior.record["baseline"]["kind"] == "cgls"
    assert posterior.record["baseline"]["iterations"] >= 1
    assert not posterior.training
    x, y, _ = problem.sample(32, derived_seed(0, "training"))
    moved = posterior.image_mean - x.mean()  # by what recentring found, if anything
    assert moved.shape == (1, *problem.forward.model_shape[1:])
    assert float(moved.abs().max()) < float(x.std())
    assert float(posterior.image_scale) == pytest.approx(float(x.std()), rel=1e-6)
    assert posterior.target_noise == pytest.approx(0.002 * float(x.std()), rel=1e-6)
    assert posterior.baseline(y).shape == x.shape
    assert torch.allclose(posterior.baseline(y[0]), posterior.baseline(y)[0], atol=1e-5)


def test_a_common_bias_is_taken_away_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recentring, "common_bias", lambda residuals: np.full(residuals.shape[1:], 0.25))
    problem = line_problem(8)
    posterior = tiny(problem)
    fit(posterior, problem, **SMALL)
    x, _, _ = problem.sample(32, derived_seed(0, "training"))
    assert torch.allclose(posterior.image_mean, x.mean() + 0.25)


def test_the_layers_rebuild_their_inputs_where_autograd_would_keep_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    ways: list[bool] = []
    inner = Objective.forward

    def noted(self: Objective, u: Tensor, c: Tensor, head_only: bool) -> tuple[Tensor, Tensor]:
        if self.flow.training and torch.is_grad_enabled():
            ways.append(is_plain(u))
        return inner(self, u, c, head_only)

    monkeypatch.setattr(Objective, "forward", noted)
    trained = {}
    for steps, limit in ((2, 2**28), (2, 2**16), (1, 2**16)):
        monkeypatch.setattr(training, "_KEPT", limit)
        problem, ways[:] = square_problem(8), []
        posterior = tiny(problem, steps=steps, seed=1)
        history = fit(posterior, problem, **SMALL)
        assert len(set(ways)) == 1
        trained[steps, limit] = ways[0], history.rows[-1]["heldout"]
    assert [way for way, _ in trained.values()] == [True, False, False]
    (_, plainly), (_, rebuilt), _ = trained.values()
    assert plainly == pytest.approx(rebuilt, abs=1e-3)


def test_the_heldout_loss_is_the_kept_weights_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """-E log q(x + tau e | y) per dimension on the validation pairs, in the unit of standardised images."""
    monkeypatch.setattr(training, "recentre", lambda *args, **kwargs: None)  # which comes after it
    problem = line_problem(8)
    posterior = tiny(problem)
    history = fit(posterior, problem, **SMALL | {"epochs": 5, "validation": 64})
    x, y, sigma = problem.sample(64, derived_seed(0, "validation"))
    totals = []
    for seed in range(20):
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
        log_prob = posterior(y, sigma).log_prob(x + posterior.target_noise * noise)
        totals.append(float(-log_prob.mean() / 8 - posterior.image_scale.log()))
    spread = float(torch.tensor(totals).std())  # over draws of the image noise, of which the history has one
    assert abs(history.rows[-1]["heldout"] - sum(totals) / 20) < 4 * spread


def test_the_best_weights_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = line_problem(8)
    kept: dict[int, dict[str, Tensor]] = {}
    losses = iter([0.9, 0.5, 0.7, 0.6, 0.8])

    def heldout(self: Any, *_: Any) -> tuple[float, float]:
        kept[len(kept)] = {name: t.clone() for name, t in self.posterior.state_dict().items()}
        return next(losses), 0.0

    monkeypatch.setattr(training._Run, "_heldout", heldout)
    posterior = tiny(problem)
    history = fit(posterior, problem, **SMALL | {"epochs": 5, "head_fraction": 0.0})
    assert history.best_step == 4
    assert same_state(posterior, kept[1])
    assert not same_state(posterior, kept[4])


def test_training_stops_early_when_the_heldout_loss_does_not_improve(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([3.0, 1.0, 1.5, math.nan, 1.0])
    monkeypatch.setattr(training._Run, "_heldout", lambda *_: (next(losses), 0.0))
    problem = line_problem(8)
    history = fit(tiny(problem), problem, **SMALL | {"epochs": 50, "head_fraction": 0.0, "patience": 3})
    assert [row["epoch"] for row in history.rows] == [1, 2, 3, 4, 5]
    assert history.best_step == 4


def test_a_loss_that_stays_nan_ends_training_with_advice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Objective, "forward", lambda self, u, c, head: (u.sum() * math.nan, u.sum() * math.nan))
    problem = line_problem(8)
    with pytest.raises(FloatingPointError, match=r"lower learning_rate .*raise target_noise, or look for outliers"):
        fit(tiny(problem), problem, out=tmp_path, **SMALL | {"epochs": 20})


def test_a_passing_nan_skips_its_step(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    forward = Objective.forward
    calls: list[int] = []

    def spoilt(self: Any, u: Tensor, c: Tensor, head: bool) -> tuple[Tensor, Tensor]:
        calls.append(0)
        nll, mse = forward(self, u, c, head)
        return (nll * math.nan, mse) if len(calls) == 2 else (nll, mse)

    monkeypatch.setattr(Objective, "forward", spoilt)
    problem = line_problem(8)
    posterior = tiny(problem)
    fit(posterior, problem, **SMALL | {"head_fraction": 0.0})
    assert all(bool(torch.isfinite(t).all()) for t in posterior.state_dict().values() if t.is_floating_point())
    assert "not finite" in caplog.text


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_an_image_that_is_not_finite_is_refused(value: float) -> None:
    problem = line_problem(8, broken={5: value})
    with pytest.raises(ValueError, match="expected finite images, got 1 of 256 values NaN or infinite"):
        fit(tiny(problem, summary="cgls"), problem, **SMALL)


def test_constant_images_are_refused() -> None:
    class Constant:
        shape = (1, 8)

        def sample(self, n: int, seed: int, *, start: int = 0) -> Tensor:
            return torch.ones(n, 1, 8)

    problem = Problem(Constant(), line_problem(8).forward)
    with pytest.raises(ValueError, match="images and summaries that vary"):
        fit(tiny(problem, summary="cgls"), problem, **SMALL)
    with pytest.raises(ValueError, match="images that vary, got constant ones"):
        tiny(problem)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"validation": 1}, "validation"),
        ({"simulations": 8}, "at least one batch of 16"),
        ({"head_fraction": 1.0}, "head_fraction"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"target_noise": (0.1, 0.0)}, "target_noise"),
        ({"checkpoint_steps": 0}, "checkpoint_steps"),
        ({"seed": -1}, "non-negative"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], match: str) -> None:
    problem = line_problem(8)
    with pytest.raises(ValueError, match=match):
        fit(tiny(problem), problem, **SMALL | settings)


def test_a_posterior_of_another_operator_is_refused() -> None:
    other = Problem(line_problem(8).prior, ForwardModel(Matrix(blur(8, 0.5), (1, 8), (1, 8)), GaussianNoise(0.1)))
    with pytest.raises(ValueError, match=r"expected the operator .* that the posterior was built for"):
        fit(tiny(line_problem(8)), other, **SMALL)


@pytest.mark.parametrize("fresh", [True, False])
def test_the_first_batch_of_training_initialises_whatever_was_sampled_before(fresh: bool) -> None:
    """Sampling, densities and evaluation mode before `fit` leave no trace in it."""
    problem = line_problem(8)
    posterior, untouched = tiny(problem), tiny(problem)
    x, y, _ = problem.sample(3, seed=5)
    posterior(y).sample(2)
    posterior(y).log_prob(x)
    posterior.train(fresh)
    for one in (posterior, untouched):
        fit(one, problem, **SMALL)
    assert same_state(posterior, untouched)
    assert all(bool(one.initialised) for one in posterior.modules() if isinstance(one, ActNorm))


def test_a_second_fit_goes_on_from_the_first() -> None:
    problem = line_problem(8)
    posterior = tiny(problem)
    first = fit(posterior, problem, **SMALL | {"epochs": 4, "simulations": 160})
    gently = {"epochs": 1, "simulations": 160, "head_fraction": 0.0, "learning_rate": 1e-4}
    second = fit(posterior, problem, **SMALL | gently)
    assert second.rows[0]["heldout"] < first.rows[0]["heldout"] - 0.02
    assert fit(tiny(problem), problem, **SMALL | gently).rows[0]["heldout"] > second.rows[0]["heldout"] + 0.3


def test_fresh_pairs_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Plan, "epoch_steps", 3)
    problem = line_problem(8)
    history = fit(tiny(problem), problem, **SMALL | {"simulations": None})
    assert [row["step"] for row in history.rows] == [3, 6]


class Average(nn.Module):
    """A user's own network, with batch normalisation and a weight used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(3, 3, 1)
        self.again = nn.Conv1d(3, 3, 1)
        self.again.weight = self.first.weight
        self.norm = nn.BatchNorm1d(3)
        self.last = nn.Conv1d(3, 2, 1)

    def forward(self, c: Tensor) -> Tensor:
        return self.last(self.norm(self.again(self.first(c))))


def own_flow() -> Flow:
    """One condition tensor, with a head."""
    return Flow(Chain(ShiftScale(), Householder(1), ActNorm(1)), (1, 8))


@pytest.mark.parametrize("flow", ["head", "glow"])
def test_a_users_own_flow_and_network(tmp_path: Path, flow: str) -> None:
    def parts() -> dict[str, nn.Module]:
        made = own_flow() if flow == "head" else glow((1, 8), condition=2, levels=1, steps=1, hidden=4)
        return {"flow": made, "summary_network": Average()}

    problem = line_problem(8)
    posterior = Posterior.build(problem, summary="cgls", **parts())  # type: ignore[arg-type]
    history = fit(posterior, problem, out=tmp_path, **SMALL | {"epochs": 4, "head_fraction": 0.35})
    assert history.rows[0]["phase"] == ("head" if flow == "head" else "joint")
    path = tmp_path / "posterior.bayesinv"
    with pytest.raises(ValueError, match=r"expected modules=\{...\} with the user's own flow, summary_network"):
        Posterior.load(path, problem=problem)
    loaded = Posterior.load(path, problem=problem, modules=parts())  # type: ignore[arg-type]
    _, y, _ = problem.sample(2, seed=9)
    assert torch.equal(loaded(y).draw(3), posterior(y).draw(3))


def test_mirrored_training_is_as_good_as_its_symmetry() -> None:
    """The blur of the line commutes with its reversal, so mirrored pairs are pairs; both phases must take them."""
    problem = square_problem(4)
    history = fit(tiny(problem), problem, **SMALL)
    assert math.isfinite(history.rows[-1]["heldout"])


def test_the_head_of_a_dense_problem_is_not_trained_alone() -> None:
    problem = dense_problem()
    history = fit(tiny(problem), problem, **SMALL)
    assert {row["phase"] for row in history.rows} == {"joint"}
    assert all(0 < row["heldout_mse"] < 1 for row in history.rows)  # least squares, from the first step on


def test_the_chosen_temperature_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "choose_temperature", choose_temperature)
    problem = line_problem(8)
    posterior = tiny(problem)
    history = fit(posterior, problem, **SMALL)
    assert posterior.temperature == pytest.approx(history.temperature)
    assert posterior.record["training"]["temperature"] == history.temperature


@pytest.mark.parametrize(
    ("simulations", "steps", "is_set"), [(160, 10, False), (900, 10, True), (None, 10, False), (None, 20, True)]
)
def test_the_linear_path_of_small_images_starts_at_least_squares_if_pairs_suffice(
    monkeypatch: pytest.MonkeyPatch, simulations: int | None, steps: int, is_set: bool
) -> None:
    """100 pairs for each of 8 inputs; of fresh ones twice the training's 16 a step, and their mirror images."""
    problem = line_problem(8)
    posterior = tiny(problem)
    monkeypatch.setattr(Plan, "epoch_steps", steps)
    fit(posterior, problem, **SMALL | {"simulations": simulations, "epochs": 1, "batch_size": 16})
    regression: Any = posterior.summary_network.regression
    assert bool(regression.weight.any()) == is_set


@pytest.mark.parametrize(("steps", "size"), [(10, 320), (8191, 262_112), (8192, 262_144), (10**6, 262_144)])
def test_the_first_look_is_twice_the_training_up_to_a_cap(steps: int, size: int) -> None:
    plan: Any = SimpleNamespace(steps=steps, batch_size=16)
    assert first_look_size(tiny(line_problem(8)), plan) == size


def test_the_first_look_holds_each_pair_and_its_mirror_image(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = line_problem(8)
    posterior = tiny(problem)
    monkeypatch.setattr(first_look_module, "_BATCH", 3)
    done: list[int] = []
    found = list(first_look(problem, posterior, 5, (2,), seed=0, advance=done.append))
    once = simulate_bank(problem, posterior.summary, 5, derived_seed(0, "first look"), affine=posterior.affine)
    for i, one in enumerate((once.x, once.c)):
        for batch, part in zip(found, (one[:3], one[3:]), strict=True):
            assert torch.equal(batch[i], torch.cat([part, part.flip(2)]))
    assert done == [3, 2]
