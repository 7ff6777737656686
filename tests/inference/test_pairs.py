"""Stored sets of pairs: what was simulated, with its operator and no other's, whoever simulated it."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pylops
import pytest
import torch
import xarray as xr
from toy_problems import GaussianPrior, Matrix, blur, dense_problem, line_problem

from bayesinv.inference import Problem, load_pairs, load_problem, pairs, simulate
from bayesinv.physics import ForwardModel, GaussianNoise, from_pylops


def bytes_of(folder: Path) -> dict[str, str]:
    """The digest of each file of a store."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("make", [line_problem, dense_problem])
def test_what_is_stored_is_what_is_simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: object) -> None:
    monkeypatch.setattr(pairs, "_CHUNK", 4)
    problem: Problem = make()  # type: ignore[operator]
    seen: list[int] = []
    path = simulate(problem, 10, seed=5, out=tmp_path / "pairs.zarr", advance=seen.append)
    assert seen == [4, 4, 2]
    for found, expected in zip(load_pairs(path, problem), problem.sample(10, seed=5), strict=True):
        assert found.dtype == torch.float32
        assert torch.allclose(found, expected, atol=1e-5)


def test_the_store_reads_as_labelled_arrays(tmp_path: Path) -> None:
    path = simulate(line_problem(), 3, seed=5, out=tmp_path / "pairs.zarr")
    with xr.open_zarr(path, consolidated=False) as dataset:
        assert dataset["x"].dims[0] == "simulation"
        assert dataset["x"].dims[-1] == "image_x"
        np.testing.assert_array_equal(dataset["image_x"], line_problem().forward.model_axes[0].coordinates)
        assert dataset["x"].attrs["units"] == "kg/m3"
        assert dataset["sigma"].shape == (3,)
        record = json.loads(dataset.attrs["bayesinv_record"])
    assert record["seed"] == 5
    assert record["operator"] == line_problem().forward.fingerprint()
    assert record["versions"]["torch"] == torch.__version__


def test_complex_data_are_stored(tmp_path: Path) -> None:
    forward = ForwardModel(from_pylops(pylops.signalprocessing.FFT(16, real=False)), GaussianNoise(0.1))
    problem = Problem(GaussianPrior((1, 16), torch.eye(16)), forward)
    path = simulate(problem, 3, seed=0, out=tmp_path / "pairs.zarr")
    _, y, _ = load_pairs(path, problem)
    assert y.dtype == torch.complex64
    assert torch.allclose(y, problem.sample(3, seed=0)[1])


def test_a_killed_job_goes_on_and_ends_with_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "_CHUNK", 4)
    whole = simulate(line_problem(), 18, seed=5, out=tmp_path / "whole.zarr")
    problem, calls = line_problem(), []

    class Killed(BaseException):
        pass

    def until_the_third(count: int, seed: int, *, start: int = 0) -> tuple[torch.Tensor, ...]:
        calls.append(start)
        if len(calls) == 4:  # one call looks at the dtypes
            raise Killed
        return Problem.sample(problem, count, seed, start=start)

    monkeypatch.setattr(problem, "sample", until_the_third)
    with pytest.raises(Killed):
        simulate(problem, 18, seed=5, out=tmp_path / "pairs.zarr")
    with pytest.raises(ValueError, match="without 10 of its pairs; simulate again"):
        load_pairs(tmp_path / "pairs.zarr", line_problem())
    seen: list[int] = []
    path = simulate(line_problem(), 18, seed=5, out=tmp_path / "pairs.zarr", advance=seen.append)
    assert seen == [8, 4, 4, 2]
    assert bytes_of(path) == bytes_of(whole)
    assert simulate(line_problem(), 18, seed=5, out=path, advance=seen.append) == path
    assert seen[-1] == 18
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def test_a_chunk_that_was_written_in_part_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill between the files of a chunk leaves images without noise levels: not done."""
    monkeypatch.setattr(pairs, "_CHUNK", 4)
    path = simulate(line_problem(), 10, seed=5, out=tmp_path / "pairs.zarr")
    before = bytes_of(path)
    (path / "sigma" / "c" / "1").unlink()
    (path / "y" / "c" / "1" / "0" / "0").write_bytes(b"half")
    simulate(line_problem(), 10, seed=5, out=path)
    assert bytes_of(path) == before


@pytest.mark.slow
def test_bytes_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    problem = load_problem("photoacoustic-line", size=16)
    stores = [
        simulate(problem, 200, seed=1, out=tmp_path / f"{workers}.zarr", workers=workers) for workers in (1, 2, 3)
    ]
    assert len(bytes_of(stores[0])) == 4 * 3 + 4 + 4 + 4  # chunks; arrays, axes and their chunks, the group
    assert bytes_of(stores[1]) == bytes_of(stores[0])
    assert bytes_of(stores[2]) == bytes_of(stores[0])


JOB = """
from bayesinv.inference import load_problem, simulate
if __name__ == "__main__":
    simulate(load_problem("photoacoustic-line", size=32), 1600, seed=1, out={out!r}, workers=2)
"""


@pytest.mark.slow
def test_a_real_kill_of_two_workers_loses_no_finished_chunk(tmp_path: Path) -> None:
    store = tmp_path / "pairs.zarr"
    (tmp_path / "job.py").write_text(JOB.format(out=str(store)))
    job = subprocess.Popen([sys.executable, str(tmp_path / "job.py")], start_new_session=True)
    deadline = time.monotonic() + 240
    while len(list(store.glob("sigma/c/*"))) < 3 and job.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert job.poll() is None, "the job ended before it could be killed"
    import os
    import signal

    os.killpg(job.pid, signal.SIGKILL)
    job.wait()
    done = [path for path in store.glob("sigma/c/*") if not path.name.endswith(".partial")]
    assert 3 <= len(done) < 25
    times = {path.name: path.stat().st_mtime_ns for path in done}
    problem = load_problem("photoacoustic-line", size=32)
    simulate(problem, 1600, seed=1, out=store)
    assert {name: (store / "sigma" / "c" / name).stat().st_mtime_ns for name in times} == times
    fresh = simulate(problem, 1600, seed=1, out=tmp_path / "fresh.zarr")
    kept = {name: digest for name, digest in bytes_of(store).items() if not name.endswith(".partial")}
    assert kept == bytes_of(fresh)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="needs the extra 'cluster'")
def test_a_cluster_is_given_by_its_address(tmp_path: Path) -> None:
    from distributed import LocalCluster

    problem = load_problem("photoacoustic-line", size=16)
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None, processes=False) as cluster:
        store = simulate(problem, 130, seed=1, out=tmp_path / "pairs.zarr", workers=cluster.scheduler_address)
    assert bytes_of(store) == bytes_of(simulate(problem, 130, seed=1, out=tmp_path / "here.zarr"))


def test_another_set_at_the_place_is_refused_and_named(tmp_path: Path) -> None:
    path = simulate(line_problem(), 3, seed=5, out=tmp_path / "pairs.zarr")
    before = bytes_of(path)
    with pytest.raises(ValueError, match=r"got another \(seed differ\)"):
        simulate(line_problem(), 3, seed=6, out=path)
    with pytest.raises(ValueError, match=r"got another \(simulations differ\)"):
        simulate(line_problem(), 4, seed=5, out=path)
    assert bytes_of(path) == before
    (tmp_path / "file.zarr").write_text("something")
    with pytest.raises(ValueError, match="expected a store of pairs"):
        simulate(line_problem(), 3, seed=5, out=tmp_path / "file.zarr")


def test_pairs_of_another_operator_are_refused(tmp_path: Path) -> None:
    path = simulate(line_problem(), 3, seed=5, out=tmp_path / "pairs.zarr")
    other = ForwardModel(Matrix(blur(16, 0.5), (1, 16), (1, 16)), GaussianNoise(0.1))
    with pytest.raises(ValueError, match="expected pairs of the operator"):
        load_pairs(path, Problem(line_problem().prior, other))


def test_damaged_or_missing_stores_are_told(tmp_path: Path) -> None:
    path = simulate(line_problem(), 3, seed=5, out=tmp_path / "pairs.zarr")
    chunk = next(file for file in (path / "x" / "c").rglob("*") if file.is_file())
    chunk.write_bytes(chunk.read_bytes()[:20])
    with pytest.raises(ValueError, match="truncated or damaged"):
        load_pairs(path, line_problem())
    with pytest.raises(FileNotFoundError):
        load_pairs(tmp_path / "none.zarr", line_problem())


@pytest.mark.parametrize("workers", [0, -1, True, 1.5])
def test_bad_requests_are_refused(tmp_path: Path, workers: object) -> None:
    with pytest.raises(ValueError, match=r"ends in \.zarr"):
        simulate(line_problem(), 3, seed=5, out=tmp_path / "pairs.nc")
    with pytest.raises(ValueError, match="one worker or more"):
        simulate(line_problem(), 3, seed=5, out=tmp_path / "pairs.zarr", workers=workers)  # type: ignore[arg-type]
    assert not (tmp_path / "pairs.zarr").exists()
    with pytest.raises(ValueError, match="one pair or more"):
        simulate(line_problem(), 0, seed=5, out=tmp_path / "none.zarr")


def test_every_chunk_is_stored_even_one_of_zeros(tmp_path: Path) -> None:
    class Nothing:
        shape = (1, 16)

        def sample(self, n: int, seed: int, *, start: int = 0) -> torch.Tensor:
            return torch.zeros(n, 1, 16)

    forward = ForwardModel(Matrix(blur(16, 0.5), (1, 16), (1, 16)), GaussianNoise(0.1, relative=False))
    problem = Problem(Nothing(), forward)
    x, _, sigma = load_pairs(simulate(problem, 3, seed=0, out=tmp_path / "pairs.zarr"), problem)
    assert float(x.abs().max()) == 0.0
    np.testing.assert_allclose(sigma.numpy(), 0.1)
