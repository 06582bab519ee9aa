"""Write the synthetic inputs that `benchmarks.speed` times: `python -m benchmarks.phantom_files FOLDER`.

`picture.png`, 512 x 512, and `ct.nii.gz`, 512 x 512 x 134 of 0.8 x 0.8 x 2.5 mm with noise.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image as Pillow

from samaritan.testing.phantoms import ct_volume, picture

CT_SHAPE = (512, 512, 134)


def main() -> None:
    """Write both files."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    flat = picture(512, 512, colour=True).image.array
    Pillow.fromarray(np.ascontiguousarray(flat[..., 0].transpose(2, 1, 0))).save(folder / "picture.png")
    volume = ct_volume(CT_SHAPE, affine=np.diag([0.8, 0.8, 2.5, 1.0]), noise_hu=12.0).image
    nibabel.save(nibabel.Nifti1Image(volume.array[0], volume.geometry.affine), folder / "ct.nii.gz")


if __name__ == "__main__":
    main()
