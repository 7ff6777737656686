"""The same function of many arguments: here, in processes of this machine, or on a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["check_workers", "run_each"]


def run_each(
    function: Callable[..., Any],
    arguments: Sequence[tuple[Any, ...]],
    *,
    workers: int | str,
    advance: Callable[[Any], None],
) -> None:
    """Calls ``function(*arguments[i])`` for every ``i``, in no promised order.

    Args:
        function: of a module, so that other processes find it.
        arguments: one tuple for each call.
        workers: 1 for a loop in this process; a larger number for as many processes (Dask's local scheduler; a script
            that asks for them stands under ``if __name__ == "__main__":``); or the address of a Dask scheduler, such as
            ``"tcp://10.0.0.5:8786"``.
        advance: called here with each result.

    Raises:
        ValueError: for a number of workers below 1.
        ImportError: for an address without the package ``distributed``.
    """
    check_workers(workers)
    if isinstance(workers, str):
        _on_cluster(function, arguments, workers, advance)
    elif workers == 1 or len(arguments) < 2:
        for one in arguments:
            advance(function(*one))
    else:
        _in_processes(function, arguments, workers, advance)


def check_workers(workers: int | str) -> None:
    """Raise a ValueError unless ``workers`` is a whole number from 1 or an address."""
    if isinstance(workers, str):
        return
    if isinstance(workers, bool) or int(workers) != workers or workers < 1:
        raise ValueError(f"expected one worker or more, or the address of a Dask scheduler, got {workers!r}")


def _in_processes(
    function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], workers: int, advance: Callable[[Any], None]
) -> None:
    from dask.base import compute
    from dask.callbacks import Callback
    from dask.delayed import delayed

    def done(key: Any, result: Any, *_: Any) -> None:
        advance(result)

    tasks = [delayed(function, pure=False)(*one) for one in arguments]
    with Callback(posttask=done):  # type: ignore[no-untyped-call]
        compute(*tasks, scheduler="processes", num_workers=min(workers, len(tasks)), chunksize=1)  # type: ignore[no-untyped-call]


def _on_cluster(
    function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], address: str, advance: Callable[[Any], None]
) -> None:
    try:
        from distributed import Client, as_completed
    except ImportError as error:
        raise ImportError(f"a Dask cluster ({address}) needs a package: pip install 'bayesinv[cluster]'") from error
    with Client(address) as client:  # type: ignore[no-untyped-call, unused-ignore]
        futures = [client.submit(function, *one, pure=False) for one in arguments]
        for future in as_completed(futures):  # type: ignore[no-untyped-call, unused-ignore]
            advance(future.result())
