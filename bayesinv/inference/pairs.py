"""Stored sets of simulated pairs: made in parallel, resumed after a kill, the same bytes whatever the workers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bayesinv.inference.pair_store import create_store, missing_chunks, read_arrays, read_record, write_chunk
from bayesinv.inference.parallel import check_workers, run_each
from bayesinv.inference.problem import Problem

__all__ = ["load_pairs", "simulate"]

_CHUNK = 64


def simulate(
    problem: Problem,
    n: int,
    *,
    seed: int,
    out: str | os.PathLike[str],
    workers: int | str = 1,
    advance: Callable[[int], None] | None = None,
) -> Path:
    """Simulates ``n`` pairs into a Zarr store; pair ``i`` depends on ``(seed, i)`` only.

    The same call on a store that was left unfinished goes on where it stopped, and does nothing on a finished one. The
    bytes of the store do not depend on the number of workers: each computes whole chunks of 64 pairs on one thread.

    Args:
        problem: the simulator.
        n: how many.
        seed: of the pairs.
        out: folder to write, its name ends in ``.zarr``; on a cluster, one that all workers see.
        workers: 1 for this process, a number of local processes, or the address of a Dask scheduler
            (``"tcp://host:port"``, extra ``cluster``). A script that asks for several processes needs
            ``if __name__ == "__main__":``.
        advance: called with the number of pairs done since the last call.

    Returns:
        The path.

    Raises:
        ValueError: if ``n`` or ``workers`` is below 1, the name does not end in ``.zarr``, or there is something else
            at the path, such as another set.
        ImportError: for an address without the package ``distributed``.
    """
    path = Path(out)
    if path.suffix != ".zarr":
        raise ValueError(f"expected a name that ends in .zarr for a store of pairs, got {path}")
    if n < 1:
        raise ValueError(f"expected one pair or more, got {n}")
    check_workers(workers)
    record = _record(problem, n, seed)
    if path.exists():
        _check_same(read_record(path), record, path)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        create_store(path, problem.forward, n, _CHUNK, problem.sample(1, seed), record)
    missing = missing_chunks(path)
    report = advance or (lambda _: None)
    present = n - sum(stop - start for start, stop in missing)
    if present:
        report(present)
    tasks = [(problem, str(path), seed, start, stop) for start, stop in missing]
    run_each(_simulate_chunk, tasks, workers=workers, advance=report)
    return path


def load_pairs(path: str | os.PathLike[str], problem: Problem) -> tuple[Tensor, Tensor, Tensor]:
    """``(x, y, sigma)`` of a stored set.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is unfinished, damaged, or of another operator.
    """
    record = read_record(Path(path))
    if record["operator"] != problem.forward.fingerprint():
        raise ValueError(
            f"expected pairs of the operator {problem.forward.fingerprint()}, got {path} of {record['operator']}"
        )
    x, y, sigma = (torch.from_numpy(array) for array in read_arrays(Path(path), slice(None)))
    return x, y, sigma


def _simulate_chunk(problem: Problem, path: str, seed: int, start: int, stop: int) -> int:
    with _one_thread():
        write_chunk(Path(path), start, problem.sample(stop - start, seed, start=start))
    return stop - start


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums are rounded by how they are shared among threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _record(problem: Problem, n: int, seed: int) -> dict[str, Any]:
    """What tells one set from another: where it comes from, and nothing of when and where it was made."""
    prior = problem.prior
    return {
        "problem": problem.name,
        "parameters": problem.parameters,
        "operator": problem.forward.fingerprint(),
        "prior": {"name": type(prior).__name__, "parameters": getattr(prior, "parameters", None)},
        "seed": seed,
        "simulations": n,
        "versions": {name: version(name) for name in ("bayesinv", "numpy", "scipy", "torch")},
    }


def _check_same(found: dict[str, Any], wanted: dict[str, Any], path: Path) -> None:
    import json

    wanted = json.loads(json.dumps(wanted))
    other = sorted(key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key))
    if other:
        raise ValueError(
            f"expected nothing, or the beginning of the same set, at {path}, got another ({', '.join(other)} differ)"
        )
