"""What a child process does: measures the memory of a step, or its time."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from side_by_side.cases import Case, case_of
from side_by_side.heap import Meter, without_page_faults
from side_by_side.nets import IN_BACKWARD, LINES, Missing, Trainable

__all__ = ["known_block", "memory_of", "sampling_memory", "sampling_time", "step_memory", "step_time", "timed"]

TURN = 1.0
"""Seconds of a timing, in as many whole steps as fit, or one."""


def step_memory(line: str, case: dict[str, Any], device: str, cap: float | None = None) -> dict[str, Any]:
    """The memory of one training step, or why there is none; ``cap`` in bytes ends what takes more."""
    chosen = case_of(case)
    try:
        made = _made(line, chosen, device)
    except Missing as reason:
        return {"missing": str(reason)}
    x = torch.randn(chosen.batch, *chosen.shape, device=device)
    return memory_of(lambda: made.loss(x), list(made.module.parameters()), device, cap=cap)


def memory_of(
    loss: Callable[[], torch.Tensor], parameters: list[torch.nn.Parameter], device: str, *, cap: float | None = None
) -> dict[str, Any]:
    """Bytes above those of parameters and input: saved as tensors, kept between the passes in all, and at the peak.

    Gradients are told by their numbers, and as the blocks that such tensors are (``held``).
    """
    if cap is not None:
        _limit(cap, device)
    try:
        loss().backward()
        for parameter in parameters:
            parameter.grad = None
        meter = Meter(device)
        value = loss()
        kept = meter.kept()
        value.backward()
        peak = meter.peak()
    except (RuntimeError, MemoryError) as error:
        if not _exhausted(error):
            raise
        return {"out_of_memory": str(error).splitlines()[:1]}
    shapes = [p.detach() for p in parameters if p.grad is not None]
    gradients = sum(x.nbytes for x in shapes)
    for parameter in parameters:
        parameter.grad = None
    meter = Meter(device)
    blocks = [torch.ones_like(x) for x in shapes]
    held = meter.kept()
    del blocks
    saved = _saved(loss, parameters)
    return {
        "saved": saved, "kept": kept, "peak": peak, "gradients": gradients, "held": held, "meter": meter.kind,
    }  # fmt: skip


def _saved(loss: Callable[[], torch.Tensor], parameters: list[torch.nn.Parameter]) -> int:
    """Bytes of the tensors that autograd is told to keep for the backward pass, parameters aside."""
    own = {p.untyped_storage().data_ptr() for p in parameters}
    found: dict[int, int] = {}

    def noted(x: torch.Tensor) -> torch.Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(noted, lambda x: x):
        value = loss()
    assert value.requires_grad  # and with its graph alive, no storage has taken the place of another
    return sum(found.values())


def step_time(line: str, case: dict[str, Any], device: str, faults: bool) -> dict[str, Any]:
    """Seconds of a training step."""
    chosen = case_of(case)
    try:
        made = _made(line, chosen, device)
    except Missing as reason:
        return {"missing": str(reason)}
    x = torch.randn(chosen.batch, *chosen.shape, device=device)
    parameters = list(made.module.parameters())

    def step() -> None:
        made.loss(x).backward()
        for parameter in parameters:
            parameter.grad = None

    return timed(step, device, faults)


def sampling_memory(line: str, case: dict[str, Any], device: str, number: int) -> dict[str, Any]:
    """The memory of drawing images, these included."""
    try:
        made = _made(line, case_of(case), device)
    except Missing as reason:
        return {"missing": str(reason)}
    made.sample(number)
    meter = Meter(device)
    made.sample(number)
    return {"peak": meter.peak(), "meter": meter.kind}


def sampling_time(line: str, case: dict[str, Any], device: str, number: int) -> dict[str, Any]:
    """Seconds of drawing images."""
    try:
        made = _made(line, case_of(case), device)
    except Missing as reason:
        return {"missing": str(reason)}
    return timed(lambda: made.sample(number), device, True)


def timed(step: Callable[[], object], device: str, faults: bool) -> dict[str, Any]:
    """Wall and processor seconds, and page faults, of a step: the mean of some, after two to warm up."""
    if not faults and device == "cpu":
        without_page_faults()
    step()
    seconds = _mean(step, device, 1)["wall"]
    return _mean(step, device, max(1, int(TURN / seconds)))


def _mean(step: Callable[[], object], device: str, number: int) -> dict[str, float]:
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    wait()
    before, used, wall = resource.getrusage(resource.RUSAGE_SELF), time.process_time(), time.perf_counter()
    for _ in range(number):
        step()
    wait()
    wall, used = time.perf_counter() - wall, time.process_time() - used
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before.ru_minflt
    return {"wall": wall / number, "processor": used / number, "faults": faults / number}


def known_block(size: int, device: str) -> dict[str, Any]:
    """What the meter says of a block of ``size`` bytes that goes and one of half that stays."""
    torch.zeros(1024, dtype=torch.uint8, device=device).fill_(1)
    meter = Meter(device)
    gone = torch.empty(size, dtype=torch.uint8, device=device).fill_(1)
    del gone
    kept = torch.empty(size // 2, dtype=torch.uint8, device=device).fill_(1)
    return {"peak": meter.peak(), "kept": meter.kept(), "meter": meter.kind, "size": size, "half": kept.numel()}


def _made(line: str, case: Case, device: str) -> Trainable:
    torch.manual_seed(0)
    with torch.device(device):
        made = (LINES | IN_BACKWARD)[line](case)
    made.module.to(device)
    return made


def _exhausted(error: Exception) -> bool:
    """Whether it says that there is no memory, in the words of Python, CUDA, torch's allocator, or oneDNN."""
    words = ("can't allocate memory", "std::bad_alloc", "could not create a memory", "could not create a primitive")
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(word in str(error) for word in words)


def _limit(cap: float, device: str) -> None:
    """No more than ``cap`` bytes: of the device, or of address space beyond what the process has by now."""
    if device == "cuda":
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, cap / total))
        return
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + int(cap)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
