"""What the prompts for an object say of a plane: where it reaches, what was drawn, which pixels are on it and beside.

Models differ in what they take; what people mean by a lasso or a mask does not. Planes are (i, j).
"""

from __future__ import annotations

from collections.abc import Iterable

import edt
import numpy as np
from numpy.typing import NDArray

from samaritan.core.errors import PromptError
from samaritan.core.geometry import axis_number
from samaritan.core.model import Prediction
from samaritan.core.prompts import Box, Lasso, MaskPrompt, Prompts, Scribble

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

MOST_OF_A_STROKE = 8  # points that a scribble becomes: more of them say no more, and networks learnt from a few
_SURE = 8.0  # logit that a mask drawn by a person stands for


def bounds(area: NDArray[np.bool_]) -> NDArray[np.int64] | None:
    """Return ((i0, j0), (i1, j1)), half-open, around what is set in ``area`` (i, j), or None if nothing is."""
    along = [np.flatnonzero(area.any(axis=axis)) for axis in (1, 0)]
    return np.array([[hits[0] for hits in along], [hits[-1] + 1 for hits in along]]) if along[0].size else None


def inside(lasso: Lasso, plane: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels (i, j) within the outline; if it is too thin to hold a pixel's centre, those at its corners."""
    return _filled(lasso.vertices[:, :2], plane)


def voxels_inside(lasso: Lasso) -> NDArray[np.int64]:
    """Return the voxels (n, 3) within the outline, in its slice along any axis; see ``inside``."""
    normal = axis_number(lasso.axis)
    across = [axis for axis in range(3) if axis != normal]
    corners = lasso.vertices[:, across]
    low, high = np.floor(np.stack([corners.min(axis=0), corners.max(axis=0)]) + 0.5).astype(np.int64)
    within = np.argwhere(_filled(corners - low, tuple((high - low + 1).tolist())))
    voxels = np.empty((len(within), 3), np.int64)
    voxels[:, across], voxels[:, normal] = within + low, lasso.slice_index
    return voxels


def _filled(corners: NDArray[np.float64], plane: tuple[int, ...]) -> Bools:
    from skimage.draw import polygon2mask  # noqa: PLC0415 - slow to import, and few prompts are lassos

    area = np.asarray(polygon2mask(plane, corners), np.bool_)
    if not area.any():
        area[tuple(np.floor(corners + 0.5).astype(np.int64).T)] = True
    return area


def deepest(area: Bools) -> NDArray[np.float64]:
    """Return the pixel (2,) of ``area`` that is farthest from all that is not in it."""
    depth = edt.edt(np.ascontiguousarray(area), black_border=True)
    return np.array(np.unravel_index(int(depth.argmax()), area.shape), np.float64)


def spread(places: NDArray[np.float64]) -> list[int]:
    """Return which up to ``MOST_OF_A_STROKE`` of ``places`` (n, axes) stand for all of them.

    The first is next to their middle, each other one as far from those before it as can be.
    """
    chosen = [int(np.square(places - places.mean(axis=0)).sum(axis=1).argmin())]
    away = np.square(places - places[chosen[0]]).sum(axis=1)
    while len(chosen) < MOST_OF_A_STROKE and away.max() > 0:
        chosen.append(int(away.argmax()))
        away = np.minimum(away, np.square(places - places[chosen[-1]]).sum(axis=1))
    return chosen


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
            areas = drawn_areas(prompts, previous)
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


def negative_marks(prompts: Prompts) -> NDArray[np.int64]:
    """Return the voxels (n, 3) of all negative points, scribbles and lassos."""
    marks = [np.array([point.voxel], np.int64) for point in prompts.points if not point.positive]
    marks += [scribble.voxels for scribble in prompts.of(Scribble) if not scribble.positive]
    marks += [voxels_inside(lasso) for lasso in prompts.of(Lasso) if not lasso.positive]
    return np.concatenate([np.zeros((0, 3), np.int64), *marks])


def negative_strokes(prompts: Prompts, plane: tuple[int, int]) -> list[NDArray[np.int64]]:
    """Return the pixels (n, 2) of every negative scribble and lasso."""
    drawn = [scribble.voxels[:, :2] for scribble in prompts.of(Scribble) if not scribble.positive]
    return drawn + [np.argwhere(inside(lasso, plane)) for lasso in prompts.of(Lasso) if not lasso.positive]


def start_logits(prompts: Prompts, previous: Prediction | None) -> Floats | None:
    """Return the logits (1, i, j, 1) to start from: what the model last said, and what a person drew since."""
    drawn = drawn_areas(prompts, previous)
    if not drawn:
        return None if previous is None else previous.logits[:1]
    area = np.logical_or.reduce(drawn)[None, :, :, None]
    return np.where(area, np.float32(_SURE), np.float32(-_SURE) if previous is None else previous.logits[:1])


def drawn_areas(prompts: Prompts, previous: Prediction | None) -> list[Bools]:
    """Return the areas (i, j) of masks and positive lassos; after an earlier prediction, of those it did not heed.

    Those are less than half in it, without a negative mark that says why.
    """
    plane = prompts.geometry.shape[:2]
    areas = [mask.mask[..., 0] for mask in prompts.of(MaskPrompt)]
    areas += [inside(lasso, plane) for lasso in prompts.of(Lasso) if lasso.positive]
    if previous is None:
        return areas
    return unheeded(areas, previous.logits[0, ..., 0] > 0, negative_marks(prompts)[:, :2])


def unheeded(areas: Iterable[Bools], found: Bools, negative: NDArray[np.int64]) -> list[Bools]:
    """Return those of ``areas`` that were drawn after an earlier prediction ``found`` its mask.

    That is: those of which it holds less than half, if no pixel or voxel of ``negative`` (n, axes) in them says why.
    """
    return [
        area
        for area in areas
        if 2 * np.count_nonzero(area & found) < np.count_nonzero(area) and not area[tuple(negative.T)].any()
    ]


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
