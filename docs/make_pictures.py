"""Draws the README's picture from a run folder: python docs/make_pictures.py runs/photoacoustic-line photoacoustic."""

import sys
from pathlib import Path

import numpy as np

from bayesinv.inference import Samples
from bayesinv.reporting.panels import STYLE, Scale, common_scale, draw_panel, new_figure


def main(run: str, name: str) -> None:
    """Two rows: data, baseline, mean, spread; truth and three samples."""
    import matplotlib

    samples = Samples.load(Path(run) / "samples.nc")
    mean, std = samples.mean().isel(channel=0), samples.std().isel(channel=0)
    truth, baseline = samples.truth.isel(channel=0), samples.baseline.isel(channel=0)
    scale, spread = common_scale(truth), common_scale(std, spread=True)
    level = float(abs(samples.data).quantile(0.995))
    data = Scale("RdBu_r", -level, level)
    panels = [
        (samples.data.isel(channel=0), "Observed data", data),
        (baseline, "Classical reconstruction", scale),
        (mean, "Posterior mean", scale),
        (std, "Posterior standard deviation", spread),
        (truth, "Truth", scale),
        *((samples.values.isel(sample=i, channel=0), f"Posterior sample {i + 1}", scale) for i in range(3)),
    ]
    with matplotlib.rc_context(STYLE):
        figure = new_figure(14, 6.2)
        for axes, (image, title, colours) in zip(np.ravel(figure.subplots(2, 4)), panels, strict=True):
            draw_panel(axes, image, title=title, scale=colours)
        figure.savefig(Path(__file__).parent / "images" / f"{name}.png", dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:])
