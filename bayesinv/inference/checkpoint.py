"""Checkpoints of a training: weights, their average, the best, and Adam's moments in one safetensors file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bayesinv.inference.files import read_tensors, write_tensors
from bayesinv.inference.history import History

__all__ = ["Checkpoint", "has_checkpoint", "laid_out_like", "load_checkpoint", "save_checkpoint"]

NAME = "checkpoint.safetensors"


@dataclass
class Checkpoint:
    """What a training carries from step to step besides weights and optimizer."""

    step: int
    average: dict[str, Tensor]
    best: dict[str, Tensor]
    history: History
    best_loss: float = math.inf
    best_step: int = 0
    stopped: bool = False


def save_checkpoint(
    folder: Path | None,
    settings: Mapping[str, Any],
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: Checkpoint,
) -> None:
    """Writes the checkpoint, atomically; a failing write leaves the last good one.

    Raises:
        OSError: if it cannot be written.
    """
    if folder is None:
        return
    tensors = {f"weights/{name}": tensor for name, tensor in module.state_dict().items()}
    tensors |= {f"average/{name}": tensor for name, tensor in state.average.items()}
    tensors |= {f"best/{name}": tensor for name, tensor in state.best.items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"adam/{index}/{name}": torch.as_tensor(value) for name, value in moments.items()}
    record = {
        "settings": settings,
        "step": state.step,
        "best_loss": state.best_loss if math.isfinite(state.best_loss) else None,
        "best_step": state.best_step,
        "stopped": state.stopped,
        "history": state.history.to_dict(),
    }
    write_tensors(folder / NAME, tensors, record)


def load_checkpoint(
    folder: Path | None,
    settings: Mapping[str, Any],
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: Checkpoint,
) -> None:
    """Takes up the checkpoint of a folder, if there is one, in place.

    Raises:
        ValueError: if it is damaged, or of a run with other settings (the message names ``restart``).
    """
    if folder is None or not has_checkpoint(folder):
        return
    tensors, record = read_tensors(folder / NAME, "a checkpoint")
    refuse_other_settings(folder, record["settings"], settings)
    groups: dict[str, dict[str, Tensor]] = {"weights": {}, "average": {}, "best": {}, "adam": {}}
    for name, tensor in tensors.items():
        group, rest = name.split("/", 1)
        groups[group][rest] = tensor
    module.load_state_dict(groups["weights"])
    device = next(module.parameters()).device
    state.average = {name: tensor.to(device) for name, tensor in groups["average"].items()}
    state.best = {name: tensor.to(device) for name, tensor in groups["best"].items()}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in groups["adam"].items():
        index, key = name.split("/")
        moments.setdefault(int(index), {})[key] = laid_out_like(parameters[int(index)], tensor)
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    state.step, state.best_step, state.stopped = record["step"], record["best_step"], record["stopped"]
    state.best_loss = math.inf if record["best_loss"] is None else record["best_loss"]
    state.history = History.from_dict(record["history"])


def has_checkpoint(folder: Path | None) -> bool:
    """Whether there is a checkpoint to go on from."""
    return folder is not None and (folder / NAME).exists()


def laid_out_like(parameter: Tensor, other: Tensor) -> Tensor:
    """A gradient or moment in the memory layout of its parameter: fused Adam runs through all as they lie in memory."""
    if other.shape != parameter.shape or other.stride() == parameter.stride():
        return other
    return torch.empty_like(parameter).copy_(other)


def refuse_other_settings(folder: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raises ValueError where a folder holds a run with other settings, and names them."""
    wanted = json.loads(json.dumps(wanted))  # a file has lists where the settings have tuples
    other = sorted(key for key in {*found, *wanted} if found.get(key) != wanted.get(key))
    if other:
        first = other[0]
        raise ValueError(
            f"expected the settings of the run in {folder}, got another {', '.join(other)} "
            f"({first}: {found.get(first)} there, {wanted.get(first)} asked); use another folder, or restart "
            "(restart=True, --restart) to throw that run away"
        )
