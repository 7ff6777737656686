"""Stored sets of simulated pairs: a netCDF file with ``x``, ``y``, ``sigma``, their axes and their provenance."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch
import xarray as xr
from torch import Tensor

from bayesinv.inference.netcdf import load_dataset, save_dataset
from bayesinv.inference.problem import Problem
from bayesinv.inference.samples import labelled

__all__ = ["load_pairs", "simulate"]

_CHUNK = 64


def simulate(
    problem: Problem,
    n: int,
    *,
    seed: int,
    out: str | os.PathLike[str],
    advance: Callable[[int], None] | None = None,
) -> Path:
    """Simulates ``n`` pairs and stores them; pair ``i`` depends on ``(seed, i)`` only.

    Args:
        problem: the simulator.
        n: how many.
        seed: of the pairs.
        out: file to write (netCDF), atomically.
        advance: called with the number of pairs done.

    Returns:
        The path.
    """
    chunks = []
    for start in range(0, n, _CHUNK):
        chunks.append(problem.sample(min(_CHUNK, n - start), seed, start=start))
        if advance is not None:
            advance(len(chunks[-1][0]))
    x, y, sigma = (torch.cat(column).cpu().numpy() for column in zip(*chunks, strict=True))
    if y.dtype.kind == "c":
        raise ValueError("expected real data to store in netCDF, got complex data")
    forward, lead = problem.forward, ("simulation",)
    model = labelled(x, forward.model_axes, leading=lead, quantity=forward.quantity, unit=forward.unit)
    data = labelled(y, forward.data_axes, leading=lead, quantity=forward.data_quantity, unit=forward.data_unit)
    renames = {axis.name: f"data_{axis.name}" for axis in forward.data_axes} | {"channel": "data_channel"}
    dataset = xr.Dataset(
        {"x": model, "y": data.rename(renames), "sigma": xr.DataArray(sigma, dims=lead)},
    )
    record = {
        "problem": problem.name,
        "parameters": problem.parameters,
        "operator": forward.fingerprint(),
        "seed": seed,
        "simulations": n,
    }
    return save_dataset(dataset, out, kind="pairs", record=record)


def load_pairs(path: str | os.PathLike[str], problem: Problem) -> tuple[Tensor, Tensor, Tensor]:
    """``(x, y, sigma)`` of a stored set.

    Raises:
        ValueError: if the file is damaged, or of another operator.
    """
    dataset, record = load_dataset(path, kind="pairs")
    if record["operator"] != problem.forward.fingerprint():
        raise ValueError(
            f"expected pairs of the operator {problem.forward.fingerprint()}, got {path} of {record['operator']}"
        )
    x, y, sigma = (torch.from_numpy(dataset[name].to_numpy()) for name in ("x", "y", "sigma"))
    return x, y, sigma
