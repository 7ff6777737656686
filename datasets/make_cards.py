"""Make the pictures of the cards. Run: `python datasets/make_cards.py` (needs matplotlib)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from matplotlib.image import imsave

from bayesinv_datasets.retina import retina
from bayesinv_datasets.sections import layered_sections
from bayesinv_datasets.vessels import vessels

CARDS = Path(__file__).parent / "cards"
ROWS, COLUMNS, GAP, ENLARGED = 3, 8, 2, 2


def picture(name: str, x: torch.Tensor, low: float, high: float) -> None:
    """Write images ``(ROWS * COLUMNS, 1, z, x)`` as one grey grid."""
    grid = x.reshape(ROWS, COLUMNS, *x.shape[2:]).numpy()
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
    picture("retina", retina(64).sample(number, 0), 0.0, 1.0)


if __name__ == "__main__":
    main()
