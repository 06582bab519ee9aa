"""Label maps bent out of shape: anatomy that nobody has."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from samaritan.data.synthesis.noise import smooth_noise

Parts = NDArray[np.uint16]


def deform(parts: Parts, rng: np.random.Generator, *, strength: float = 0.02) -> Parts:
    """Return a label map (h, w) warped by a smooth random displacement of about ``strength`` of its side.

    No label appears that was not there; small ones may vanish.
    """
    side = max(parts.shape)
    amount, grain = np.float32(rng.uniform(0, strength) * side), side * rng.uniform(0.08, 0.3)
    rows, columns = np.mgrid[0 : parts.shape[0], 0 : parts.shape[1]].astype(np.float32)
    shifts = [amount * smooth_noise(parts.shape, grain, rng) for _ in range(2)]
    warped = cv2.remap(parts, columns + shifts[0], rows + shifts[1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.uint16)
