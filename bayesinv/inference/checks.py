"""The record of a diagnosis: figures per observation, histograms, maps, examples, metrics, and a verdict."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import xarray as xr

from bayesinv.inference.netcdf import load_dataset, save_dataset
from bayesinv.inference.verdict import Finding, Verdict

__all__ = ["Checks"]


@dataclass(frozen=True, eq=False, repr=False)
class Checks:
    """What :func:`bayesinv.inference.diagnose` found.

    Attributes:
        dataset: labelled arrays. Per observation: ``coverage``, ``psnr_*``, ``snr_*``, ``chi2_*``,
            ``heldout_nats_per_dim``, ``max_abs_sample``, ``sigma``. Of ranks: ``rank_density``, ``rank_error``,
            ``rank_band`` over ``rank_bin``; ``curve_found``, ``curve_error`` over ``curve_nominal``. Of spread:
            ``spread``, ``error``, ``spread_ratio``, ``spread_ratio_error`` over ``spread_bin``. Maps: ``coverage_map``,
            ``contraction_map``. Examples: ``example_truth``, ``_mean``, ``_std``, ``_baseline``, ``_sample``.
        metrics: figures under stable names, as ``metrics.json`` holds them.
        errors: standard errors of some metrics, under the same names, with the observations as units.
        verdict: the judgement in plain words.
        provenance: JSON-able record (sizes, seeds, versions, times).
    """

    dataset: xr.Dataset
    metrics: dict[str, float]
    verdict: Verdict
    errors: dict[str, float] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        """The verdict, its reasons, and the metrics."""
        lines = [f"Checks: {self.verdict.level}", *(f"  - {reason}" for reason in self.verdict.reasons)]
        return "\n".join([*lines, *(f"  {name} = {value:.4g}" for name, value in self.metrics.items())])

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a netCDF file atomically, with the metrics, the verdict and the provenance as JSON."""
        record = {
            "metrics": self.metrics,
            "errors": self.errors,
            "findings": [asdict(finding) for finding in self.verdict.findings],
            "provenance": self.provenance,
        }
        return save_dataset(self.dataset, path, kind="checks", record=record)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Checks:
        """Read checks back.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is truncated, damaged, or does not hold checks.
        """
        dataset, record = load_dataset(path, kind="checks")
        verdict = Verdict(tuple(Finding(**finding) for finding in record["findings"]))
        return Checks(dataset, record["metrics"], verdict, record["errors"], record["provenance"])
