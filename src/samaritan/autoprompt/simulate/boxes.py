"""Boxes: tight, and as people draw them."""

from __future__ import annotations

import numpy as np

from samaritan.autoprompt.simulate.target import Target
from samaritan.core.prompts import Box


def tight_box(target: Target) -> Box:
    """Return the smallest box that holds the object."""
    spans = target.bounds
    return Box((spans[0].start, spans[1].start, spans[2].start), (spans[0].stop, spans[1].stop, spans[2].stop))


def jittered_box(target: Target, rng: np.random.Generator, *, inward: float = 0.1, outward: float = 0.1) -> Box:
    """Return the tight box with every side moved, alike between ``inward`` and ``outward`` of the box's length there.

    It stays within the image and is a voxel wide at least. A slice stays a slice.
    """
    shape = np.array(target.mask.shape)
    start, stop = target.start, target.start + target.extent
    low, high = -outward * target.extent, inward * target.extent
    moved_start = np.clip(np.round(start + rng.uniform(low, high)), 0, shape - 1).astype(int)
    moved_stop = np.clip(np.round(stop - rng.uniform(low, high)), moved_start + 1, shape).astype(int)
    flat = target.extent == 1
    moved_start, moved_stop = np.where(flat, start, moved_start), np.where(flat, stop, moved_stop)
    (i0, j0, k0), (i1, j1, k1) = moved_start.tolist(), moved_stop.tolist()
    return Box((i0, j0, k0), (i1, j1, k1))
