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

from samaritan.core.errors import PromptError
from samaritan.core.model import Prediction
from samaritan.core.prompts import Box, Lasso, MaskPrompt, Point, Prompts, Scribble
from samaritan.models.letterbox import Letterbox
from samaritan.models.tiny.prompt_maps import Scribbles, render
from samaritan.models.tiny.zoom import bounds, inside

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

_SURE = 8.0  # logit that a mask drawn by a person stands for
_SAID = 4.0  # logit that a mark which was not heeded gets at its place
_SPREAD = 0.75  # standard deviation of that change, over the distance to where the mask is right
_APART = 0.3  # and at most so much of the distance to a mark that says the contrary
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
    logits = _start(prompts, previous)
    return render(
        letterbox.frame[::-1],
        points=letterbox.to_frame([p.index[:2] for p in points]).astype(np.float32) if points else None,
        positive=np.array([p.positive for p in points]) if points else None,
        box=letterbox.to_frame(box - 0.5).astype(np.float32).ravel() if box is not None else None,
        scribbles=strokes,
        previous=letterbox.image_to_frame(logits, fill=PADDING)[0] if logits is not None else None,
    )


def require_start(prompts: Prompts, previous: Prediction | None) -> None:
    """Refuse prompts that do not say where the object is, unless an earlier prediction does.

    Raises
    ------
    PromptError
        If all prompts are negative and there is no ``previous``.
    """
    if previous is None and not any(getattr(item, "positive", True) for item in prompts.items):
        raise PromptError(
            got="negative prompts only",
            wanted="something on the object: a positive point, a scribble, a box, a lasso or a mask",
            fix="Add one, or refine an earlier prediction",
        )


def keep_within_lasso(logits: Floats, prompts: Prompts) -> Floats:
    """Return ``logits`` (m, i, j, 1) with nothing outside the positive lassos, unless a positive mark lies there."""
    plane = logits.shape[1:3]
    areas = [inside(lasso, plane) for lasso in prompts.of(Lasso) if lasso.positive]
    if not areas:
        return logits
    allowed = np.logical_or.reduce(areas)
    if any(not allowed[voxels[:, 0], voxels[:, 1]].all() for voxels in positive_marks(prompts)):
        return logits
    return np.where(allowed[..., None], logits, np.minimum(logits, np.float32(-_SURE)))


def _start(prompts: Prompts, previous: Prediction | None) -> Floats | None:
    """Return the logits (1, i, j, 1) to start from: what the model last said, and what a person drew since."""
    drawn = _drawn_areas(prompts, previous)
    if not drawn:
        return None if previous is None else previous.logits[:1]
    area = np.logical_or.reduce(drawn)[None, :, :, None]
    return np.where(area, np.float32(_SURE), np.float32(-_SURE) if previous is None else previous.logits[:1])


def _drawn_areas(prompts: Prompts, previous: Prediction | None) -> list[Bools]:
    """Return the areas (i, j) of masks and positive lassos; after an earlier prediction, of those it did not heed.

    Those are less than half in it, without a negative mark that says why.
    """
    plane = prompts.geometry.shape[:2]
    areas = [mask.mask[..., 0] for mask in prompts.of(MaskPrompt)]
    areas += [inside(lasso, plane) for lasso in prompts.of(Lasso) if lasso.positive]
    if previous is None:
        return areas
    found = previous.logits[0, ..., 0] > 0
    refused = np.zeros(plane, np.bool_)
    refused[tuple(np.concatenate([np.zeros((0, 2), np.int64), *_negative_marks(prompts)]).T)] = True
    return [
        area
        for area in areas
        if 2 * np.count_nonzero(area & found) < np.count_nonzero(area) and not (area & refused).any()
    ]


def _negative_marks(prompts: Prompts) -> list[NDArray[np.int64]]:
    """Return the pixels (n, 2) of every negative point, scribble and lasso."""
    points = [np.array([point.voxel[:2]], np.int64) for point in prompts.points if not point.positive]
    return points + _negative_strokes(prompts, prompts.geometry.shape[:2])


def _strokes(prompts: Prompts, letterbox: Letterbox) -> Scribbles:
    """Return scribbles, and areas of negative lassos, on the frame."""
    positive = [scribble.voxels[:, :2] for scribble in prompts.of(Scribble) if scribble.positive]
    negative = _negative_strokes(prompts, letterbox.plane)
    return Scribbles(
        *(letterbox.voxels_to_frame(np.concatenate(voxels)) if voxels else None for voxels in (positive, negative))
    )


def _negative_strokes(prompts: Prompts, plane: tuple[int, int]) -> list[NDArray[np.int64]]:
    """Return the pixels (n, 2) of every negative scribble and lasso."""
    drawn = [scribble.voxels[:, :2] for scribble in prompts.of(Scribble) if not scribble.positive]
    return drawn + [np.argwhere(inside(lasso, plane)) for lasso in prompts.of(Lasso) if not lasso.positive]


def without_negative_strokes(prompts: Prompts) -> Prompts:
    """Return the prompts but negative scribbles and lassos."""
    return replace(
        prompts,
        items=tuple(item for item in prompts.items if not isinstance(item, Scribble | Lasso) or item.positive),
    )


def heeds_strokes(logits: Floats, prompts: Prompts) -> bool:
    """Whether a mask, given as logits (i, j), lies beside all negative scribbles and lassos."""
    mask = logits > 0
    return not any(mask[tuple(voxels.T)].any() for voxels in _negative_strokes(prompts, mask.shape))


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


def extent(prompts: Prompts, previous: Prediction | None = None) -> NDArray[np.float64] | None:
    """Return ((i0, j0), (i1, j1)), half-open, around what tells how far the object reaches, or None if nothing does.

    That is: all boxes and positive lassos; without any, the previous prediction, masks drawn since and all positive
    marks; for a mask without any positive mark, the mask.
    """
    corners = [(np.array(box.start[:2]), np.array(box.stop[:2])) for box in prompts.of(Box)]
    areas = [inside(lasso, prompts.geometry.shape[:2]) for lasso in prompts.of(Lasso) if lasso.positive]
    marks = positive_marks(prompts)
    if not corners and not areas:
        if previous is not None or not marks:
            areas = _drawn_areas(prompts, previous)
        if previous is not None:
            areas.append(previous.logits[0, ..., 0] > 0)
        if any(area.any() for area in areas):
            corners = [(voxels[:, :2].min(axis=0), voxels[:, :2].max(axis=0) + 1) for voxels in marks]
    corners += [(span[0], span[1]) for span in map(bounds, areas) if span is not None]
    if not corners:
        return None
    starts, stops = np.array(corners, np.float64).transpose(1, 0, 2)
    return np.stack([starts.min(axis=0), stops.max(axis=0)])


def positive_marks(prompts: Prompts) -> list[NDArray[np.int64]]:
    """Return the voxels (n, 3) of every positive point and scribble."""
    marks = [np.array([point.voxel], np.int64) for point in prompts.points if point.positive]
    return marks + [scribble.voxels for scribble in prompts.of(Scribble) if scribble.positive]
