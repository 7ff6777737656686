"""Make `bayesinv_datasets/data/brain_slices.npz` from the MNI152 template: `python datasets/make_brain.py`.

The template (T1, ICBM 2009a, 1 mm) comes with nilearn; nibabel reads it. Axial slices 2 mm apart through the brain,
seen with the nose up, 196 mm a side; brought to 64 x 64 pixels of 3.06 mm (cubic splines after a Gaussian of half the
reduction), scaled by the 99.9 % quantile of the whole and cut to [0, 1]. The skull is not in the template.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import nibabel
import numpy as np
from scipy.ndimage import gaussian_filter, zoom

SIZE, SIDE = 64, 196
FIRST, LAST, STEP = 38, 142, 2
TARGET = Path(__file__).parent / "bayesinv_datasets" / "data" / "brain_slices.npz"


def main() -> None:
    """Write the file."""
    path = files("nilearn.datasets") / "data" / "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
    volume = np.asarray(nibabel.load(str(path)).dataobj, dtype=float)  # right to left, back to front, foot to head
    left, back = ((length - SIDE) // 2 for length in volume.shape[:2])
    slices = []
    for height in range(FIRST, LAST, STEP):
        picture = volume[left : left + SIDE, back : back + SIDE, height].T[::-1]  # (front to back, across)
        smooth = gaussian_filter(picture, SIDE / SIZE / 2)
        slices.append(zoom(smooth, SIZE / SIDE, order=3, grid_mode=True, mode="nearest"))
    images = np.stack(slices)
    images = np.clip(images / np.quantile(images, 0.999), 0.0, 1.0)
    np.savez_compressed(TARGET, slices=np.rint(255 * images).astype(np.uint8))
    print(f"{len(images)} slices {images.shape[1:]}, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
