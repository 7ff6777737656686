"""``metrics.json``: every figure of the report under a stable name."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from bayesinv.inference.checks import Checks

__all__ = ["write_metrics", "write_text"]


def write_metrics(
    checks: Checks,
    out: str | os.PathLike[str],
    *,
    second: Checks | None = None,
    prefix: str = "second_",
    extra: Mapping[str, float | str | None] | None = None,
) -> Path:
    """Write the metrics of a diagnosis as one flat JSON object, atomically; figures that are not finite become null.

    Args:
        checks: the diagnosis on held-out simulations.
        out: the file, or a folder, which gets a ``metrics.json``.
        second: the diagnosis on a second input, real or shifted.
        prefix: prefix of the names of its metrics, such as ``"real_"``.
        extra: more figures, such as ``train_seconds``.

    Returns:
        The file written.

    Raises:
        ValueError: if two figures would bear one name.
    """
    found: dict[str, float | str | None] = dict(checks.metrics) | {"verdict": checks.verdict.level}
    if second is not None:
        _add(found, {f"{prefix}{name}": value for name, value in second.metrics.items()})
        _add(found, {f"{prefix}verdict": second.verdict.level})
    _add(found, extra or {})
    finite = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in found.items()
    }
    target = Path(out)
    if target.is_dir():
        target = target / "metrics.json"
    return write_text(target, json.dumps(finite, indent=2) + "\n")


def _add(found: dict[str, float | str | None], more: Mapping[str, float | str | None]) -> None:
    twice = sorted(found.keys() & more.keys())
    if twice:
        raise ValueError(f"expected every figure once, got {', '.join(twice)} twice; choose another prefix or name")
    found.update(more)


def write_text(target: Path, text: str) -> Path:
    """Write a text file atomically: a temporary file in the same folder, then a rename."""
    if not target.parent.is_dir():
        raise ValueError(f"expected an existing folder for {target.name}, got {target.parent}")
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return target
