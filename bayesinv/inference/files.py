"""Files that survive: atomic writes, safetensors with a JSON record and a checksum, nothing that runs when loaded."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = ["atomic_bytes", "read_posterior", "read_tensors", "write_posterior", "write_tensors"]

FORMAT = "bayesinv-posterior-1"


def atomic_bytes(path: str | os.PathLike[str], content: bytes) -> Path:
    """Writes a temporary file beside ``path``, flushes it to disk and renames it: never half a file.

    Raises:
        OSError: if the folder cannot be written or the disk is full; a former file is left as it was.
    """
    target = Path(path)
    handle, name = -1, ""
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, target)
    except OSError as error:
        if name and os.path.exists(name):
            os.unlink(name)
        kept = "; the former file is as it was" if target.exists() else ""
        raise OSError(error.errno, f"cannot write {target}: {error.strerror}{kept}") from error
    return target


def write_tensors(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> Path:
    """Tensors as safetensors, with a JSON record and a checksum of both in the metadata."""
    from safetensors.torch import save

    rows_first = torch.contiguous_format
    plain = {name: tensor.detach().cpu().clone(memory_format=rows_first) for name, tensor in tensors.items()}
    text = json.dumps(record, sort_keys=True)
    # one entry: safetensors writes several in a random order, and the same tensors are to give the same bytes
    return atomic_bytes(path, save(plain, metadata={"record": f"{_checksum(plain, text)} {text}"}))


def read_tensors(path: str | os.PathLike[str], what: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write_tensors` wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is truncated, altered, or of another kind.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"expected {what}, found no file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        raise ValueError(f"expected {what}, got a truncated or foreign file {path}: {error}") from error
    checksum, _, text = metadata.get("record", "").partition(" ")
    if not text or checksum != _checksum(tensors, text):
        raise ValueError(f"expected {what}, got {path} with a wrong checksum: it was altered or damaged")
    return tensors, json.loads(text)


def write_posterior(path: str | os.PathLike[str], state: Mapping[str, Tensor], record: Mapping[str, Any]) -> Path:
    """One posterior, one file."""
    return write_tensors(path, state, {"format": FORMAT, **record})


def read_posterior(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write_posterior` wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is truncated, altered, or no posterior.
    """
    state, record = read_tensors(path, "a posterior file")
    if record.pop("format", None) != FORMAT:
        raise ValueError(f"expected a posterior file of format {FORMAT}, got another kind of file {path}")
    return state, record


def _checksum(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
