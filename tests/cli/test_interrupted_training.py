"""Training that is stopped, killed or runs out of disk loses nothing: the same command ends with the same weights."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from typer.testing import CliRunner

from bayesinv.cli import app
from bayesinv.inference import files

FIT = ["fit", "deblur", "--set", "size=16", "--simulations", "160", "--batch-size", "16", "--epochs", "6", "--steps",
       "1", "--validation", "8", "--checkpoint-steps", "10", "--device", "cpu", "--out"]  # fmt: skip
STEPS = 60


def start(out: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", "from bayesinv.cli import app; app()", *FIT, str(out)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finished(out: Path) -> None:
    process = start(out)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 0, said


def weights(file: Path) -> dict[str, torch.Tensor]:
    with safe_open(file, framework="pt") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a dict)


def stopped_by(number: int, out: Path) -> tuple[int, str]:
    """Exit code and standard error of a training that got a signal after its first checkpoint."""
    process = start(out)
    deadline = time.monotonic() + 120
    while not (out / "checkpoint.safetensors").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"no checkpoint came: {process.communicate()}")
        time.sleep(0.005)
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert not (out / "posterior.bayesinv").exists(), "the training was over before the signal came"
    return process.returncode, " ".join(said.split())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    finished(out)
    return out


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_training_ends_with_the_same_weights(number: int, undisturbed: Path, tmp_path: Path) -> None:
    code, said = stopped_by(number, tmp_path)
    if number == signal.SIGINT:
        assert code == 130
        assert "the same command goes on from step" in said
        assert "Traceback" not in said
    else:
        assert code == -signal.SIGKILL
    finished(tmp_path)
    found, wanted = (weights(folder / "posterior.bayesinv") for folder in (tmp_path, undisturbed))
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    found, wanted = (weights(folder / "checkpoint.safetensors") for folder in (tmp_path, undisturbed))
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, flushed = os.fsync, []

    def full(handle: int) -> None:
        flushed.append(handle)
        if len(flushed) > 4:  # the try of the folder, two checkpoints and a history
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    monkeypatch.setattr(files.os, "fsync", full)
    result = CliRunner().invoke(app, [*FIT, str(tmp_path)])
    assert result.exit_code == 2
    assert "No space left on device" in result.output
    assert "the former file is as it was" in result.output
    monkeypatch.undo()
    kept = files.read_tensors(tmp_path / "checkpoint.safetensors", "a checkpoint")[1]
    assert 0 < kept["step"] < STEPS
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.safetensors", "history.json"]
