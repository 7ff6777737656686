"""A posterior on a device that is not the processor: trained, drawn from and judged, to the same numbers."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import lightning_fabric
import numpy as np
import pytest
import torch
import xarray as xr
from lightning_fabric.accelerators import CPUAccelerator
from lightning_fabric.strategies import SingleDeviceStrategy
from pretended_device import DEVICE, elsewhere
from toy_problems import line_problem

from bayesinv.inference import Posterior, Problem, diagnose, fit


class _AnyDevice(CPUAccelerator):
    def setup_device(self, device: torch.device) -> None:
        """Nothing to set up."""


@pytest.fixture
def chosen_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`fit(device=...)` takes the pretended device, too."""
    fabric = lightning_fabric.Fabric

    def made(accelerator: str, devices: int) -> Any:
        return fabric(
            accelerator=_AnyDevice(), devices=devices, strategy=SingleDeviceStrategy(torch.device(accelerator))
        )

    monkeypatch.setattr(lightning_fabric, "Fabric", made)
    torch.__future__.set_swap_module_params_on_conversion(True)  # `to` cannot change the data of such a parameter
    yield
    torch.__future__.set_swap_module_params_on_conversion(False)


def trained(problem: Problem, device: str, **options: Any) -> Posterior:
    posterior = Posterior.build(problem)
    fit(posterior, problem, simulations=64, epochs=2, seed=0, device=device, show_progress=False, **options)
    return posterior


@pytest.mark.usefixtures("chosen_device")
@pytest.mark.parametrize("step_in_backward", [False, True])
def test_training_elsewhere_is_training_here(step_in_backward: bool) -> None:
    problem = line_problem()
    with elsewhere():
        here, moved = (trained(problem, device, step_in_backward=step_in_backward) for device in ("cpu", DEVICE))
    assert here.state_dict().keys() == moved.state_dict().keys()
    for name, tensor in here.state_dict().items():
        torch.testing.assert_close(moved.state_dict()[name], tensor, rtol=1e-5, atol=1e-6, msg=name)


def test_samples_and_checks_elsewhere_are_those_here() -> None:
    problem = line_problem()
    here = trained(problem, "cpu")
    x, y, _ = problem.sample(2, 5)
    with elsewhere() as (there, back):
        moved = there(copy.deepcopy(here))
        assert moved(y).y.device == torch.device(DEVICE)
        for refine in (0, 2):
            found, expected = (one(y).sample(5, seed=1, refine=refine).values for one in (moved, here))
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            back(moved(y[:1]).log_prob(x[:1])), here(y[:1]).log_prob(x[:1]), rtol=1e-5, atol=1e-4
        )
        found, expected = (one(y).statistics(20, seed=1) for one in (moved, here))
        xr.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        found, expected = (diagnose(one, problem, simulations=6, samples=9).metrics for one in (moved, here))
        assert found == pytest.approx(expected, rel=1e-3, nan_ok=True)
