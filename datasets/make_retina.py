"""Make `bayesinv_datasets/data/retina_patches.npz` from scikit-image's retina: `python datasets/make_retina.py`.

1. green channel (vessels are dark in it), blurred by half the reduction, reduced 2.5-fold to about 564 x 564 pixels;
2. background removed: black top-hat, that is closing by a disk minus picture, after a slight blur against grain;
3. soft threshold ``max(v - t, 0)``, ``t`` a quantile of the whole, so that what is no vessel is near 0;
4. divided by a robust maximum of each patch's surroundings (eyes are lit unevenly) and cut to [0, 1];
5. 64 x 64 patches, 52 apart (neighbours share a strip of at most 12 pixels), inside the rim, off the optic disc,
   vessels in each.

The photograph is `skimage.data.retina`, CC0 (Häggström 2014, "Medical gallery of Mikael Häggström 2014", WikiJournal of
Medicine 1(2), doi:10.15347/wjm/2014.008).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, gaussian_filter, zoom
from skimage.data import retina
from skimage.morphology import closing, disk, remove_small_objects

Floats = NDArray[np.float64]

REDUCTION = 2.5
SIZE = 64
STRIDE = 52
DISK = 8
GRAIN = 0.8
KEPT = 0.80
SHARE = 0.04
TARGET = Path(__file__).parent / "bayesinv_datasets" / "data" / "retina_patches.npz"


def vesselness(photo: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """The picture of vessels in [0, 1], and where it may be trusted; `photo` is (z, x, colour) in [0, 1]."""
    green = zoom(gaussian_filter(photo[..., 1], REDUCTION / 2), 1 / REDUCTION, order=1)
    seen = binary_erosion(green > 0.06, iterations=1)
    green = gaussian_filter(np.where(seen, green, green[seen].mean()), GRAIN)
    dark = closing(green, disk(DISK)) - green
    inside = binary_erosion(seen, iterations=10)
    bright = gaussian_filter(green, 6)
    inside &= ~(gaussian_filter((bright > np.quantile(bright[inside], 0.99)).astype(float), 16) > 0.02)
    level = np.quantile(dark[inside], KEPT)
    vessel = np.maximum(dark - level, 0.0)
    vessel *= gaussian_filter(remove_small_objects(vessel > 0, max_size=40).astype(float), 0.5)
    high = np.sqrt(gaussian_filter(vessel**4 * inside, 40) / gaussian_filter(vessel**2 * inside + 1e-12, 40))
    return np.clip(vessel / (1.4 * high), 0.0, 1.0) * inside, inside


def patches(picture: Floats, inside: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.int64]]:
    """Patches ``(n, SIZE, SIZE)`` and their corners: rows of them, of the possible rows those that hold the most."""
    best: list[tuple[int, int]] = []
    for shift in range(0, STRIDE, 2):
        corners: list[tuple[int, int]] = []
        for top in range(shift, picture.shape[0] - SIZE + 1, STRIDE):
            left = 0
            while left <= picture.shape[1] - SIZE:
                window = (slice(top, top + SIZE), slice(left, left + SIZE))
                good = inside[window].all() and (picture[window] > 0.2).mean() >= SHARE
                if good:
                    corners.append((top, left))
                left += STRIDE if good else 2
        if len(corners) > len(best):
            best = corners
    return np.stack([picture[top : top + SIZE, left : left + SIZE] for top, left in best]), np.array(best)


def main() -> None:
    """Write the file."""
    picture, inside = vesselness(retina().astype(float) / 255)
    images, corners = patches(picture, inside)
    TARGET.parent.mkdir(exist_ok=True)
    np.savez_compressed(TARGET, patches=np.rint(255 * images).astype(np.uint8), corners=corners.astype(np.int16))
    areas = ", ".join(f"area > {level}: {(images > level).mean():.3f}" for level in (0.05, 0.2))
    print(f"{len(images)} patches, {TARGET.stat().st_size} bytes, {areas}")


if __name__ == "__main__":
    main()
