"""Stored sets of pairs: what was simulated, with its operator, and no other's."""

from __future__ import annotations

from pathlib import Path

import pylops
import pytest
import torch
import xarray as xr
from toy_problems import GaussianPrior, Matrix, blur, dense_problem, line_problem

from bayesinv.inference import Problem, load_pairs, pairs, simulate
from bayesinv.physics import ForwardModel, GaussianNoise, from_pylops


@pytest.mark.parametrize("make", [line_problem, dense_problem])
def test_what_is_stored_is_what_is_simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: object) -> None:
    monkeypatch.setattr(pairs, "_CHUNK", 4)
    problem: Problem = make()  # type: ignore[operator]
    seen: list[int] = []
    path = simulate(problem, 10, seed=5, out=tmp_path / "pairs.nc", advance=seen.append)
    assert seen == [4, 4, 2]
    for found, expected in zip(load_pairs(path, problem), problem.sample(10, seed=5), strict=True):
        assert found.dtype == torch.float32
        assert torch.allclose(found, expected, atol=1e-5)


def test_the_file_reads_as_labelled_arrays(tmp_path: Path) -> None:
    path = simulate(line_problem(), 3, seed=5, out=tmp_path / "pairs.nc")
    with xr.open_dataset(path) as dataset:
        assert dataset["x"].dims[0] == "simulation"
        assert "x" in dataset["x"].dims
        assert dataset["x"].attrs["units"] == "kg/m3"
        assert dataset["sigma"].shape == (3,)


def test_pairs_of_another_operator_are_refused(tmp_path: Path) -> None:
    path = simulate(line_problem(), 3, seed=5, out=tmp_path / "pairs.nc")
    other = ForwardModel(Matrix(blur(16, 0.5), (1, 16), (1, 16)), GaussianNoise(0.1))
    with pytest.raises(ValueError, match="expected pairs of the operator"):
        load_pairs(path, Problem(line_problem().prior, other))


def test_damaged_or_missing_files_are_told(tmp_path: Path) -> None:
    path = simulate(line_problem(), 3, seed=5, out=tmp_path / "pairs.nc")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="pairs"):
        load_pairs(path, line_problem())
    with pytest.raises(FileNotFoundError):
        load_pairs(tmp_path / "none.nc", line_problem())


def test_complex_data_are_refused_before_they_are_simulated(tmp_path: Path) -> None:
    forward = ForwardModel(from_pylops(pylops.signalprocessing.FFT(16, real=False)), GaussianNoise(0.1))
    with pytest.raises(ValueError, match="expected real data to store"):
        simulate(Problem(GaussianPrior((1, 16), torch.eye(16)), forward), 3, seed=0, out=tmp_path / "pairs.nc")
