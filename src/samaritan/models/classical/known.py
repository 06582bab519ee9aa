"""What of a plane is known before a method begins: from marks, from a box, from the plane's rim."""

from __future__ import annotations

import numpy as np

from samaritan.models.classical.adapter import Bools, Marks


def known(marks: Marks) -> tuple[Bools, Bools]:
    """Return which pixels (i, j) are on the object, and which beside it.

    Without a mark on it, the middle third of the box is; what is outside the box is beside it. Without a box, the rim
    of the plane is beside it.
    """
    on, beside = marks.on.copy(), np.ones(marks.on.shape, np.bool_)
    if marks.box is not None:
        beside[marks.box.block] = False
        if not on.any():
            on[_middle(marks.box.i0, marks.box.i1), _middle(marks.box.j0, marks.box.j1)] = True
    else:
        beside[1:-1, 1:-1] = False
    beside = (beside | marks.beside) & ~marks.on
    return on & ~beside, beside


def _middle(start: int, stop: int) -> slice:
    third = (stop - start) // 3
    return slice(start + third, max(start + third + 1, stop - third))
