"""Make the pictures of the cards. Run: `python datasets/make_cards.py` (needs matplotlib)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from matplotlib.image import imsave

from bayesinv_datasets.brain import brain
from bayesinv_datasets.elastic_sections import elastic_sections
from bayesinv_datasets.frequency_slices import frequency_slices
from bayesinv_datasets.matern import matern
from bayesinv_datasets.reflectivity_sections import reflectivity_sections
from bayesinv_datasets.retina import retina
from bayesinv_datasets.sections import layered_sections
from bayesinv_datasets.shepp_logan import shepp_logan
from bayesinv_datasets.velocity_sections import velocity_sections
from bayesinv_datasets.vessels import vessels

CARDS = Path(__file__).parent / "cards"
ROWS, COLUMNS, GAP, ENLARGED = 3, 8, 2, 2


def picture(name: str, x: torch.Tensor, low: float, high: float) -> None:
    """Write ``ROWS * COLUMNS`` pictures ``(image, channel, z, x)`` as one grey grid; channels stand side by side."""
    grid = x.reshape(-1, 1, *x.shape[2:])[: ROWS * COLUMNS].reshape(ROWS, COLUMNS, *x.shape[2:]).numpy()
    grid = np.pad(grid, ((0, 0), (0, 0), (0, GAP), (0, GAP)), constant_values=high)
    sheet = grid.transpose(0, 2, 1, 3).reshape(ROWS * grid.shape[2], -1)[:-GAP, :-GAP]
    sheet = sheet.repeat(ENLARGED, 0).repeat(ENLARGED, 1)
    imsave(CARDS / f"{name}.png", sheet, cmap="gray", vmin=low, vmax=high, metadata={"Software": None})


def main() -> None:
    """Write every picture."""
    number = ROWS * COLUMNS
    picture("vessels", vessels(64).sample(number, 0), 0.0, 1.0)
    picture("layered-sections", layered_sections(64).sample(number, 0), -0.3, 0.3)
    shifted = layered_sections(64, thickness=(2.0, 3.5), tails="student-t")
    picture("layered-sections-shifted", shifted.sample(number, 0), -0.3, 0.3)
    picture("elastic-sections", elastic_sections(64).sample(number // 3, 0), -0.25, 0.25)
    picture("reflectivity-sections", reflectivity_sections(64).sample(number, 0), -0.1, 0.1)
    picture("velocity-sections", velocity_sections(64).sample(number, 0), 1.6, 3.8)
    picture("frequency-slices", frequency_slices(64).sample(number // 2, 0), -2.0, 2.0)
    picture("shepp-logan", shepp_logan(64).sample(number, 0), 0.0, 0.6)
    picture("matern", matern(64).sample(number, 0), -3.0, 3.0)
    picture("retina", retina(64).sample(number, 0), 0.0, 1.0)
    picture("brain", brain(64).sample(number, 0), 0.0, 1.0)


if __name__ == "__main__":
    main()
