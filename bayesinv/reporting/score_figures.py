"""Figures of scores, spread, data-space checks, classifier tests and accuracy.

Each takes the :class:`xarray.Dataset` that the diagnostic of the same name returns, and gives a matplotlib ``Figure``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesinv.reporting.panels import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "accuracy_figure",
    "classifier_figure",
    "contraction_figure",
    "local_figure",
    "predictive_figure",
    "samples_figure",
    "score_figure",
    "spread_figure",
    "weight_figure",
]

_BLUE, _RED, _GREY, _LIGHT = "#08519c", "#cb181d", "#bdbdbd", "#9ecae1"


def score_figure(found: xr.Dataset) -> Figure:
    """Score of each observation against that of the prior, and the skill; a vector has no variogram.

    Args:
        found: result of `bayesinv.inference.proper_scores.proper_scores`.
    """
    named = {"crps": "CRPS", "energy": "Energy score", "variogram": "Variogram score"}
    titles = {name: title for name, title in named.items() if np.any(found[name])}
    figure = new_figure(3.3 * len(titles), 3.3)
    for axes, (name, title) in zip(figure.subplots(1, len(titles)), titles.items(), strict=True):
        own, prior = np.asarray(found[name]), np.asarray(found[f"{name}_prior"])
        axes.scatter(prior, own, s=8, color=_BLUE, alpha=0.5, lw=0)
        top = 1.05 * float(max(own.max(), prior.max()))
        axes.plot([0, top], [0, top], color="black", lw=0.8, ls="--")
        axes.set(
            xlabel="score of the prior", ylabel="score of the posterior", xlim=(0, top), ylim=(min(0, own.min()), top)
        )
        skill, error = float(found[f"{name}_skill"]), float(found[f"{name}_skill_error"])
        axes.set_title(f"{title}: skill {skill:.2f} ± {error:.2g}")
    return figure


def contraction_figure(found: xr.Dataset) -> Figure:
    """z-scores against contraction: every pixel of some observations, and means by pixel.

    Args:
        found: result of `bayesinv.inference.spread.z_against_contraction`.
    """
    figure = new_figure(7.6, 3.3)
    left, right = figure.subplots(1, 2)
    z, learnt = np.asarray(found["z_score"]).ravel(), np.asarray(found["contraction_each"]).ravel()
    step = max(1, z.size // 4000)
    left.scatter(learnt[::step], z[::step], s=4, color=_BLUE, alpha=0.25, lw=0, rasterized=True)
    for level in (-2, 0, 2):
        left.axhline(level, color="black", lw=0.6, ls="--" if level == 0 else ":")
    left.set(xlabel="contraction", ylabel="z-score of the target", title="Pixels of all observations", ylim=(-5, 5))
    mean, rms = np.asarray(found["z_mean"]).ravel(), np.asarray(found["z_rms"]).ravel()
    middle, spread = np.asarray(found["contraction"]).ravel(), float(found["z_mean_error"])
    right.axhspan(-2 * spread, 2 * spread, color=_GREY, alpha=0.5, lw=0, label="mean, ± 2 SE if exact")
    right.scatter(middle, mean, s=8, color=_BLUE, lw=0, label="mean of z")
    right.scatter(middle, rms, s=8, color="#e6550d", lw=0, label="rms of z (1 if exact)")
    right.axhline(1, color="black", lw=0.6, ls="--")
    right.set(xlabel="contraction", ylabel="over observations", title="By pixel")
    right.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def spread_figure(found: xr.Dataset) -> Figure:
    """Error of the mean against its predicted spread, by bin of spread.

    Args:
        found: result of `bayesinv.inference.spread.error_against_spread`.
    """
    figure = new_figure(3.9, 3.6)
    axes = figure.subplots()
    spread, error, ratio = (np.asarray(found[name]) for name in ("spread", "error", "ratio"))
    axes.errorbar(
        spread, error, yerr=2 * error * np.asarray(found["ratio_error"]) / ratio, fmt="o-", ms=4, color=_BLUE, capsize=2
    )
    low, high = 0.9 * min(spread.min(), error.min()), 1.1 * max(spread.max(), error.max())
    line = np.array([low, high])
    axes.plot(line, line, color="black", lw=0.8, ls="--")
    axes.fill_between(line, line / 1.15, line / 0.85, color="black", alpha=0.1, lw=0, label="within 15 %")
    axes.set(xlabel="predicted spread (rms per bin)", ylabel="error of the mean (rms per bin, ± 2 SE)")
    axes.set(xlim=(low, high), ylim=(low, high), title="Error against spread")
    axes.set_aspect("equal")
    axes.legend(loc="upper left")
    return figure


def predictive_figure(found: xr.Dataset) -> Figure:
    """Observed data among replicates, p-values of statistics, and the misfit of samples against that of the target.

    Args:
        found: result of `bayesinv.inference.predictive.predictive_check`.
    """
    figure = new_figure(11.0, 3.2)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.4, 1, 1))
    y, replicates = np.asarray(found["example_y"][0]), np.asarray(found["example_replicates"][0])
    shown = min(len(y), 64)
    left.plot(replicates[:, :shown].T, color=_LIGHT, lw=0.6)
    left.plot(y[:shown], color="black", lw=1.0, label="observed")
    left.plot([], color=_LIGHT, label="replicated")
    left.set(xlabel=f"datum (first {shown} of {len(y)})", ylabel="data", title="One observation")
    left.margins(x=0)
    left.legend()
    names = [str(name) for name in found["statistic"].values]
    values: list[Any] = [np.asarray(found["p_value"][number]) for number in range(len(names))]
    middle.boxplot(values, orientation="horizontal", widths=0.6, medianprops={"color": _BLUE}, flierprops={"ms": 3})
    middle.set_yticks(np.arange(1, len(names) + 1), names)
    middle.set(xlabel="posterior predictive p-value", xlim=(-0.03, 1.03), title="Statistics of the data")
    target, drawn = np.asarray(found["chi2_target"]), np.asarray(found["chi2_samples"])
    right.scatter(target, drawn, s=8, color=_BLUE, alpha=0.6, lw=0)
    low, high = 0.95 * min(target.min(), drawn.min()), 1.05 * max(target.max(), drawn.max())
    right.plot([low, high], [low, high], color="black", lw=0.8, ls="--")
    ratio, error = float(found["chi2_ratio"]), float(found["chi2_ratio_error"])
    right.set(
        xlabel="χ² per datum of the target", ylabel="χ² per datum of samples", title=f"Ratio {ratio:.3f} ± {error:.2g}"
    )
    if high > 10 * low:
        right.set(xscale="log", yscale="log")
    return figure


def classifier_figure(found: xr.Dataset) -> Figure:
    """Accuracy of each fold of a classifier two-sample test.

    Args:
        found: result of `bayesinv.inference.two_samples.c2st`.
    """
    figure = new_figure(3.8, 2.8)
    axes = figure.subplots()
    accuracy, error = np.asarray(found["accuracy"]), float(found["c2st_error"])
    axes.axhspan(0.5 - 2 * error, 0.5 + 2 * error, color=_GREY, alpha=0.5, lw=0, label="one law, mean ± 2 SE")
    axes.plot(np.arange(1, len(accuracy) + 1), accuracy, "o", color=_BLUE, ms=5, label="folds")
    axes.axhline(float(found["c2st"]), color=_BLUE, lw=1.2, label=f"mean {float(found['c2st']):.3f}")
    axes.set(xlabel="fold", ylabel="accuracy", title=f"C2ST, {found.attrs['classifier']}", ylim=(0.4, 1.02))
    axes.legend(loc="upper right")
    return figure


def local_figure(found: xr.Dataset) -> Figure:
    """The statistic of the local test against its law under exchanged labels, and what the classifier says of samples.

    Args:
        found: result of `bayesinv.inference.two_samples.local_c2st`.
    """
    figure = new_figure(7.4, 2.9)
    left, right = figure.subplots(1, 2)
    left.hist(found["null_statistic"], bins=15, color=_LIGHT, edgecolor="white", label="labels exchanged")
    left.axvline(float(found["statistic"]), color=_RED, label="found")
    left.set(xlabel="mean (d − 1/2)²", ylabel="retrainings", title=f"LC2ST: p = {float(found['p_value']):.2g}")
    left.legend()
    right.hist(found["probability"], bins=20, range=(0, 1), color=_BLUE, edgecolor="white")
    right.axvline(0.5, color="black", lw=0.8, ls="--")
    right.set(xlabel="probability of being a sample", ylabel="samples", title="At this observation", xlim=(0, 1))
    return figure


def accuracy_figure(found: xr.Dataset) -> Figure:
    """Distribution over observations of PSNR, SSIM and RMSE of each estimate.

    Args:
        found: result of `bayesinv.inference.mean_accuracy.mean_accuracy`.
    """
    labels = {"psnr": "PSNR (dB)", "ssim": "SSIM", "rmse": "RMSE"}
    present = {name: label for name, label in labels.items() if name in found}
    figure = new_figure(3.0 * len(present), 2.9)
    names = [str(name) for name in found["estimate"].values]
    for axes, (name, label) in zip(figure.subplots(1, len(present), squeeze=False)[0], present.items(), strict=True):
        values: list[Any] = [np.asarray(found[name][number]) for number in range(len(names))]
        axes.boxplot(values, widths=0.5, medianprops={"color": _BLUE}, flierprops={"ms": 3})
        axes.set_xticks(np.arange(1, len(names) + 1), names)
        axes.set(ylabel=label, title=f"mean {', '.join(f'{value.mean():.3g}' for value in values)}")
    return figure


def samples_figure(found: xr.Dataset) -> Figure:
    """Error of the mean of S samples against S.

    Args:
        found: result of `bayesinv.inference.mean_accuracy.samples_needed`.
    """
    figure = new_figure(4.0, 3.0)
    axes = figure.subplots()
    count = np.asarray(found["count"])
    axes.errorbar(
        count, found["rmse"], yerr=2 * found["rmse_error"], fmt="o", ms=4, color=_BLUE, capsize=2, label="found"
    )
    axes.plot(count, found["expected"], color="black", lw=0.9, ls="--", label="√(v (1 + 1/S))")
    axes.set_xscale("log", base=2)
    axes.set_xticks(count, [str(value) for value in count])
    axes.set(xlabel="samples S in the mean", ylabel="rms error (± 2 SE)", title="How many samples the mean needs")
    axes.legend()
    return figure


def weight_figure(found: xr.Dataset) -> Figure:
    """Importance weights of the samples, largest first, and their sum.

    Args:
        found: result of `bayesinv.inference.importance.importance_weights`.
    """
    figure = new_figure(4.2, 3.0)
    axes = figure.subplots()
    weight = np.sort(np.asarray(found["weight"]))[::-1]
    axes.plot(np.arange(1, len(weight) + 1) / len(weight), weight.cumsum(), color=_BLUE)
    axes.plot([0, 1], [0, 1], color="black", lw=0.8, ls="--", label="equal weights")
    axes.set(xlabel="share of samples, heaviest first", ylabel="share of weight", xlim=(0, 1), ylim=(0, 1))
    khat, limit = float(found["khat"]), float(found["khat_limit"])
    axes.set_title(f"ESS {float(found['ess']):.0f} of {len(weight)}, k-hat {khat:.2f} (limit {limit:.2f})")
    axes.legend(loc="lower right")
    return figure
