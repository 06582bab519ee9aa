"""Everything in a plane, without a prompt: a grid of points, of whose masks the good and stable ones are kept.

As Kirillov et al. 2023 (arXiv:2304.02643), section "Segment anything automatic mask generation": masks whose predicted
IoU or stability is low are dropped, then of those that are nearly alike all but the best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samaritan.core.geometry import Geometry
from samaritan.core.model import Embedding, Model, decode_all
from samaritan.core.prompts import Point, Prompts

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Grid:
    """How everything is asked for.

    Parameters
    ----------
    side
        Points along each side of the plane.
    least_score
        Predicted IoU that a mask must have. A model that predicts none loses none by it.
    least_stability
        IoU of the masks at logits ``offset`` above and below 0.
    offset
        In logits.
    most_overlap
        IoU of two masks from which on the worse one is dropped.
    at_once
        Points that are asked for together.
    """

    side: int = 16
    least_score: float = 0.7
    least_stability: float = 0.85
    offset: float = 1.0
    most_overlap: float = 0.7
    at_once: int = 32


def segment_everything(model: Model, embedding: Embedding, grid: Grid | None = None) -> tuple[Bools, Floats]:
    """Return masks (n, i, j, 1) of what is found in a plane, and their predicted IoUs (n,), best first; n may be 0.

    The model must take points. Of the masks of a point, all are considered.
    """
    grid = grid or Grid()
    geometry = embedding.geometry
    points = _points(geometry, grid.side)
    kept: list[tuple[float, Bools]] = []
    for at in range(0, len(points), grid.at_once):
        asked = [Prompts(geometry, (point,)) for point in points[at : at + grid.at_once]]
        for answer in decode_all(model, embedding, asked):
            for logits, score in zip(answer.logits, answer.scores, strict=True):
                if not score < grid.least_score and stability(logits, grid.offset) >= grid.least_stability:  # nan stays
                    kept.append((float(score), logits > 0))
        kept = _apart(kept, most_overlap=grid.most_overlap)  # as early as can be: masks are large
    masks = np.array([mask for _, mask in kept], np.bool_).reshape(-1, *geometry.shape)
    return masks, np.array([score for score, _ in kept], np.float32)


def stability(logits: Floats, offset: float) -> float:
    """Return the IoU of the masks at ``offset`` above and below 0: 1 for an edge as sharp as can be; 0 if empty."""
    outer = int(np.count_nonzero(logits > -offset))
    return int(np.count_nonzero(logits > offset)) / outer if outer else 0.0


def _points(geometry: Geometry, side: int) -> list[Point]:
    """Return points in the middle of the cells of a grid, each voxel once."""
    along = [np.unique(np.floor((np.arange(side) + 0.5) * n / side).astype(int)) for n in geometry.shape[:2]]
    return [Point((int(i), int(j), 0)) for j in along[1] for i in along[0]]


def _apart(found: Sequence[tuple[float, Bools]], *, most_overlap: float) -> list[tuple[float, Bools]]:
    """Return the masks, best first, of which none overlaps a better one by more."""
    kept: list[tuple[float, Bools, int]] = []
    for score, mask in sorted(found, key=lambda entry: -np.nan_to_num(entry[0])):
        size = int(np.count_nonzero(mask))
        if not any(_overlap(mask, size, other, others) > most_overlap for _, other, others in kept):
            kept.append((score, mask, size))
    return [(score, mask) for score, mask, _ in kept]


def _overlap(one: Bools, size: int, other: Bools, others: int) -> float:
    """Return the IoU of two masks of known sizes; quick where these say that it is small."""
    if not min(size, others) > 0.5 * max(size, others):
        return min(size, others) / max(size, others, 1)
    both = int(np.count_nonzero(one & other))
    return both / (size + others - both)
