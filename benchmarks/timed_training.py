"""A default posterior trained on fresh pairs, kept in a folder, with the processor seconds that it took."""

from __future__ import annotations

import json
import time
from pathlib import Path

from bayesinv.inference import Posterior, Problem, fit
from bayesinv.inference.summaries import Summary

__all__ = ["trained"]


def trained(
    problem: Problem, summary: Summary | None, *, seed: int, epochs: int, folder: Path, device: str, small: bool
) -> tuple[Posterior, float]:
    """The posterior, and the seconds of all attempts together; a finished one is read from its folder."""
    posterior = Posterior.build(problem, summary=summary, seed=seed)
    folder.mkdir(parents=True, exist_ok=True)
    clock = folder / "processor_seconds.json"
    before = json.loads(clock.read_text()) if clock.exists() else 0.0
    done = (folder / "posterior.bayesinv").exists()
    began = time.process_time()
    try:
        fit(
            posterior, problem, simulations=64 if small else "auto", epochs=2 if small else epochs, seed=seed,
            out=folder, validation=10 if small else 100, show_progress=False, device=device,
        )  # fmt: skip
    finally:
        seconds = before + (0.0 if done else time.process_time() - began)
        clock.write_text(json.dumps(seconds))
    return posterior, seconds
