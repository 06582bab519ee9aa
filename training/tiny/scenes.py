"""From a view or a synthetic scene to a training sample: place, crop, spoil."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from samaritan.data.synthesis import deform, draw_scene, paint_scene, smooth_noise, spoil
from samaritan.models.tiny.zoom import stretched
from training.tiny.cases import View

Array = NDArray[Any]

UNION_WEIGHT = 0.15  # of objects that are several pieces, a pair of lungs say, beside one piece of the same area
SCENE_SHARE, REPAINT_SHARE = 0.35, 0.15
PIECES_SHARE = 0.4  # of the real views
SCENE_SIDES = (160, 400)  # of a synthetic scene, before it is cropped
ZOOM = (1.2, 2.6)  # side of a crop around one object, over the longer side of the object
ZOOM_SHARE, WHOLE_SHARE = 0.85, 0.06  # of crops around one object, and of whole views; the others are at any scale,
LONG_SIDES = (192, 640)  # the view's long side in pixels, as objects in windows that are too large for them
SPOIL_SHARE = 0.65  # of the real crops; the others are as they come
BENT_SHARE, BEND = 0.4, 0.025  # of the crops that are bent, by up to so much of their side
MIN_VISIBLE_PX = 20


@dataclass(frozen=True)
class Sample:
    """One training image with the mask of the object to ask for."""

    image: Array  # float32 (size, size, 3) in [0, 255]
    valid: Array  # bool (size, size): not padding
    mask: Array  # bool (size, size), not empty
    source: str  # what it was cut out of, for people to read


class Sampler:
    """Draws samples: synthetic scenes, real views, and views of `pieces` that nobody labelled.

    Of real views first a modality is drawn, one of four families twice as often as one of a single family; then a
    family, a view, a structure in it, and an object. Without any view there are synthetic scenes only.
    """

    def __init__(self, views: Sequence[View], pieces: Sequence[View] = ()) -> None:
        self._views, self._pieces = Balanced(views), Balanced(pieces)

    def draw(self, size: int, rng: np.random.Generator) -> Sample:
        """Draw one sample of `size` x `size` pixels."""
        while True:
            is_scene = not self._views or rng.random() < SCENE_SHARE
            view, source = _scene(rng) if is_scene else self._view(rng)
            sample = _crop(view, size, rng, source=source)
            if sample is not None:
                return _finished(sample, rng, spoilt=is_scene)

    def _view(self, rng: np.random.Generator) -> tuple[View, str]:
        """Draw a real view, and say what it is; its image is now and then repainted, always if it has none."""
        if self._pieces and rng.random() < PIECES_SHARE:
            view = self._pieces.draw(rng)
            return view, f"piece of {view.family}"
        view = self._views.draw(rng)
        if view.image is not None and rng.random() > REPAINT_SHARE:
            return view, view.family
        painted = _renumbered(replace(view, parts=deform(view.parts, rng)))
        if not painted.objects:
            return view, view.family
        scene = paint_scene(painted.parts, painted.objects, rng)
        return replace(painted, image=scene.image), f"{view.family} as {scene.appearance}"


class Balanced:
    """Views, drawn by modality, then family."""

    def __init__(self, views: Sequence[View]) -> None:
        families: dict[str, dict[str, list[View]]] = {}
        for view in views:
            families.setdefault(view.modality, {}).setdefault(view.family, []).append(view)
        self._groups = [[members for _, members in sorted(group.items())] for _, group in sorted(families.items())]
        shares = np.sqrt([len(group) for group in self._groups])
        self._shares = shares / shares.sum() if len(shares) else shares

    def __bool__(self) -> bool:
        return bool(self._groups)

    def draw(self, rng: np.random.Generator) -> View:
        """Draw a view."""
        group = self._groups[rng.choice(len(self._groups), p=self._shares)]
        views = group[rng.integers(len(group))]
        return views[rng.integers(len(views))]


def synthetic_view(rng: np.random.Generator) -> View:
    """Draw a synthetic scene; all its objects are of one structure."""
    scene = draw_scene(int(rng.integers(*SCENE_SIDES)), rng)
    return View("synthetic", scene.appearance, scene.image, scene.parts, scene.objects, (1,) * len(scene.objects))


def _scene(rng: np.random.Generator) -> tuple[View, str]:
    view = synthetic_view(rng)
    return view, f"scene: {view.modality}"


def _renumbered(view: View) -> View:
    """Renumber the parts that are there 1, 2, ..., so that painting needs few greys; drop objects that are not."""
    present, dense = np.unique(view.parts, return_inverse=True)
    shift = int(present[0] > 0)
    number = {int(value): index + shift for index, value in enumerate(present)}
    left = [tuple(number[part] for part in members if part in number) for members in view.objects]
    kept = [(members, value) for members, value in zip(left, view.structures, strict=True) if members]
    return replace(
        view,
        parts=(dense.reshape(view.parts.shape) + shift).astype(np.uint16),
        objects=tuple(members for members, _ in kept),
        structures=tuple(value for _, value in kept),
    )


def _crop(view: View, size: int, rng: np.random.Generator, *, source: str) -> Sample | None:
    """Cut a sample out of a view, around one of its objects; None if too little of it is there to be seen."""
    if view.image is None:
        return None
    members = anchor_of(view, rng)
    anchor = np.isin(view.parts, members)
    if not anchor.any():
        return None
    matrix = _placement(anchor, size, rng)
    sources = _sources(matrix, size, rng)
    mask = np.isin(cv2.remap(view.parts, *sources, cv2.INTER_NEAREST), members)
    if np.count_nonzero(mask) < MIN_VISIBLE_PX:
        return None
    valid = cv2.remap(np.ones(view.parts.shape, np.uint8), *sources, cv2.INTER_NEAREST) > 0
    image = _resample(view.image, sources, shrink=float(np.sqrt(abs(np.linalg.det(matrix[:, :2])))))
    image[~valid] = 0.0
    return Sample(image, valid, mask, source)


def _finished(sample: Sample, rng: np.random.Generator, *, spoilt: bool) -> Sample:
    """Spoil the image unless it is spoilt already, and stretch its greys, as windows have theirs at inference."""
    spoilt = spoilt or rng.random() > SPOIL_SHARE
    image = stretched(sample.image if spoilt else spoil(sample.image, rng), valid=sample.valid)
    image[~sample.valid] = 0.0
    return replace(sample, image=image)


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


def anchor_of(view: View, rng: np.random.Generator) -> tuple[int, ...]:
    """Draw the object of a crop: a structure first, then one of its objects, large ones rather more often."""
    structure = rng.choice(sorted(set(view.structures)))
    alike = [members for members, value in zip(view.objects, view.structures, strict=True) if value == structure]
    areas = np.bincount(view.parts.ravel(), minlength=65536)
    weights = np.sqrt([1.0 + sum(int(areas[part]) for part in members) for members in alike])
    weights *= [UNION_WEIGHT if len(members) > 1 else 1.0 for members in alike]
    return alike[rng.choice(len(alike), p=weights / weights.sum())]
