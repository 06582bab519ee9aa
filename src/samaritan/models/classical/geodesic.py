"""Each pixel goes to the mark that is nearest along the image: a path costs what the greys change on it."""

from __future__ import annotations

import numpy as np
from skimage.filters import sobel
from skimage.graph import MCP_Geometric

from samaritan.models.classical.adapter import Bools, Marks, Method, Picture
from samaritan.models.classical.grey import grey
from samaritan.models.classical.known import known

_EDGE = 200.0  # pixels of plain ground that a full change of grey, from black to white, is as long as


class _Geodesic:
    slow = True

    def __call__(self, picture: Picture, marks: Marks) -> Bools:
        on, beside = known(marks)
        if not beside.any():
            return ~beside
        cost = 1 + _EDGE * sobel(grey(picture) / 255.0)
        to_object, to_ground = (_distances(cost, seeds) for seeds in (on, beside))
        return np.asarray((to_object < to_ground) | on)


def _distances(cost: np.ndarray, seeds: Bools) -> np.ndarray:
    if not seeds.any():
        return np.full(cost.shape, np.inf)
    found, _ = MCP_Geometric(cost).find_costs(np.argwhere(seeds))
    return np.asarray(found)


def method() -> Method:
    """Return the method."""
    return _Geodesic()
