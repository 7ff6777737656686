"""`fit` repeats itself to the bit: the same twice, stopped and resumed, from stored pairs; runs are told apart."""

from __future__ import annotations

import errno
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_problems import line_problem, same_state, tiny

from bayesinv.inference import History, Posterior, Problem, files, fit, simulate, training
from bayesinv.inference.bank import derived_seed
from bayesinv.inference.plan import Plan

SMALL: dict[str, Any] = {
    "simulations": 64, "epochs": 4, "batch_size": 16, "validation": 6, "checkpoint_steps": 3, "seed": 3,
    "show_progress": False, "device": "cpu",
}  # fmt: skip


Trained = tuple[Posterior, History]


class Killed(BaseException):
    """What a test raises in the middle of a training."""


def problem() -> Problem:
    return line_problem(8)


def trained(out: Path | None = None, **changes: Any) -> Trained:
    posterior = tiny(problem())
    history = fit(posterior, problem(), out=out, **SMALL | changes)
    return posterior, history


@pytest.fixture(scope="module")
def usual() -> Trained:
    """An undisturbed run, without a folder."""
    return trained()


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int, action: Any) -> None:
    """Does `action` before the given step."""
    step_of = training._Run._step

    def stepping(self: Any, objective: Any, optimizer: Any, bank: Any, state: Any) -> Any:
        if state.step == step:
            action()
        return step_of(self, objective, optimizer, bank, state)

    monkeypatch.setattr(training._Run, "_step", stepping)


def die() -> None:
    raise Killed


def rows(history: History) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in history.to_dict()["rows"]]


def test_the_same_settings_give_the_same_weights(usual: Trained) -> None:
    (one, first), (other, second) = usual, trained()
    assert same_state(one, other)
    assert rows(first) == rows(second)
    assert not same_state(one, trained(seed=4)[0])


@pytest.mark.parametrize(("step", "simulations"), [(2, 64), (4, 64), (7, 64), (15, 64), (7, None)])
def test_a_killed_run_goes_on_as_if_undisturbed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, usual: Trained, step: int, simulations: int | None
) -> None:
    """Killed before any checkpoint, in the head's phase (5 of the 16 steps), and twice in the joint one."""
    if simulations is None:
        monkeypatch.setattr(Plan, "epoch_steps", 8)  # enough for the linear path
    expected, undisturbed = usual if simulations else trained(simulations=None)
    with monkeypatch.context() as patch:
        stop_at(patch, step, die)
        with pytest.raises(Killed):
            trained(tmp_path, simulations=simulations)
    assert (tmp_path / "checkpoint.safetensors").exists() == (step >= 3)
    assert not (tmp_path / "posterior.bayesinv").exists()
    seen: list[int] = []
    with monkeypatch.context() as patch:
        step_of = training._Run._step
        patch.setattr(training._Run, "_step", lambda *args: (seen.append(args[-1].step), step_of(*args))[1])
        patch.setattr(training, "first_look", lambda *_, **__: pytest.fail("looked again"))
        found, history = trained(tmp_path, simulations=simulations)
    assert seen[0] == 3 * (step // 3)
    assert simulations or bool(found.summary_network.regression.weight.any())  # type: ignore[union-attr]
    assert same_state(found, expected)
    assert rows(history) == rows(undisturbed)
    assert same_state(Posterior.load(tmp_path / "posterior.bayesinv", problem=problem()), expected)


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, usual: Trained) -> None:
    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        stop_at(patch, 7, lambda: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt, match="step 8 of 16; the same command goes on from step 8"):
            trained(tmp_path)
    assert signal.getsignal(signal.SIGINT) is handler
    assert same_state(trained(tmp_path)[0], usual[0])


def test_a_finished_run_is_reused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, usual: Trained) -> None:
    expected, undisturbed = trained(tmp_path)
    assert same_state(expected, usual[0])
    monkeypatch.setattr(training._Run, "__init__", lambda *_: pytest.fail("trained again"))
    found, history = trained(tmp_path)
    assert same_state(found, expected)
    assert not found.training
    assert history.to_dict() == undisturbed.to_dict()
    assert found.record == json.loads(json.dumps(expected.record))


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"learning_rate": 1e-3}, "learning_rate"),
        ({"target_noise": (0.3, 0.1)}, "target_noise"),
        ({"epochs": 5}, "epochs"),
    ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_other_settings_are_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: bool, changes: dict[str, Any], name: str
) -> None:
    if finished:
        trained(tmp_path)
    else:
        with monkeypatch.context() as patch:
            stop_at(patch, 4, die)
            with pytest.raises(Killed):
                trained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=f"another {name} .*restart"):
        trained(tmp_path, **changes)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_another_architecture_is_refused_and_restart_throws_the_run_away(tmp_path: Path) -> None:
    trained(tmp_path)
    other = tiny(problem(), steps=2)
    with pytest.raises(ValueError, match=r"another architecture .*restart"):
        fit(other, problem(), out=tmp_path, **SMALL)
    fit(other, problem(), out=tmp_path, restart=True, **SMALL)
    assert same_state(Posterior.load(tmp_path / "posterior.bayesinv", problem=problem()), other)


def test_stored_pairs_train_as_simulated_ones(tmp_path: Path, usual: Trained) -> None:
    path = simulate(problem(), 64, seed=derived_seed(SMALL["seed"], "training"), out=tmp_path / "pairs.zarr")
    found, _ = trained(tmp_path / "run", simulations=path)
    assert same_state(found, usual[0])
    assert found.record["training"]["settings"]["pairs"] == str(path)


def test_a_full_disk_leaves_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, usual: Trained
) -> None:
    def full() -> None:
        def fsync(_: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(files.os, "fsync", fsync)

    with monkeypatch.context() as patch:
        stop_at(patch, 7, full)
        with pytest.raises(OSError, match="No space left on device; the former file is as it was") as caught:
            trained(tmp_path)
    assert caught.value.errno == errno.ENOSPC
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.safetensors", "history.json"]
    monkeypatch.undo()
    assert same_state(trained(tmp_path)[0], usual[0])


def test_a_damaged_checkpoint_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        stop_at(patch, 7, die)
        with pytest.raises(Killed):
            trained(tmp_path)
    checkpoint = tmp_path / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-50])
    with pytest.raises(ValueError, match="expected a checkpoint, got a truncated or foreign file"):
        trained(tmp_path)


def test_a_folder_that_cannot_be_written_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(training._Run, "__init__", lambda *_: pytest.fail("worked"))
    with pytest.raises(OSError, match="expected an output folder that can be made"):
        trained(tmp_path / "file" / "run")


def test_torchs_own_generator_is_left_alone(tmp_path: Path) -> None:
    state = torch.get_rng_state()
    posterior, _ = trained(tmp_path)
    posterior(problem().sample(1, 0)[1][0]).sample(3)
    Posterior.load(tmp_path / "posterior.bayesinv", problem=problem())
    assert torch.equal(torch.get_rng_state(), state)
