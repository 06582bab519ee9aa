"""Prompts that a user might give for a known object: loose boxes, and clicks where the mask is most wrong."""

from __future__ import annotations

import edt
import numpy as np
from numpy.typing import NDArray

from samaritan.core.prompts import Box, Point

Bools = NDArray[np.bool_]


def loose_box(box: Box, shape: tuple[int, int, int], *, jitter: float, rng: np.random.Generator) -> Box:
    """Return `box` with every side moved in or out by up to `jitter` of its length, within an image of `shape`."""
    start, stop = np.array(box.start[:2]), np.array(box.stop[:2])
    reach = jitter * (stop - start)
    start = np.clip(np.round(start + rng.uniform(-reach, reach)), 0, np.array(shape[:2]) - 1).astype(int)
    stop = np.clip(np.round(stop + rng.uniform(-reach, reach)), start + 1, shape[:2]).astype(int)
    return Box((int(start[0]), int(start[1]), 0), (int(stop[0]), int(stop[1]), 1))


def next_click(reference: Bools, predicted: Bools) -> Point | None:
    """Return the click that a user would make next, masks (i, j, 1): in the deepest point of the largest error.

    Positive where the object was missed, negative where the mask spills; None if there is no error.
    """
    depth, where, positive = 0.0, (0, 0), True
    for error, sign in ((reference & ~predicted, True), (predicted & ~reference, False)):
        distance = edt.edt(np.ascontiguousarray(error[..., 0]), black_border=True)
        at = np.unravel_index(int(distance.argmax()), distance.shape)
        if distance[at] > depth:
            depth, where, positive = float(distance[at]), (int(at[0]), int(at[1])), sign
    return Point((*where, 0), positive) if depth > 0 else None


def dice(reference: Bools, predicted: Bools) -> float:
    """Return Dice (1945) of two masks, `reference` not empty."""
    both, either = int((reference & predicted).sum()), int(reference.sum()) + int(predicted.sum())
    return 2 * both / either
