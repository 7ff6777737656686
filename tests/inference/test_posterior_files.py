"""A posterior's file: the same samples in another process; every damage and every other operator is told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_problems import Matrix, blur, line_problem, same_state, tiny

from bayesinv.inference import Posterior, Problem, load_problem
from bayesinv.inference.files import atomic_bytes, read_tensors, write_tensors
from bayesinv.physics import ForwardModel, GaussianNoise

ANOTHER_PROCESS = """
import sys, numpy, torch
torch.set_num_threads(1)
from bayesinv.inference import Posterior
posterior = Posterior.load(sys.argv[1])
samples = posterior(numpy.load(sys.argv[2])).sample(3, seed=4, refine=2)
numpy.save(sys.argv[3], samples.values.to_numpy())
"""


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Posterior, Path]:
    posterior = tiny(line_problem())
    with torch.no_grad():
        for parameter in posterior.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    posterior.temperature_.fill_(1.1)
    return posterior, posterior.save(tmp_path / "line.bayesinv")


def test_another_process_draws_the_same_samples(tmp_path: Path) -> None:
    problem = load_problem("deblur", size=8)
    posterior = tiny(problem)
    posterior.temperature_.fill_(1.1)
    _, y, _ = problem.sample(1, seed=0)
    np.save(tmp_path / "y.npy", y[0])
    path = posterior.save(tmp_path / "deblur.bayesinv")
    command = [sys.executable, "-W", "error", "-c", ANOTHER_PROCESS, path, tmp_path / "y.npy", tmp_path / "x.npy"]
    subprocess.run(command, check=True)
    here = posterior(y[0]).sample(3, seed=4, refine=2).values.to_numpy()
    assert np.allclose(np.load(tmp_path / "x.npy"), here, rtol=1e-5, atol=1e-5)


def test_what_is_loaded_is_what_was_saved(saved: tuple[Posterior, Path]) -> None:
    posterior, path = saved
    loaded = Posterior.load(path, problem=line_problem())
    assert same_state(loaded, posterior)
    assert loaded.record == json.loads(json.dumps(posterior.record))
    assert loaded.temperature == pytest.approx(1.1)
    assert not loaded.training
    again = loaded.save(path.with_name("again.bayesinv"))
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_refused(saved: tuple[Posterior, Path], share: float) -> None:
    _, path = saved
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match="expected a posterior file, got a truncated or foreign file"):
        Posterior.load(path, problem=line_problem())


@pytest.mark.parametrize("where", ["tensor", "record", "name"])
def test_an_altered_byte_is_noticed(saved: tuple[Posterior, Path], where: str) -> None:
    _, path = saved
    content = bytearray(path.read_bytes())
    at = {"tensor": len(content) - 5, "record": content.index(b"cgls"), "name": content.index(b"image_mean")}[where]
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"altered or damaged|truncated or foreign"):
        Posterior.load(path, problem=line_problem())


def test_an_edited_record_is_noticed(saved: tuple[Posterior, Path]) -> None:
    _, path = saved
    content = path.read_bytes()
    edited = content.replace(b'\\"seed\\": 0', b'\\"seed\\": 7')
    assert edited != content
    path.write_bytes(edited)
    with pytest.raises(ValueError, match="wrong checksum: it was altered or damaged"):
        Posterior.load(path, problem=line_problem())


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no posterior")
    with pytest.raises(ValueError, match="expected a posterior file"):
        Posterior.load(tmp_path / "notes.txt")
    write_tensors(tmp_path / "tensors", {"a": torch.zeros(2)}, {"format": "other"})
    with pytest.raises(ValueError, match="another kind of file"):
        Posterior.load(tmp_path / "tensors")
    for missing in (tmp_path / "none.bayesinv", tmp_path):
        with pytest.raises(FileNotFoundError, match="expected a posterior file, found no file"):
            Posterior.load(missing)


def test_a_problem_of_ones_own_must_be_given(saved: tuple[Posterior, Path]) -> None:
    with pytest.raises(ValueError, match=r"expected problem=\.\.\., since"):
        Posterior.load(saved[1])


def test_another_operator_is_refused(saved: tuple[Posterior, Path]) -> None:
    other = ForwardModel(Matrix(blur(16, 0.5), (1, 16), (1, 16)), GaussianNoise(0.1))
    with pytest.raises(ValueError, match=r"expected the operator .* this posterior was trained for"):
        Posterior.load(saved[1], problem=Problem(line_problem().prior, other))


def test_tensors_of_every_kind_come_back(tmp_path: Path) -> None:
    shared = torch.randn(3, 4)
    tensors = {
        "shared": shared, "again": shared, "view": shared[:, 1], "empty": torch.zeros(0, 2),
        "scalar": torch.tensor(2.0), "flag": torch.tensor(True), "half": torch.randn(5).bfloat16(),
        "count": torch.tensor([3]),
        "image": torch.randn(1, 2, 3, 4).contiguous(memory_format=torch.channels_last),
    }  # fmt: skip
    path = write_tensors(tmp_path / "t", tensors, {"n": [1, 2]})
    found, record = read_tensors(path, "tensors")
    assert record == {"n": [1, 2]}
    assert same_state(found, tensors)
    assert all(found[name].dtype == tensors[name].dtype for name in tensors)


def test_a_failing_write_leaves_the_former_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = atomic_bytes(tmp_path / "a", b"former")

    def replace(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", replace)
    with pytest.raises(OSError, match=r"cannot write .*No space left on device; the former file is as it was"):
        atomic_bytes(path, b"new")
    assert path.read_bytes() == b"former"
    assert [one.name for one in tmp_path.iterdir()] == ["a"]
    with pytest.raises(OSError, match=r"cannot write .*No such file or directory"):
        atomic_bytes(tmp_path / "none" / "a", b"new")
