"""Run folders: made ready, recognised when finished, refused when they hold another run."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bayesinv.inference.checkpoint import NAME, refuse_other_settings
from bayesinv.inference.files import atomic_bytes, read_posterior
from bayesinv.inference.history import History

__all__ = ["finished_run", "prepare_run", "provenance"]

_PACKAGES = ("bayesinv", "torch", "numpy", "scipy", "pylops", "xarray", "lightning-fabric")


def prepare_run(out: str | Path | None, *, restart: bool) -> Path | None:
    """Makes the folder and tries to write into it, before any long work.

    Raises:
        OSError: if it cannot be made or written.
    """
    if out is None:
        return None
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        text = f"expected an output folder that can be made, got {folder}: {error.strerror}"
        raise OSError(error.errno, text) from error
    atomic_bytes(folder / ".writable", b"")
    (folder / ".writable").unlink()
    if restart:
        for name in (NAME, "history.json", "posterior.bayesinv"):
            (folder / name).unlink(missing_ok=True)
    return folder


def finished_run(
    folder: Path | None, settings: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Any], History] | None:
    """Weights, record and history of a finished run with the same settings, or ``None``.

    Raises:
        ValueError: if a run with other settings is there.
    """
    if folder is None or not (folder / "posterior.bayesinv").exists():
        return None
    state, record = read_posterior(folder / "posterior.bayesinv")
    refuse_other_settings(folder, record.get("training", {}).get("settings", {}), settings)
    return state, record, History.load(folder / "history.json")


def provenance(device: Any) -> dict[str, Any]:
    """Versions, machine and command, for reports."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "versions": versions,
        "device": str(device),
        "threads": torch.get_num_threads(),
        "machine": f"{platform.system()} {platform.machine()}",
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }
