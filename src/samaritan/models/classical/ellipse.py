"""The ellipse inscribed in the box: what the box alone says of an object."""

from __future__ import annotations

import numpy as np

from samaritan.models.classical.adapter import Bools, Marks, Method, Picture


class _Ellipse:
    slow = False

    def __call__(self, picture: Picture, marks: Marks) -> Bools:
        assert marks.box is not None  # noqa: S101 - it takes nothing else
        i0, j0, i1, j1 = marks.box
        i, j = np.ogrid[0 : picture.shape[0], 0 : picture.shape[1]]
        x = (i + 0.5 - (i0 + i1) / 2) / ((i1 - i0) / 2)
        y = (j + 0.5 - (j0 + j1) / 2) / ((j1 - j0) / 2)
        return np.asarray(x**2 + y**2 <= 1)


def method() -> Method:
    """Return the method."""
    return _Ellipse()
