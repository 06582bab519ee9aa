"""Simulated users: from an object's reference mask to the prompts somebody might give for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from samaritan.models.tiny.prompt_maps import Scribbles, render

Array = NDArray[Any]

KINDS = ("box", "click", "box and clicks", "clicks", "scribble")
SHARES = (0.45, 0.18, 0.08, 0.17, 0.12)
EXACT_BOX_SHARE = 0.5
BOX_JITTER = 0.1  # of a side, to each side


@dataclass
class Simulated:
    """The prompts given so far for one object; positions in edge coordinates of the input."""

    points: list[tuple[float, float]] = field(default_factory=list)
    positive: list[bool] = field(default_factory=list)
    box: Array | None = None
    scribbles: Scribbles | None = None

    @property
    def is_ambiguous(self) -> bool:
        """Whether it is one lone click, which may mean a part as well as the whole."""
        return self.box is None and self.scribbles is None and len(self.points) == 1

    def click(self, point: tuple[float, float], *, positive: bool) -> None:
        """Add a click."""
        self.points.append(point)
        self.positive.append(positive)

    def maps(self, shape_hw: tuple[int, int], previous: Array | None = None) -> Array:
        """Render for the decoder."""
        return render(
            shape_hw,
            points=np.asarray(self.points, np.float32).reshape(-1, 2),
            positive=np.asarray(self.positive, bool),
            box=self.box,
            scribbles=self.scribbles,
            previous=previous,
        )


def simulate(mask: Array, rng: np.random.Generator) -> Simulated:
    """Draw a kind of prompt and make it for a boolean mask (h, w) that is not empty."""
    kind = KINDS[rng.choice(len(KINDS), p=SHARES)]
    prompts = Simulated()
    if "box" in kind:
        prompts.box = tight_box(mask)
        if rng.random() > EXACT_BOX_SHARE:
            prompts.box = _jitter(prompts.box, rng)
    if kind == "scribble":
        prompts.scribbles = Scribbles(positive=_scribble(mask, rng))
    if "click" in kind:
        prompts.click(_click_inside(mask, rng), positive=True)
    if kind in {"clicks", "box and clicks"}:
        for _ in range(rng.integers(0 if prompts.box is not None else 1, 4)):
            _click_anywhere_near(prompts, mask, rng)
    return prompts


def correct(prompts: Simulated, mask: Array, predicted: Array) -> None:
    """Click where the prediction is most wrong: in the deepest point of its largest error."""
    missed, spilled = mask & ~predicted, predicted & ~mask
    depth_missed, point_missed = deepest(missed)
    depth_spilled, point_spilled = deepest(spilled)
    if max(depth_missed, depth_spilled) > 0:
        positive = depth_missed >= depth_spilled
        prompts.click(point_missed if positive else point_spilled, positive=positive)


def earlier_answer(mask: Array, rng: np.random.Generator) -> Array:
    """Logits (h, w) of a mask that somebody, or a model, got wrong: too large or small, with bites and bumps."""
    radius = max(1, int(np.sqrt(mask.sum()) * rng.uniform(0.03, 0.25)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    wrong, choice = mask.astype(np.uint8), rng.random()
    if choice < 0.35:
        wrong = cv2.dilate(wrong, disc)
    elif choice < 0.65:
        eroded = cv2.erode(wrong, disc)
        wrong = eroded if eroded.any() else wrong
    for _ in range(rng.integers(0, 3)):
        where = np.argwhere(cv2.dilate(wrong, disc))
        row, column = where[rng.integers(len(where))] if len(where) else (0, 0)
        size = max(1, int(np.sqrt(mask.sum()) * rng.uniform(0.1, 0.45)))
        cv2.circle(wrong, (int(column), int(row)), size, int(rng.integers(0, 2)), thickness=-1)
    smooth = cv2.GaussianBlur(wrong.astype(np.float32), (0, 0), float(rng.uniform(0.5, 4)))
    return np.asarray((2 * smooth - 1) * rng.uniform(1, 8), np.float32)


def tight_box(mask: Array) -> Array:
    """x0, y0, x1, y1 of the half-open bounding box of a boolean mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)


def deepest(mask: Array) -> tuple[float, tuple[float, float]]:
    """Depth in pixels and position x, y of the point of a boolean mask that is furthest from its edge; 0 if empty."""
    inside = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
    row, column = np.unravel_index(int(distance.argmax()), distance.shape)
    return float(distance[row, column]), (float(column) - 0.5, float(row) - 0.5)


def _jitter(box: Array, rng: np.random.Generator) -> Array:
    sides = np.tile(box[2:] - box[:2], 2)
    return np.asarray(box + rng.uniform(-BOX_JITTER, BOX_JITTER, 4) * sides, np.float32)


def _click_inside(mask: Array, rng: np.random.Generator) -> tuple[float, float]:
    if rng.random() < 0.4:
        return deepest(mask)[1]
    return _random_position(mask, rng)


def _random_position(mask: Array, rng: np.random.Generator) -> tuple[float, float]:
    choices = np.flatnonzero(mask)
    row, column = divmod(int(choices[rng.integers(len(choices))]), mask.shape[1])
    return column + 0.5, row + 0.5


def _click_anywhere_near(prompts: Simulated, mask: Array, rng: np.random.Generator) -> None:
    """Click in the object, or outside it but within a margin of its box, where a user would correct a spill."""
    if rng.random() < 0.5:
        prompts.click(_random_position(mask, rng), positive=True)
        return
    x0, y0, x1, y1 = tight_box(mask).astype(int)
    margin = max(6, int(0.3 * max(x1 - x0, y1 - y0)))
    near = np.zeros_like(mask)
    near[max(0, y0 - margin) : y1 + margin, max(0, x0 - margin) : x1 + margin] = True
    near &= ~mask
    if near.any():
        prompts.click(_random_position(near, rng), positive=False)


def _scribble(mask: Array, rng: np.random.Generator) -> Array:
    """Draw a stroke between some points of the object, kept inside it."""
    stroke = np.zeros(mask.shape, np.uint8)
    corners = [_random_position(mask, rng) for _ in range(rng.integers(2, 5))]
    path = np.array(corners, np.int32).reshape(-1, 1, 2)
    cv2.polylines(stroke, [path], isClosed=False, color=1, thickness=int(rng.integers(1, 5)))
    inside = (stroke > 0) & mask
    if not inside.any():
        column, row = corners[0]
        inside[int(row), int(column)] = True
    return inside
