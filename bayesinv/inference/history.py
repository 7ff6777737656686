"""`History`: what happened in a training, a row for each epoch."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bayesinv.inference.files import atomic_bytes

__all__ = ["History"]


@dataclass
class History:
    """Rows with step, epoch, phase, loss and held-out loss (nats per dimension), learning rate and seconds.

    Attributes:
        rows: one mapping for each epoch.
        seconds: time spent training, all resumed parts together.
        temperature: the temperature chosen at the end.
        best_step: the step whose averaged weights were kept.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    temperature: float | None = None
    best_step: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON keeps it; a loss that was not measured is ``None``."""
        rows = [{key: _plain(value) for key, value in row.items()} for row in self.rows]
        return {**asdict(self), "rows": rows}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> History:
        """From what `to_dict` gave."""
        return cls(**values)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes it as JSON, atomically."""
        return atomic_bytes(path, json.dumps(self.to_dict(), indent=1).encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> History:
        """Reads what `save` wrote."""
        return cls.from_dict(json.loads(Path(path).read_text()))


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
