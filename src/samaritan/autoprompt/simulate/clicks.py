"""Clicks: in the object, beside it, and where a mask is most wrong."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samaritan.autoprompt.simulate.target import Bools, Target, depth_of
from samaritan.core.errors import GeometryMismatchError
from samaritan.core.geometry import Geometry
from samaritan.core.prompts import Point

_EDGE_DEPTH = 0.35  # of the greatest depth: what counts as near the boundary
_REACH = 0.3  # of the longest side: how far outside people still click to say "not this"


def centre_click(target: Target) -> Point:
    """Click in the deepest point of the object: inside whatever its shape, unlike the centre of mass."""
    return _point(np.argwhere(target.depth == target.depth.max())[0] + target.start, positive=True)


def random_click(target: Target, rng: np.random.Generator) -> Point:
    """Click anywhere in the object, every voxel alike."""
    return _point(target.voxels[rng.integers(len(target.voxels))], positive=True)


def edge_click(target: Target, rng: np.random.Generator) -> Point:
    """Click in the object near its boundary."""
    near = np.argwhere((target.depth > 0) & (target.depth <= _EDGE_DEPTH * target.depth.max()))
    if not len(near):
        return random_click(target, rng)
    return _point(near[rng.integers(len(near))] + target.start, positive=True)


def outside_click(target: Target, rng: np.random.Generator) -> Point | None:
    """Click beside the object, where a mask would spill; None if the object fills the image."""
    block = target.around(_REACH)
    outside = np.argwhere(~target.mask[block])
    if not len(outside):
        return None
    first = np.array([span.start for span in block])
    return _point(outside[rng.integers(len(outside))] + first, positive=False)


def next_click(reference: Bools, predicted: Bools, geometry: Geometry) -> Point | None:
    """Return the corrective click for a mask: in the deepest point of the error that is deepest.

    Positive where the object was missed, negative where the mask spills; None if there is no error. With an empty
    ``predicted`` it is the centre click. Masks are (i, j, k) on ``geometry``; depth is in its spacing.
    """
    for mask in (reference, predicted):
        if mask.shape != geometry.shape:
            raise GeometryMismatchError(got=f"a mask of shape {mask.shape}", wanted=f"{geometry.shape}")
    best, where, positive = 0.0, np.zeros(3, np.int64), True
    for error, sign in ((reference & ~predicted, True), (predicted & ~reference, False)):
        if not error.any():
            continue
        wrong = Target(error, geometry)
        # The whole error, not its block: the border of a block inside the image is no border of the error.
        depth = depth_of(error[wrong.around(0.0)], geometry)
        at = np.unravel_index(int(depth.argmax()), depth.shape)
        if depth[at] > best:
            first = np.array([span.start for span in wrong.around(0.0)])
            best, where, positive = float(depth[at]), np.array(at) + first, sign
    return _point(where, positive=positive) if best > 0 else None


def _point(voxel: NDArray[np.int64], *, positive: bool) -> Point:
    i, j, k = (int(v) for v in voxel)
    return Point((i, j, k), positive)
