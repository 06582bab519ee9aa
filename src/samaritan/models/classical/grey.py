"""Pictures as greys."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samaritan.models.classical.adapter import Picture

_WEIGHTS = np.array([4899, 9617, 1868], np.uint32)  # of red, green, blue in luma (ITU-R BT.601), in 2^14 parts
_BITS = 14


def grey(picture: Picture) -> NDArray[np.uint8]:
    """Return the luma of a picture (i, j, 3), (i, j)."""
    return np.asarray((picture @ _WEIGHTS + (1 << (_BITS - 1))) >> _BITS, np.uint8)
