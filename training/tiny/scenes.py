"""From a view or a synthetic scene to a training sample: place, crop, disturb."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from training.tiny.cases import View
from training.tiny.synthesis import paint, random_scene, smooth_noise

Array = NDArray[Any]

INFERENCE_SIDE = 512  # the long side that images have at inference
UNION_WEIGHT = 0.15  # of objects that are several pieces, a pair of lungs say, beside one piece of the same area
SCENE_SHARE, REPAINT_SHARE = 0.18, 0.08
ZOOM = (1.15, 2.6)  # side of a crop around one object, over the longer side of the object
ZOOM_SHARE = 0.75
MIN_VISIBLE_PX = 20


@dataclass(frozen=True)
class Sample:
    """One training image with the masks of the objects to ask for."""

    image: Array  # float32 (size, size, 3) in [0, 255]
    valid: Array  # bool (size, size): not padding
    masks: list[Array]  # bool (size, size), none empty


class Sampler:
    """Draws samples: a family first, all equally often, then one of its views, then objects in it."""

    def __init__(self, views: Sequence[View]) -> None:
        self._families: dict[str, list[View]] = {}
        for view in views:
            self._families.setdefault(view.family, []).append(view)
        self._names = sorted(self._families)

    def draw(self, size: int, objects: int, rng: np.random.Generator) -> Sample:
        """Draw one sample of `size` x `size` pixels with `objects` masks (some may repeat)."""
        while True:
            sample = self._scene(size, objects, rng) if rng.random() < SCENE_SHARE else self._crop(size, objects, rng)
            if sample is not None:
                return sample

    def _scene(self, size: int, objects: int, rng: np.random.Generator) -> Sample | None:
        parts, candidates = random_scene(size, rng)
        image = disturb(paint(parts, rng), rng)
        masks = _choose(parts, candidates, objects, rng)
        return Sample(image, np.ones(parts.shape, bool), masks) if masks else None

    def _crop(self, size: int, objects: int, rng: np.random.Generator) -> Sample | None:
        views = self._families[self._names[rng.integers(len(self._names))]]
        view = views[rng.integers(len(views))]
        anchor = view.objects[_pick(view.parts, view.objects, 1, rng)[0]]
        matrix = _placement(np.isin(view.parts, anchor), size, rng)
        square = (size, size)
        parts = cv2.warpAffine(view.parts, matrix, square, flags=cv2.INTER_NEAREST)
        valid = cv2.warpAffine(np.ones(view.parts.shape, np.uint8), matrix, square, flags=cv2.INTER_NEAREST) > 0
        masks = _choose(parts, [anchor, *view.objects], objects, rng, first=True)
        if not masks:
            return None
        if view.image is None or rng.random() < REPAINT_SHARE:
            image = paint(_renumber(parts), rng)
        else:
            image = _warp(view.image, matrix, size)
        image = disturb(image, rng)
        image[~valid] = 0.0
        return Sample(image, valid, masks)


def _placement(anchor: Array, size: int, rng: np.random.Generator) -> Array:
    """Choose the 2 x 3 affine from the view to the crop: near the scale of inference, with the object mostly inside."""
    height, width = anchor.shape
    rows, columns = np.flatnonzero(anchor.any(axis=1)), np.flatnonzero(anchor.any(axis=0))
    extent = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    centre = np.array([(columns[0] + columns[-1] + 1) / 2, (rows[0] + rows[-1] + 1) / 2])
    kind, long_side = rng.random(), max(height, width)
    if kind < ZOOM_SHARE:
        scale = size / (extent * np.exp(rng.uniform(*np.log(ZOOM))))
    elif kind < 0.85:
        scale = INFERENCE_SIDE * rng.uniform(0.75, 1.25) / long_side
    elif kind < 0.94:
        scale = np.exp(rng.uniform(np.log(192), np.log(640))) / long_side
    else:
        scale = size * rng.uniform(0.8, 1.05) / long_side
    if rng.random() < 0.9:
        scale = min(scale, 0.92 * size / extent)
    turn = rng.uniform(-np.pi, np.pi) if rng.random() < 0.25 else rng.normal(0, 0.12)
    turn += rng.integers(4) * np.pi / 2 if rng.random() < 0.4 else 0.0
    stretch = np.exp(rng.normal(0, 0.08))
    flip = -1.0 if rng.random() < 0.5 else 1.0
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    linear = rotation @ np.diag([scale * stretch * flip, scale / stretch])
    target = _target(centre, np.array([width, height]) / 2, linear, size, extent * scale, rng)
    return np.concatenate([linear, (target - linear @ centre)[:, None]], axis=1)


def _target(
    centre: Array, middle: Array, linear: Array, size: int, extent_px: float, rng: np.random.Generator
) -> Array:
    """Where in the crop the object's centre goes: anywhere that keeps it inside; for whole views, where it is."""
    whole = size / 2 + linear @ (centre - middle)
    view_fits = np.abs(linear @ (2 * middle)).max() <= 1.1 * size
    slack = max(0.0, (size - extent_px) / 2)
    anywhere = size / 2 + rng.uniform(-slack, slack, 2)
    return np.asarray(whole if view_fits else anywhere)


def _warp(image: Array, matrix: Array, size: int) -> Array:
    """Warp to RGB float32 (size, size, 3), smoothed before shrinking."""
    shrink = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if shrink < 0.8:
        image = cv2.GaussianBlur(image, (0, 0), 0.5 / float(shrink))
    warped = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR).astype(np.float32)
    return np.repeat(warped[..., None], 3, axis=2) if warped.ndim == 2 else warped


def _choose(
    parts: Array, candidates: Sequence[tuple[int, ...]], count: int, rng: np.random.Generator, *, first: bool = False
) -> list[Array]:
    """Masks of `count` visible objects (repeating if there are too few); with `first`, the first candidate leads."""
    areas = np.bincount(parts.ravel(), minlength=65536)
    visible = [c for c in dict.fromkeys(candidates) if sum(int(areas[p]) for p in c) >= MIN_VISIBLE_PX]
    if not visible:
        return []
    order = _pick(parts, visible, len(visible), rng)
    if first:
        order = np.concatenate([[0], order[order != 0]])
    chosen = [visible[order[n % len(order)]] for n in range(count)]
    return [np.isin(parts, c) if len(c) > 1 else parts == c[0] for c in chosen]


def _pick(parts: Array, objects: Sequence[tuple[int, ...]], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw `count` of the objects without repeats; one four times as large as another is twice as likely."""
    areas = np.bincount(parts.ravel(), minlength=65536)
    weights = np.sqrt([1.0 + sum(int(areas[part]) for part in members) for members in objects])
    weights *= [UNION_WEIGHT if len(members) > 1 else 1.0 for members in objects]
    return np.asarray(rng.choice(len(objects), count, replace=False, p=weights / weights.sum()))


def _renumber(parts: Array) -> Array:
    """Renumber the visible parts 1, 2, ..., so that painting needs few grey values."""
    _, dense = np.unique(parts, return_inverse=True)
    dense = dense.reshape(parts.shape).astype(np.uint16)
    if parts.min() > 0:
        dense += 1
    return np.asarray(dense)


def disturb(image: Array, rng: np.random.Generator) -> Array:
    """Random contrast, gamma, inversion, shading, blur, low resolution and noise on (h, w, 3) in [0, 255]."""
    image = image.astype(np.float32)
    if rng.random() < 0.3:
        image = 255.0 - image
    if rng.random() < 0.5:
        low, high = rng.uniform(-30, 40), rng.uniform(200, 300)
        image = (image - low) * np.float32(255.0 / (high - low))
    if rng.random() < 0.4:
        image = 255.0 * np.clip(image / 255.0, 0, 1) ** np.float32(np.exp(rng.normal(0, 0.35)))
    if rng.random() < 0.25:
        shade = 1 + 0.25 * smooth_noise(image.shape[:2], image.shape[0] // 2, rng)
        image = image * shade[..., None]
    if rng.random() < 0.25:
        image = image * rng.uniform(0.8, 1.2, 3).astype(np.float32) + rng.normal(0, 8, 3).astype(np.float32)
    image = _degrade(image, rng)
    if rng.random() < 0.2:  # a narrow window: whole organs come out black or white, as the lungs do in soft tissue's
        low = rng.uniform(0, 140)
        image = (image - low) * np.float32(255.0 / rng.uniform(60, 255.0 - low))
    return np.clip(image, 0, 255, out=np.ascontiguousarray(image, np.float32))


def _degrade(image: Array, rng: np.random.Generator) -> Array:
    size = image.shape[0]
    choice = rng.random()
    if choice < 0.15:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.8)))
    elif choice < 0.3:
        small = max(16, int(size * rng.uniform(0.35, 0.8)))
        image = cv2.resize(cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA), (size, size))
    if rng.random() < 0.35:
        noise = rng.standard_normal(image.shape[:2], dtype=np.float32) * np.float32(rng.exponential(9.0))
        image = image + noise[..., None] * (0.5 + image / 255.0 if rng.random() < 0.3 else 1.0)
    return image
