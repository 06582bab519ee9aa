"""How far the object in a box over several slices reaches in each of them, as planes across the slices show it.

A 3D box is tight in three directions, so the model can be asked for the object in the box's middle plane along each of
the two axes within the slices. Where such a plane cuts a slice, its mask says from where to where the object is there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from samaritan.core.geometry import AXES, Axis, Geometry, axis_number
from samaritan.core.model import Prediction
from samaritan.core.prompts import Box
from samaritan.infer.shapes import Bools

# In planes across slices that are thicker than this many of their pixels hardly anything can be recognised (up to 8 it
# was tried, and paid).
_THICKEST = 10.0
_MARGIN = 1  # pixels around what a middle plane shows: elsewhere the object may be a little wider
_LEAST_SCORE = 0.3  # predicted IoU of a plane across
_DEEP = 4  # slices at least for shapes in planes across them to be seen


def shows_across(box: Box, geometry: Geometry, axis: Axis) -> bool:
    """Tell whether planes across the slices of a box along ``axis`` would show the object well enough."""
    normal = axis_number(axis)
    # Of all three spacings, whichever is the slices': planes are stretched to square pixels, and must not become huge.
    even = max(geometry.spacing) <= _THICKEST * min(geometry.spacing)
    return even and box.stop[normal] - box.start[normal] >= _DEEP


def boxes_by_slice(box: Box, axis: Axis, look: Callable[[Axis, int], Prediction]) -> dict[int, Box]:
    """Return the box of each slice in which the object was seen, in the indices of that plane.

    None at all if it is not to be believed what the planes across show: in a loose box their middle may be beside it.

    Parameters
    ----------
    box
        Around the object, in voxels.
    axis
        Across which the volume is sliced.
    look
        Returns the object in the plane ``(axis, index)``, asked with the part of ``box`` in that plane.
    """
    normal = axis_number(axis)
    across = [n for n in range(3) if n != normal]
    seen: dict[int, Bools] = {}  # by the axis along which the mask says how far the object reaches: (slice, place)
    for cut, along in (across, across[::-1]):
        found = look(AXES[cut], (box.start[cut] + box.stop[cut]) // 2)
        if found.score < _LEAST_SCORE:
            return {}
        mask = found.mask[..., 0]
        by_slice = mask if normal < along else mask.T
        seen[along] = by_slice[:, box.start[along] : box.stop[along]]
    boxes = {}
    for index in range(box.start[normal], box.stop[normal]):
        places = {along: np.flatnonzero(seen[along][index]) + box.start[along] for along in across}
        if all(len(hits) for hits in places.values()):
            (a0, a1), (b0, b1) = (
                (max(int(hits[0]) - _MARGIN, box.start[n]), min(int(hits[-1]) + 1 + _MARGIN, box.stop[n]))
                for n, hits in places.items()
            )
            boxes[index] = Box((a0, b0, 0), (a1, b1, 1))
    return boxes
