"""Points on the object, all given at once: random, near its centre, deep inside."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from samaritan.autoprompt.simulate import Target, random_click
from samaritan.autoprompt.simulate.target import depth_of
from samaritan.core.prompts import Point, Prompts
from samaritan.evaluate.protocols.protocol import Asking, Protocol, Question

COUNTS = (1, 3, 5, 10, 20)


def _asked(target: Target, points: list[Point]) -> Asking:
    """Ask with the first few of ``points``, and with more of the same."""
    for count in COUNTS:
        prompts = Prompts(target.geometry, tuple(points[:count]))
        yield Question((prompts,), f"{count} points", float(count))


def _random(target: Target, rng: np.random.Generator) -> Asking:
    yield from _asked(target, [random_click(target, rng) for _ in range(max(COUNTS))])


def _centre(target: Target, _rng: np.random.Generator) -> Asking:
    """Ask with the voxels of the object that are nearest to its centre of mass."""
    voxels = target.voxels
    away = (((voxels - voxels.mean(axis=0)) * target.geometry.spacing) ** 2).sum(axis=1)
    nearest = voxels[np.argsort(away, kind="stable")[: max(COUNTS)]]
    yield from _asked(target, [_point(voxel) for voxel in nearest])


def _deepest(target: Target, _rng: np.random.Generator) -> Asking:
    """Ask with the deepest point, then each time with the one deepest in what is left, the last as a new border."""
    left = target.mask[target.bounds].copy()
    points = []
    for _ in range(min(max(COUNTS), len(target.voxels))):
        depth = depth_of(left, target.geometry)
        at = np.unravel_index(int(depth.argmax()), depth.shape)
        points.append(_point(np.array(at) + target.start))
        left[at] = False
    yield from _asked(target, points)


def _point(voxel: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Point:
    i, j, k = (int(v) for v in voxel)
    return Point((i, j, k))


def _protocol(title: str, run: Callable[[Target, np.random.Generator], Asking], source: str) -> Protocol:
    return Protocol(title=title, run=run, kinds=frozenset({"point"}), source=source, axis="points", oracle=True)


POINTS_RANDOM = _protocol("1, 3, 5, 10, 20 random points on the object", _random, "Roy et al. 2023, arXiv:2304.05396")
POINTS_CENTRE = _protocol(
    "1 to 20 points nearest to the object's centre", _centre, "Cheng et al. 2023, arXiv:2305.00035"
)
POINTS_DEEPEST = _protocol(
    "1 to 20 points, each the deepest given those before it", _deepest, "Xu et al. 2016, arXiv:1603.04042"
)
