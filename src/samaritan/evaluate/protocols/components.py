"""The pieces of an object, largest first, and their deepest points."""

from __future__ import annotations

import cc3d
import numpy as np

from samaritan.autoprompt.simulate import Target
from samaritan.core.prompts import Point


def components(target: Target, *, most: int | None = None) -> list[Target]:
    """Return the connected pieces of an object, largest first, at most ``most``; neighbours at corners count."""
    block = target.bounds
    mask = np.ascontiguousarray(target.mask[block])
    if target.geometry.is_2d:
        found = cc3d.connected_components(mask[..., 0], connectivity=8)[..., None]
    else:
        found = cc3d.connected_components(mask, connectivity=26)
    sizes = np.bincount(found.ravel())[1:]
    pieces = []
    for value in np.argsort(-sizes, kind="stable")[:most] + 1:
        whole = np.zeros(target.mask.shape, np.bool_)
        whole[block] = found == value
        pieces.append(Target(whole, target.geometry, target.name))
    return pieces


def deepest_point(target: Target, rng: np.random.Generator) -> Point:
    """Return a click in the deepest point of an object, any of several that are as deep."""
    deepest = np.argwhere(target.depth == target.depth.max())
    i, j, k = (int(v) for v in deepest[rng.integers(len(deepest))] + target.start)
    return Point((i, j, k))
