"""How much two masks overlap near their boundaries."""

from __future__ import annotations

import math
from collections.abc import Sequence

import edt
import numpy as np

from samaritan.metrics.masks import Bools, common_block, require_drawable, require_length, require_pair, require_spacing
from samaritan.metrics.overlap import iou


def boundary_iou(
    reference: Bools, prediction: Bools, *, spacing_mm: Sequence[float], width_mm: float | None = None
) -> float:
    """Return the IoU of what of each mask lies within ``width_mm`` of its boundary, in [0, 1].

    nan if both masks are empty. For masks of two or three dimensions. Cheng et al. 2021, arXiv:2103.16562: the width is
    ``usual_width_mm`` unless it is given, and the image's border is boundary, too. They erode by squares; here
    distances are Euclidean, from the centre of a voxel to that of the nearest outside.

    Raises
    ------
    ImageError, GeometryMismatchError
        As ``require_pair`` and ``require_spacing``; for masks of other dimensions.
    GeometryError
        If the width is negative or not a number.
    """
    require_pair(reference, prediction)
    require_drawable(reference)
    spacing = require_spacing(spacing_mm, reference.ndim)
    if width_mm is None:
        width_mm = usual_width_mm(reference.shape, spacing)
    require_length("width_mm", width_mm)
    here = common_block(reference, prediction)
    return iou(*(_rim(mask[here], spacing, width_mm) for mask in (reference, prediction)))


def usual_width_mm(shape: tuple[int, ...], spacing_mm: tuple[float, ...]) -> float:
    """Return 2% of an image's diagonal, in mm; the length of a voxel at least."""
    return max(0.02 * math.hypot(*np.multiply(shape, spacing_mm).tolist()), *spacing_mm)


def _rim(mask: Bools, spacing: tuple[float, ...], width_mm: float) -> Bools:
    """Return what of a mask is near the outside, which begins at the array's border."""
    padded = np.pad(mask, 1)
    within = (slice(1, -1),) * mask.ndim
    depth = np.asarray(edt.edt(np.ascontiguousarray(padded), anisotropy=spacing))[within]
    return np.asarray(mask & (depth <= width_mm))
