"""The uncertainty report: one HTML file that holds all its figures and needs no network."""

from __future__ import annotations

import base64
import io
import math
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesinv.inference.checks import Checks
from bayesinv.inference.samples import Samples
from bayesinv.reporting.metrics import write_text
from bayesinv.reporting.words import familiarity, is_shifted, shortfall

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["report"]

_TABLE = {
    "psnr_posterior_mean": "PSNR of the posterior mean (dB)",
    "psnr_refined": "PSNR of the mean of refined samples (dB)",
    "psnr_baseline": "PSNR of the baseline (dB)",
    "snr_posterior_mean": "SNR of the posterior mean (dB)",
    "snr_refined": "SNR of the mean of refined samples (dB)",
    "snr_baseline": "SNR of the baseline (dB)",
    "chi2_raw": "chi-square per datum of samples",
    "chi2_refined": "chi-square per datum of refined samples",
    "error_spread_correlation": "correlation of |error| and spread",
    "contraction": "contraction (1 - posterior / prior variance)",
    "chi2_target": "chi-square per datum of targets",
    "khat": "k-hat of importance weights (median)",
    "ess_share": "effective share of samples under importance weights",
    "gate_stopped": "share of records that the gate takes for foreign",
    "max_abs_sample": "largest magnitude of any sample",
    "heldout_nats_per_dim": "negative log density (nats per dimension)",
    "temperature": "temperature",
}


def report(
    samples: Samples,
    checks: Checks,
    *,
    out: str | os.PathLike[str],
    second: Checks | None = None,
    history: Sequence[Mapping[str, Any]] | None = None,
    title: str | None = None,
) -> Path:
    """Write the uncertainty report of some samples and of the posterior that they come from.

    Args:
        samples: samples to show; of a batch the first observation is shown.
        checks: diagnosis of the posterior on held-out simulations, with the verdict.
        out: the HTML file to write.
        second: diagnosis on a second input, real or shifted; the report says in words how far it is off.
        history: record of the training, one mapping per logged step with ``step``, ``loss``, ``heldout``,
            ``learning_rate``, as `bayesinv.inference.History.rows` has them.
        title: heading of the report.

    Returns:
        The file written. It is self-contained: no script, no link, no file beside it.

    Raises:
        ValueError: if the folder does not exist.
    """
    import jinja2
    import matplotlib as mpl

    from bayesinv.reporting.panels import STYLE

    if not Path(out).parent.is_dir():
        raise ValueError(f"expected an existing folder for {Path(out).name}, got {Path(out).parent}")
    one = samples.observation(0)
    level = float(checks.provenance.get("level", 0.9))
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        figures = dict(_figures(one, checks, second, history or (), level))
    text = resources.files("bayesinv.reporting").joinpath("report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.from_string(text).render(
        title=title or "Uncertainty report",
        figures=figures,
        verdict=checks.verdict,
        second_verdict=None if second is None else second.verdict,
        second_words=[] if second is None else shortfall(second, checks),
        second_shifted=second is not None and is_shifted(second, checks),
        second_name="" if second is None else second.provenance.get("name", "second input"),
        rows=_rows(checks, second),
        familiar=familiarity(samples),
        count=len(samples),
        level=f"{level:.0%}",
        checks=checks.provenance,
        has_truth=one.truth is not None,
        provenance=_provenance(samples, checks, second),
    )
    return write_text(Path(out), page)


def _figures(
    samples: Samples, checks: Checks, second: Checks | None, history: Sequence[Mapping[str, Any]], level: float
) -> Iterator[tuple[str, str]]:
    """Names and embedded pictures, one at a time, so that only one figure is alive."""
    from bayesinv.reporting import calibration_figures as calibration
    from bayesinv.reporting import figures, rank_figures

    about: list[tuple[str, Callable[[], Figure | None]]] = [
        ("data", lambda: figures.data_figure(samples)),
        ("reconstruction", lambda: figures.reconstruction_figure(samples)),
        ("samples", lambda: figures.sample_figure(samples)),
        ("intervals", lambda: figures.interval_figure(samples, level=level)),
        ("profiles", lambda: figures.profile_figure(samples, level=level)),
        ("misfit", lambda: figures.misfit_figure(samples)),
        ("calibration", lambda: calibration.calibration_figure(checks)),
        ("maps", lambda: calibration.map_figure(checks)),
        ("functionals", lambda: rank_figures.checks_figure(checks.dataset, checks.metrics)),
        ("examples", lambda: calibration.example_figure(checks)),
        ("history", lambda: calibration.history_figure(history)),
    ]
    if second is not None:
        about.append(("second", lambda: calibration.calibration_figure(checks, second=second)))
        about.append(("second_examples", lambda: calibration.example_figure(second)))
    for name, draw in about:
        figure = draw()
        if figure is not None:
            yield name, _embed(figure)


def _embed(figure: Figure) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=130, metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _rows(checks: Checks, second: Checks | None) -> list[tuple[str, str, str]]:
    """Lines of the table of figures: name, value on held-out simulations, value on the second input."""
    names = [name for name in checks.metrics if name.startswith("coverage_") and name != "coverage_nominal"]
    bins = [name for name in checks.metrics if name.startswith("spread_ratio_bin_")]
    labels = {name: _coverage_label(name) for name in names}
    labels |= {name: f"spread / error in spread bin {name.rsplit('_', 1)[1]} (small to large)" for name in bins}
    return [
        (label, _value(checks, name), "" if second is None else _value(second, name))
        for name, label in (_TABLE | labels).items()
        if name in checks.metrics
    ]


def _coverage_label(name: str) -> str:
    _, percent, *region = name.split("_")
    where = " ".join(region)
    if where.endswith(" predicted"):
        return f"coverage of {percent} % intervals where the posterior mean lies in {where.removesuffix(' predicted')}"
    return f"coverage of {percent} % intervals" + (f" where the truth lies in {where}" if where else "")


def _value(checks: Checks, name: str) -> str:
    value, error = checks.metrics.get(name, math.nan), checks.errors.get(name, math.nan)
    if not math.isfinite(value):
        return "–"
    return f"{value:.4g}" if not math.isfinite(error) else f"{value:.4g} ± {error:.2g}"


def _provenance(samples: Samples, checks: Checks, second: Checks | None) -> list[tuple[str, str]]:
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for package in ("bayesinv", "torch", "numpy", "pylops", "xarray", "matplotlib"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed as a package"
    everything: dict[str, Any] = {
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "samples": {"shape": dict(samples.values.sizes), **samples.provenance},
        "checks": checks.provenance,
        "second": {} if second is None else second.provenance,
        "versions": versions,
    }
    return list(_flatten(everything))


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flatten({str(inner): item for inner, item in value.items()}, f"{name}.")
        elif isinstance(value, float | np.floating):
            yield name, f"{value:.6g}"
        else:
            yield name, str(value)
