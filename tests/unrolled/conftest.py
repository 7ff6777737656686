"""Puts the registry of unrolled maps and the laws of a reversible map on the import path of this folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "reversible")]

from unrolled_maps import MAPS  # noqa: E402


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "unrolled_case" in metafunc.fixturenames:
        metafunc.parametrize("unrolled_case", MAPS.values(), ids=list(MAPS))
