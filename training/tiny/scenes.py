"""From a view or a synthetic scene to a training sample: place, crop, spoil."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from training.tiny.cases import View

from samaritan.data.synthesis import deform, draw_scene, paint_scene, smooth_noise, spoil
from samaritan.models.tiny.zoom import stretched

Array = NDArray[Any]

UNION_WEIGHT = 0.15  # of objects that are several pieces, a pair of lungs say, beside one piece of the same area
SCENE_SHARE, REPAINT_SHARE = 0.35, 0.15
SCENE_SIDES = (160, 400)  # of a synthetic scene, before it is cropped
ZOOM = (1.2, 2.6)  # side of a crop around one object, over the longer side of the object
ZOOM_SHARE, WHOLE_SHARE = 0.85, 0.06  # of crops around one object, and of whole views; the others are at any scale,
LONG_SIDES = (192, 640)  # the view's long side in pixels, as objects in windows that are too large for them
SPOIL_SHARE = 0.65  # of the real crops; the others are as they come
BENT_SHARE, BEND = 0.4, 0.025  # of the crops that are bent, by up to so much of their side
MIN_VISIBLE_PX = 20


@dataclass(frozen=True)
class Sample:
    """One training image with the masks of the objects to ask for."""

    image: Array  # float32 (size, size, 3) in [0, 255]
    valid: Array  # bool (size, size): not padding
    masks: list[Array]  # bool (size, size), none empty


class Sampler:
    """Draws samples: a family first, all equally often, then one of its views, then objects in it.

    Without any view there are synthetic scenes only.
    """

    def __init__(self, views: Sequence[View]) -> None:
        self._families: dict[str, list[View]] = {}
        for view in views:
            self._families.setdefault(view.family, []).append(view)
        self._names = sorted(self._families)

    def draw(self, size: int, objects: int, rng: np.random.Generator) -> Sample:
        """Draw one sample of `size` x `size` pixels with `objects` masks (some may repeat)."""
        while True:
            is_scene = not self._names or rng.random() < SCENE_SHARE
            sample = _crop(_scene(rng) if is_scene else self._view(rng), size, objects, rng)
            if sample is not None:
                return _finished(sample, rng, spoilt=is_scene)

    def _view(self, rng: np.random.Generator) -> View:
        """Draw a real view; its image is now and then repainted, always if it has none."""
        views = self._families[self._names[rng.integers(len(self._names))]]
        view = views[rng.integers(len(views))]
        if view.image is not None and rng.random() > REPAINT_SHARE:
            return view
        parts, objects = _renumbered(deform(view.parts, rng), view.objects)
        return View(view.family, paint_scene(parts, objects, rng).image, parts, objects) if objects else view


def _scene(rng: np.random.Generator) -> View:
    scene = draw_scene(int(rng.integers(*SCENE_SIDES)), rng)
    return View("synthetic", scene.image, scene.parts, scene.objects)


def _renumbered(parts: Array, objects: Sequence[tuple[int, ...]]) -> tuple[Array, tuple[tuple[int, ...], ...]]:
    """Renumber the parts that are there 1, 2, ..., so that painting needs few greys."""
    present, dense = np.unique(parts, return_inverse=True)
    shift = int(present[0] > 0)
    number = {int(value): index + shift for index, value in enumerate(present)}
    kept = (tuple(number[part] for part in members if part in number) for members in objects)
    return (dense.reshape(parts.shape) + shift).astype(np.uint16), tuple(members for members in kept if members)


def _crop(view: View, size: int, objects: int, rng: np.random.Generator) -> Sample | None:
    """Cut a sample out of a view, around one of its objects; None if nothing of them is in it."""
    if view.image is None:
        return None
    anchor = view.objects[_pick(view.parts, view.objects, 1, rng)[0]]
    visible = np.isin(view.parts, anchor)
    if not visible.any():
        return None
    matrix = _placement(visible, size, rng)
    sources = _sources(matrix, size, rng)
    parts = cv2.remap(view.parts, *sources, cv2.INTER_NEAREST)
    valid = cv2.remap(np.ones(view.parts.shape, np.uint8), *sources, cv2.INTER_NEAREST) > 0
    masks = _choose(parts, [anchor, *view.objects], objects, rng)
    if not masks:
        return None
    image = _resample(view.image, sources, shrink=float(np.sqrt(abs(np.linalg.det(matrix[:, :2])))))
    image[~valid] = 0.0
    return Sample(image, valid, masks)


def _finished(sample: Sample, rng: np.random.Generator, *, spoilt: bool) -> Sample:
    """Spoil the image unless it is spoilt already, and stretch its greys, as windows have theirs at inference."""
    spoilt = spoilt or rng.random() > SPOIL_SHARE
    image = stretched(sample.image if spoilt else spoil(sample.image, rng), valid=sample.valid)
    image[~sample.valid] = 0.0
    return Sample(image, sample.valid, sample.masks)


def _placement(anchor: Array, size: int, rng: np.random.Generator) -> Array:
    """Choose the 2 x 3 affine from the view to the crop: mostly a window around the object, as at inference."""
    height, width = anchor.shape
    rows, columns = np.flatnonzero(anchor.any(axis=1)), np.flatnonzero(anchor.any(axis=0))
    extent = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    centre = np.array([(columns[0] + columns[-1] + 1) / 2, (rows[0] + rows[-1] + 1) / 2])
    kind, long_side = rng.random(), max(height, width)
    if kind < ZOOM_SHARE:
        scale = size / (extent * np.exp(rng.uniform(*np.log(ZOOM))))
    elif kind < 1 - WHOLE_SHARE:
        scale = np.exp(rng.uniform(*np.log(LONG_SIDES))) / long_side
    else:
        scale = size * rng.uniform(0.8, 1.05) / long_side
    if rng.random() < 0.9:
        scale = min(scale, 0.92 * size / extent)
    turn = rng.uniform(-np.pi, np.pi) if rng.random() < 0.2 else rng.normal(0, 0.1)
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


def _sources(matrix: Array, size: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return where in the view each pixel of the crop comes from, x and y (size, size); now and then bent."""
    rows, columns = np.mgrid[0:size, 0:size].astype(np.float32)
    if rng.random() < BENT_SHARE:
        amount, grain = np.float32(rng.uniform(0, BEND) * size), size * rng.uniform(0.15, 0.4)
        columns = columns + amount * smooth_noise((size, size), grain, rng)
        rows = rows + amount * smooth_noise((size, size), grain, rng)
    inverse = cv2.invertAffineTransform(matrix).astype(np.float32)
    return tuple(row[0] * columns + row[1] * rows + row[2] for row in inverse)  # type: ignore[return-value]


def _resample(image: Array, sources: tuple[Array, Array], *, shrink: float) -> Array:
    """Return RGB float32 (size, size, 3) from there, smoothed before shrinking."""
    if shrink < 0.8:
        image = cv2.GaussianBlur(image, (0, 0), 0.5 / shrink)
    warped = cv2.remap(image, *sources, cv2.INTER_LINEAR).astype(np.float32)
    return np.repeat(warped[..., None], 3, axis=2) if warped.ndim == 2 else warped


def _choose(parts: Array, candidates: Sequence[tuple[int, ...]], count: int, rng: np.random.Generator) -> list[Array]:
    """Masks of `count` visible objects (repeating if there are too few); the first candidate leads."""
    areas = np.bincount(parts.ravel(), minlength=65536)
    visible = [c for c in dict.fromkeys(candidates) if sum(int(areas[p]) for p in c) >= MIN_VISIBLE_PX]
    if not visible:
        return []
    order = _pick(parts, visible, len(visible), rng)
    order = np.concatenate([[0], order[order != 0]])
    chosen = [visible[order[n % len(order)]] for n in range(count)]
    return [np.isin(parts, c) if len(c) > 1 else parts == c[0] for c in chosen]


def _pick(parts: Array, objects: Sequence[tuple[int, ...]], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw `count` of the objects without repeats; one four times as large as another is twice as likely."""
    areas = np.bincount(parts.ravel(), minlength=65536)
    weights = np.sqrt([1.0 + sum(int(areas[part]) for part in members) for members in objects])
    weights *= [UNION_WEIGHT if len(members) > 1 else 1.0 for members in objects]
    return np.asarray(rng.choice(len(objects), count, replace=False, p=weights / weights.sum()))
