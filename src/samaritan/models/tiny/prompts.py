"""From prompts on an image plane to the maps that the `tiny` network was trained on.

The network knows points, one box, scribbles and a previous mask. What a person can give beyond that is expressed in
these terms:

* several boxes of one object: the smallest box around them all;
* a lasso: the box around the outline, and the area in it as previous mask; the mask then stays within it, unless a
  positive mark lies outside. A negative lasso is a negative scribble;
* a mask: previous mask; without any other positive prompt also the box around it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from samaritan.core.model import Prediction
from samaritan.core.prompts import Lasso, Point, Prompts, Scribble
from samaritan.models.letterbox import Letterbox
from samaritan.models.prompt_areas import extent, negative_strokes, require_start, start_logits
from samaritan.models.tiny.prompt_maps import Scribbles, render

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

_SAID = 4.0  # logit that a mark which was not heeded gets at its place
_SPREAD = 0.75  # standard deviation of that change, over the distance to where the mask is right
_APART = 0.3  # and at most so much of the distance to a mark that says the contrary
_SECTORS, _ROUND, _MIDDLE = 36, 0.8, 0.25  # of a circle; share of them that a stroke around passes; share of the radius
_WIDER = 1.1  # than a stroke around its middle is the object that it marks
_TIMES = 3  # that marks may be given their way: one may undo another a little
PADDING = -16.0  # logit of the previous mask where the frame holds no image


def maps(prompts: Prompts, previous: Prediction | None, letterbox: Letterbox) -> Floats:
    """Return the prompt maps (channels, rows, columns) of one object, as ``prompt_maps.render`` lists them.

    Raises
    ------
    PromptError
        If there is nothing positive to start from.
    """
    require_start(prompts, previous)
    strokes = _strokes(prompts, letterbox)
    points = prompts.points
    box = extent(prompts)
    logits = start_logits(prompts, previous)
    return render(
        letterbox.frame[::-1],
        points=letterbox.to_frame([p.index[:2] for p in points]).astype(np.float32) if points else None,
        positive=np.array([p.positive for p in points]) if points else None,
        box=letterbox.to_frame(box - 0.5).astype(np.float32).ravel() if box is not None else None,
        scribbles=strokes,
        previous=letterbox.image_to_frame(logits, fill=PADDING)[0] if logits is not None else None,
    )


def _strokes(prompts: Prompts, letterbox: Letterbox) -> Scribbles:
    """Return scribbles, and areas of negative lassos, on the frame."""
    positive = [scribble.voxels[:, :2] for scribble in prompts.of(Scribble) if scribble.positive]
    negative = negative_strokes(prompts, letterbox.plane)
    return Scribbles(
        *(letterbox.voxels_to_frame(np.concatenate(voxels)) if voxels else None for voxels in (positive, negative))
    )


def without_negative_strokes(prompts: Prompts) -> Prompts:
    """Return the prompts but negative scribbles and lassos."""
    return replace(
        prompts,
        items=tuple(item for item in prompts.items if not isinstance(item, Scribble | Lasso) or item.positive),
    )


def heeds_strokes(logits: Floats, prompts: Prompts) -> bool:
    """Whether a mask, given as logits (i, j), lies beside all negative scribbles and lassos."""
    mask = logits > 0
    return not any(mask[tuple(voxels.T)].any() for voxels in negative_strokes(prompts, mask.shape))


def drawn_around(prompts: Prompts) -> NDArray[np.float64] | None:
    """Return ((i0, j0), (i1, j1)), half-open, of what positive strokes run around, a little wider; None if they do not.

    They do if they are seen in most directions from the middle of their box: along a contour, or a wall. Such a stroke
    tells where the object ends as a box does; any other may lie on a small part of it.
    """
    strokes = [scribble.voxels[:, :2] for scribble in prompts.of(Scribble) if scribble.positive]
    if not strokes or len(strokes) < len(prompts.items):  # clicks may say that there is more
        return None
    places = np.concatenate(strokes).astype(np.float64)
    start, stop = places.min(axis=0), places.max(axis=0) + 1
    away = places + 0.5 - (start + stop) / 2
    far = np.hypot(*away.T) > _MIDDLE * (stop - start).max() / 2
    sectors = np.floor(np.arctan2(*away[far].T) / (2 * np.pi) * _SECTORS).astype(np.int64) % _SECTORS
    if len(np.unique(sectors)) < _ROUND * _SECTORS:
        return None
    return np.stack([start, stop]) + (_WIDER - 1) / 2 * np.stack([start - stop, stop - start])


def marks_against(logits: Floats, prompts: Prompts) -> list[Point]:
    """Return the points that lie on the wrong side of a mask, given as logits (i, j)."""
    return [point for point in prompts.points if (logits[point.voxel[:2]] > 0) != point.positive]


def given_way(logits: Floats, prompts: Prompts, *, reach: float) -> Floats:
    """Return ``logits`` (i, j) changed around the points on the wrong side of the mask, so that each has its way.

    The mask changes about as far as to the next pixel that is on the point's side already, at most some ``reach``
    pixels: people click in the middle of what is wrong. Where a point of the other sign is near, it changes less far.
    """
    changed = logits
    for _ in range(_TIMES):
        against = marks_against(changed, prompts)
        if not against:
            break
        changed = changed.copy()
        for point in against:
            sign = np.float32(1.0 if point.positive else -1.0)
            spread = max(1.0, min(reach, _SPREAD * distance_to_agreement(changed, point, reach=reach)))
            spread = min(spread, _APART * _distance_to_contrary(point, prompts))
            near, squared = _around(point, logits.shape, reach=3 * reach)
            missing = _SAID - sign * changed[point.voxel[:2]]
            changed[near] += sign * missing * np.exp(-squared / np.float32(2 * spread**2))
    return changed


def _distance_to_contrary(point: Point, prompts: Prompts) -> float:
    """Return how many pixels it is to the next point of the other sign; infinite if there is none."""
    others = [other.voxel[:2] for other in prompts.points if other.positive != point.positive]
    return min((float(np.hypot(*np.subtract(other, point.voxel[:2]))) for other in others), default=float("inf"))


def any_far(logits: Floats, points: list[Point], *, reach: float) -> bool:
    """Whether one of the points is farther than ``reach`` pixels from where a mask, logits (i, j), agrees with it."""
    return any(distance_to_agreement(logits, point, reach=reach) > reach for point in points)


def distance_to_agreement(logits: Floats, point: Point, *, reach: float) -> float:
    """Return how many pixels a point is from the next that is on its side of a mask, logits (i, j).

    Infinite if there is none within some ``reach``.
    """
    near, squared = _around(point, logits.shape, reach=2 * reach)
    agrees = (logits[near] > 0) == point.positive
    return float(np.sqrt(squared[agrees].min())) if agrees.any() else float("inf")


def _around(point: Point, shape: tuple[int, ...], *, reach: float) -> tuple[tuple[slice, ...], Floats]:
    """Return the square around a point that ends ``reach`` from it, and the squared distances in it."""
    far = int(np.ceil(reach))
    near = tuple(slice(max(0, p - far), min(n, p + far + 1)) for p, n in zip(point.voxel, shape, strict=False))
    i, j = np.ogrid[near]
    return near, np.asarray((i - point.voxel[0]) ** 2 + (j - point.voxel[1]) ** 2, np.float32)
