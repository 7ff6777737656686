"""Puts toy problems, the exact problems of the benchmarks, and the pretended device on this folder's import path."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parents[2] / "benchmarks"))
sys.path.insert(2, str(Path(__file__).parents[1] / "reversible"))
