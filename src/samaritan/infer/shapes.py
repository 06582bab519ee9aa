"""Small facts about plane masks: where they are, where they are thickest, what lies between two of them."""

from __future__ import annotations

import edt
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]
# Half-open (a0, b0), (a1, b1).
Corners = tuple[tuple[int, int], tuple[int, int]]

# A part this much smaller than the largest is a speck, not worth a click.
_SPECK = 0.1
_MAX_PARTS = 3
_EIGHT_NEIGHBOURS = np.ones((3, 3), np.bool_)


def corners(mask: Bools) -> Corners:
    """Return the tight half-open bounding box of ``mask`` (a, b), which must not be empty."""
    a, b = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (int(a[0]), int(b[0])), (int(a[-1]) + 1, int(b[-1]) + 1)


def deepest_points(mask: Bools) -> list[tuple[int, int]]:
    """Return the pixel farthest from the border in each large part of ``mask`` (a, b), largest part first."""
    (a0, b0), (a1, b1) = corners(mask)
    # With a border of background, so that the edge of the crop counts as the object's own. (Not by cc3d: on arrays a
    # few pixels thin its 8-connected parts come out wrong.)
    part_labels, _ = ndimage.label(np.pad(mask[a0:a1, b0:b1], 1), structure=_EIGHT_NEIGHBOURS)
    sizes = np.bincount(part_labels.ravel())
    sizes[0] = 0
    largest = np.argsort(-sizes, kind="stable")[:_MAX_PARTS]
    depth = edt.edt(part_labels)
    points = []
    for part in largest:
        if sizes[part] > 0 and sizes[part] >= _SPECK * sizes[largest[0]]:
            at = np.unravel_index(np.argmax(np.where(part_labels == part, depth, 0)), depth.shape)
            points.append((int(at[0]) + a0 - 1, int(at[1]) + b0 - 1))
    return points


def overlap(first: Bools, second: Bools) -> float:
    """Return intersection over union of two masks, in [0, 1]; 0 if both are empty."""
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 0.0


def between(first: Bools, second: Bools, fraction: float) -> Bools:
    """Return the mask that lies ``fraction`` (0 to 1) of the way from one to the other.

    Shape-based interpolation: zero level of the mean of both signed distances (Raya and Udupa 1990,
    doi:10.1109/42.52980). Neither mask may be empty; the result may be, where they do not overlap.
    """
    (a0, b0), (a1, b1) = corners(first | second)
    here = (slice(a0, a1), slice(b0, b1))
    mixed = (1 - fraction) * _signed_distance(first[here]) + fraction * _signed_distance(second[here])
    result = np.zeros_like(first)
    result[here] = mixed > 0
    return result


def _signed_distance(mask: Bools) -> Floats:
    """Return the distance of each pixel to the border, negative outside; the edge of the array is outside."""
    padded = np.pad(mask, 1)
    signed: Floats = (edt.edt(padded) - edt.edt(~padded))[1:-1, 1:-1]
    return signed
