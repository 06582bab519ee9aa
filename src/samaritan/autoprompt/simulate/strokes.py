"""Strokes: scribbles along a line, a centre line or the contour, and lassos, drawn by an unsteady hand.

All are drawn in one slice along k: that of the object's largest area, which is where people draw.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from samaritan.autoprompt.simulate.target import Bools, Target
from samaritan.core.prompts import Lasso, Scribble

Path = NDArray[np.float64]  # (n, 2): i and j of the slice

_STEP_VOXELS = 1.5  # between the vertices of a path that is wobbled
_FEWEST_VERTICES = 8  # of a lasso
_LASSO_VERTICES = 48
_ROUND = 0.4  # of the root of its area: an object with a shorter centre line has none worth drawing
_HOLE = 0.1  # of an object without its holes: a smaller hole is not drawn around
_LIFTED_SHARE, _GAP = 0.2, (0.03, 0.15)  # of the strokes; how much of the path is then left out, each time
_FEWEST_LIFTED = 12  # vertices of a path that is long enough to lift the pen in
_OUTSIDE = (0.04, 0.8)  # of the longest side: how far beside the object a negative stroke runs


def line(target: Target, rng: np.random.Generator) -> Scribble:
    """Draw a slightly bent stroke between two places in the object; what leaves the object is left out."""
    area, k = largest_slice(target)
    inside = np.argwhere(area).astype(np.float64)
    first, *others = inside[rng.integers(len(inside), size=9)]
    far = max(others, key=lambda place: float(np.hypot(*(place - first))))
    return _scribble(_resampled(np.stack([first, far])), area, k, rng)


def centre_line(target: Target, rng: np.random.Generator) -> Scribble:
    """Draw along a part of the line through the middle of the object.

    That is the longest such line, or in a wall around a cavity the one around it, and across what is round.
    """
    from skimage.morphology import skeletonize  # noqa: PLC0415 - slow to import

    area, k = largest_slice(target)
    wall = _middle_of_wall(area)
    if wall is not None:
        return _scribble(_part(_turned(wall, rng), rng, shortest=0.4, whole_share=0.3), area, k, rng)
    path = _longest_path(np.asarray(skeletonize(area), np.bool_))
    if len(path) < _ROUND * np.sqrt(area.sum()):  # the middle of what is round is a point
        return line(target, rng)
    return _scribble(_part(path, rng, shortest=0.4), area, k, rng)


def contour(target: Target, rng: np.random.Generator) -> Scribble:
    """Draw along a part of the boundary, from inside."""
    area, k = largest_slice(target)
    depth = ndimage.distance_transform_edt(np.pad(area, 1))[1:-1, 1:-1]
    path = _turned(_level_line(depth, rng.uniform(0.15, 0.5) * float(depth.max())), rng)
    return _scribble(_part(path, rng, shortest=0.3), area, k, rng)


def negative_stroke(target: Target, rng: np.random.Generator) -> Scribble | None:
    """Draw along a part of the boundary, from outside, near or far; None if there is no room."""
    area, k = largest_slice(target)
    away = ndimage.distance_transform_edt(~area)
    distance = float(target.extent[:2].max()) * np.exp(rng.uniform(*np.log(_OUTSIDE)))
    path = _level_line(away, float(np.clip(distance, 2.0, max(2.0, 0.9 * away.max()))))
    drawn = _draw(_wobbled(_part(path, rng, shortest=0.15), rng, amount=0.5), area.shape, thickness=1) & ~area
    return _to_scribble(drawn, k, positive=False) if drawn.any() else None


def lasso(target: Target, rng: np.random.Generator) -> Lasso:
    """Draw around the object, mostly a little outside of it."""
    area, k = largest_slice(target)
    reach = 0.02 * float(target.extent[:2].max())
    away = max(0.3, reach * rng.uniform(0.0, 3.0))
    margin = int(np.ceil(away)) + 2  # room for the line around an object at the image's border
    padded = ndimage.binary_fill_holes(np.pad(area, margin))
    signed = ndimage.distance_transform_edt(~padded) - ndimage.distance_transform_edt(padded)
    shaky = _wobbled(_level_line(signed, away) - margin, rng, amount=0.25 + 0.5 * reach)
    count = int(np.clip(len(shaky), _FEWEST_VERTICES, _LASSO_VERTICES))
    picked = _resampled(shaky, count=count + 1)[:-1]
    corners = np.clip(picked, 0.0, np.array(area.shape) - 1.0)
    return Lasso(np.column_stack([corners, np.full(len(corners), float(k))]))


def largest_slice(target: Target) -> tuple[Bools, int]:
    """Return the mask (i, j) of the slice along k in which the object is largest, and the slice's index."""
    k = int(target.mask.sum(axis=(0, 1)).argmax())
    return target.mask[..., k], k


def _scribble(path: Path, area: Bools, k: int, rng: np.random.Generator) -> Scribble:
    """Draw ``path`` with a shaking hand and a random pen; if nothing of it is in the object, mark its first place."""
    size = float(np.sqrt(area.sum()))
    shaky = _wobbled(path, rng, amount=min(2.0, 0.03 * size))
    thickness = int(rng.integers(1, 2 + min(3, int(size / 40))))
    drawn = np.zeros_like(area)
    for piece in _lifted(shaky, rng):
        drawn |= _draw(piece, area.shape, thickness=thickness) & area
    if not drawn.any():
        places = np.argwhere(area)
        nearest = places[np.abs(places - path[0]).sum(axis=1).argmin()]
        drawn[tuple(nearest)] = True
    return _to_scribble(drawn, k, positive=True)


def _to_scribble(drawn: Bools, k: int, *, positive: bool) -> Scribble:
    voxels = np.argwhere(drawn)
    return Scribble(np.column_stack([voxels, np.full(len(voxels), k)]), positive)


def _draw(path: Path, shape: tuple[int, ...], *, thickness: int) -> Bools:
    """Return the pixels (i, j) under a path drawn with a round pen."""
    drawn = np.zeros(shape, np.bool_)
    dense = np.round(_resampled(path, step=0.5)).astype(int)
    within = ((dense >= 0) & (dense < np.array(shape))).all(axis=1)
    drawn[tuple(dense[within].T)] = True
    if thickness > 1:
        reach = np.arange(thickness) - (thickness - 1) / 2
        pen = np.hypot(reach[:, None], reach[None, :]) <= thickness / 2
        drawn = np.asarray(ndimage.binary_dilation(drawn, pen), np.bool_)
    return drawn


def _wobbled(path: Path, rng: np.random.Generator, *, amount: float) -> Path:
    """Shift the vertices by smooth noise of about ``amount`` voxels: a hand that drifts rather than trembles."""
    even = _resampled(path)
    noise = ndimage.gaussian_filter1d(rng.standard_normal(even.shape), sigma=max(1.0, len(even) / 12), axis=0)
    spread = float(noise.std())
    return even + (noise * (amount / spread) if spread > 0 else 0.0)


def _resampled(path: Path, *, step: float = _STEP_VOXELS, count: int | None = None) -> Path:
    """Return vertices at even distances of about ``step`` voxels along ``path``, or ``count`` of them."""
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
    at = np.linspace(0.0, along[-1], count or max(2, int(along[-1] / step) + 1))
    return np.stack([np.interp(at, along, path[:, axis]) for axis in (0, 1)], axis=1)


def _part(path: Path, rng: np.random.Generator, *, shortest: float, whole_share: float = 0.0) -> Path:
    """Return a random stretch of a path, of at least ``shortest`` of its length; ``whole_share`` of times all of it."""
    share = 1.0 if rng.random() < whole_share else rng.uniform(shortest, 1.0)
    first = int(rng.uniform(0.0, 1.0 - share) * (len(path) - 1))
    return path[first : first + max(2, round(share * len(path)))]


def _turned(loop: Path, rng: np.random.Generator) -> Path:
    """Return a closed path (its last place is its first) that begins elsewhere; an open one as it is."""
    if len(loop) < 3 or (loop[0] != loop[-1]).any():
        return loop
    begun = np.roll(loop[:-1], -int(rng.integers(len(loop) - 1)), axis=0)
    return np.concatenate([begun, begun[:1]])


def _lifted(path: Path, rng: np.random.Generator) -> list[Path]:
    """Return the pieces of a path that is drawn with the pen lifted now and then, mostly one."""
    if rng.random() > _LIFTED_SHARE or len(path) < _FEWEST_LIFTED:
        return [path]
    cuts = np.sort(rng.choice(np.arange(2, len(path) - 2), size=int(rng.integers(1, 4)), replace=False))
    gaps = np.maximum(1, np.round(rng.uniform(*_GAP, len(cuts)) * len(path))).astype(int)
    starts, stops = [0, *(cuts + gaps)], [*cuts, len(path)]
    return [path[start:stop] for start, stop in zip(starts, stops, strict=True) if stop - start > 1] or [path]


def _middle_of_wall(area: Bools) -> Path | None:
    """Return the closed line midway between the largest hole of an area and what is outside; None without a hole."""
    filled = ndimage.binary_fill_holes(area)
    holes, count = ndimage.label(filled & ~area)
    if not count:
        return None
    sizes = np.bincount(holes.ravel())[1:]
    if sizes.max() < _HOLE * filled.sum():
        return None
    hole = np.pad(holes == 1 + int(sizes.argmax()), 1)
    from_outside = ndimage.distance_transform_edt(np.pad(filled, 1))
    return _level_line(from_outside - ndimage.distance_transform_edt(~hole), 0.0) - 1.0


def _level_line(values: NDArray[np.floating], level: float) -> Path:
    """Return the longest line along which ``values`` (i, j) are ``level``; at least one point, twice."""
    from skimage.measure import find_contours  # noqa: PLC0415 - slow to import

    # Padded, for it wants two rows and two columns at least.
    lines = [line - 1.0 for line in find_contours(np.pad(values, 1, mode="edge"), level)]
    if not lines:
        middle = np.argwhere(values >= values.max())[0].astype(np.float64)
        return np.stack([middle, middle])
    return np.asarray(max(lines, key=len), np.float64)


def _longest_path(skeleton: Bools) -> Path:
    """Return the longest shortest path (n, 2) over the pixels of a skeleton, eight neighbours each."""
    start = tuple(int(v) for v in np.argwhere(skeleton)[0])
    for _ in range(2):  # the place furthest from anywhere is an end; the one furthest from it is the other
        before = _search(skeleton, start)
        start = next(reversed(before))
    path = [start]
    while (step := before[path[-1]]) is not None:
        path.append(step)
    return np.array(path if len(path) > 1 else path * 2, np.float64)


def _search(skeleton: Bools, start: tuple[int, ...]) -> dict[tuple[int, ...], tuple[int, ...] | None]:
    """Return, for every pixel that can be reached, the one before it; the furthest comes last."""
    before: dict[tuple[int, ...], tuple[int, ...] | None] = {start: None}
    todo = deque([start])
    rows, columns = skeleton.shape
    while todo:
        i, j = todo.popleft()
        for di in (-1, 0, 1):
            for dj in (-1, 0, 1):
                place = (i + di, j + dj)
                fits = 0 <= place[0] < rows and 0 <= place[1] < columns
                if fits and skeleton[place] and place not in before:
                    before[place] = (i, j)
                    todo.append(place)
    return before
