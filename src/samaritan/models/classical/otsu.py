"""The box's greys split in two; the object is the class that the middle of the box has more of."""

from __future__ import annotations

import numpy as np
from skimage.filters import threshold_otsu

from samaritan.models.classical.adapter import Bools, Marks, Method, Picture
from samaritan.models.classical.grey import grey


class _Otsu:
    slow = False

    def __call__(self, picture: Picture, marks: Marks) -> Bools:
        assert marks.box is not None  # noqa: S101 - it takes nothing else
        block = marks.box.block
        values = grey(picture[block])
        bright = values > threshold_otsu(values)
        middle = bright[tuple(slice(n // 3, -(-2 * n // 3)) for n in bright.shape)]
        mask = np.zeros(picture.shape[:2], np.bool_)
        mask[block] = bright == (middle.mean() >= bright.mean())
        return mask


def method() -> Method:
    """Return the method."""
    return _Otsu()
