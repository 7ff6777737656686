"""What every test shares: one start of torch's generator, no window, no leaked defaults, no GPU test without a GPU."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

os.environ["MPLBACKEND"] = "Agg"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(autouse=True)
def same_start_for_every_test() -> Iterator[None]:
    torch.manual_seed(0)
    yield
    assert torch.get_default_dtype() == torch.float32, "a test changed torch's default dtype"
    assert torch.is_grad_enabled(), "a test left gradients switched off"
