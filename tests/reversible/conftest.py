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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many of the planted faults the laws caught."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    counts = [dict(report.user_properties) for report in reports if report.when == "call"]
    counts = [count for count in counts if "planted" in count]
    if counts:
        caught, planted = (sum(count[name] for count in counts) for name in ("caught", "planted"))
        terminalreporter.write_line(f"faults planted in reversible maps: {caught} of {planted} caught")
