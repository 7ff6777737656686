"""Puts registry and laws on the import path of this folder; a test that asks for a `case` runs over the registry."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from reversible_maps import MAPS


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", MAPS.values(), ids=list(MAPS))


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
