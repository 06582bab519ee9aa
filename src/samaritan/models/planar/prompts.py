"""From what a person can give on a plane to what networks of Segment Anything's shape take.

They take points, one box and an earlier mask. The rest is said in these terms:

* several boxes of one object: the smallest box around them all;
* a scribble: points along it, evenly spread; a negative lasso likewise;
* a lasso: the box around it and a point in its middle; the mask stays within it, unless a positive mark lies outside;
* a mask: an earlier mask; without any other positive prompt also the box around it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samaritan.core.model import Prediction
from samaritan.core.prompts import Box, Lasso, Point, Prompts, Scribble
from samaritan.models.letterbox import Letterbox
from samaritan.models.planar.network import BOX_START, BOX_STOP, NEGATIVE, PAD, POSITIVE, Tokens
from samaritan.models.prompt_areas import deepest, extent, inside, negative_strokes, require_start, spread, start_logits


def tokens(prompts: Prompts, previous: Prediction | None, letterbox: Letterbox, *, mask_side: int) -> Tokens:
    """Return the tokens for one object.

    Coordinates are those of pixel *centres*, for boxes too: a box reaches from the centre of its first pixel to that of
    its last, as in the data that Segment Anything was trained on.

    Raises
    ------
    PromptError
        If there is nothing positive to start from.
    """
    require_start(prompts, previous)
    coords, labels = _points(prompts)
    # An earlier prediction has no say in the box: clicks may lead away from it.
    box = extent(prompts) if _needs_box(prompts, previous) else None
    if box is not None:
        coords += [box[0], box[1] - 1]
        labels += [BOX_START, BOX_STOP]
    placed = letterbox.to_frame(np.array(coords, np.float64).reshape(-1, 2)).astype(np.float32)
    if box is None:
        placed = np.concatenate([placed, np.zeros((1, 2), np.float32)])
        labels.append(PAD)
    logits = start_logits(prompts, previous)
    mask = None if logits is None else letterbox.logits_to_frame(logits[0, ..., 0], side=mask_side)
    return Tokens(placed, np.array(labels, np.int64), mask)


def is_ambiguous(prompts: Prompts, previous: Prediction | None) -> bool:
    """Whether a part or the whole may be meant: a lone click, and nothing found before."""
    return previous is None and len(prompts.items) == 1 and isinstance(prompts.items[0], Point)


def _needs_box(prompts: Prompts, previous: Prediction | None) -> bool:
    drawn_alone = prompts.kinds == {"mask"} and previous is None
    return drawn_alone or bool(prompts.of(Box)) or any(lasso.positive for lasso in prompts.of(Lasso))


def _points(prompts: Prompts) -> tuple[list[NDArray[np.float64]], list[int]]:
    """Return points (2,) in indices of the plane, with their labels."""
    plane = prompts.geometry.shape[:2]
    coords = [np.array(point.index[:2]) for point in prompts.points]
    labels = [POSITIVE if point.positive else NEGATIVE for point in prompts.points]
    on = [scribble.voxels[:, :2] for scribble in prompts.of(Scribble) if scribble.positive]
    strokes = [(stroke, POSITIVE) for stroke in on] + [(area, NEGATIVE) for area in negative_strokes(prompts, plane)]
    for stroke, label in strokes:
        points = stroke.astype(np.float64)
        some = points[spread(points)]
        coords += list(some)
        labels += [label] * len(some)
    for lasso in prompts.of(Lasso):
        if lasso.positive and (area := inside(lasso, plane)).any():
            coords.append(deepest(area))
            labels.append(POSITIVE)
    return coords, labels
