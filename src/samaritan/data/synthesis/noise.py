"""Smooth random fields."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def smooth_noise(shape: tuple[int, ...], grain_px: float | tuple[float, float], rng: np.random.Generator) -> Floats:
    """Return Gaussian noise (h, w) of unit variance whose grains are about ``grain_px`` pixels wide.

    A pair gives the height and the width of the grains.
    """
    height, width = shape[:2]
    tall, wide = grain_px if isinstance(grain_px, tuple) else (grain_px, grain_px)
    grid = (max(2, round(height / tall)), max(2, round(width / wide)))
    field = rng.standard_normal(grid, dtype=np.float32)
    if grid != (height, width):
        field = np.asarray(cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
        field /= max(float(field.std()), 1e-6)
    return field
