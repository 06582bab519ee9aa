"""From a picture with objects to a training sample: a crop around one of them, turned, bent and spoilt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samaritan.adapt import placement
from samaritan.adapt.prompted.view import View, anchor_of
from samaritan.data.synthesis import spoil
from samaritan.models.planar import FrameSpec
from samaritan.models.tiny.zoom import stretched

Array = NDArray[Any]

ZOOM = (1.2, 2.6)  # side of a crop around one object, over the longer side of the object
ZOOM_SHARE, WHOLE_SHARE = 0.85, 0.06  # of crops around one object, and of whole views; the others are at any scale,
LONG_SIDES = (192, 640)  # the view's long side in pixels, as objects in windows that are too large for them
SPOIL_SHARE = 0.65  # of the real crops; the others are as they come
MIN_VISIBLE_PX = 20


@dataclass(frozen=True)
class Sample:
    """One training image with the mask of the object to ask for."""

    image: Array  # float32 (size, size, 3) in [0, 255]
    valid: Array  # bool (size, size): not padding
    mask: Array  # bool (size, size), not empty
    source: str  # what it was cut out of, for people to read


def crop(view: View, size: int, rng: np.random.Generator, *, source: str) -> Sample | None:
    """Cut a sample out of a view, around one of its objects; None if too little of it is there to be seen."""
    if view.image is None:
        return None
    members = anchor_of(view, rng)
    anchor = np.isin(view.parts, members)
    if not anchor.any():
        return None
    return _cut(view, members, _placement(anchor, size, rng), size, rng, source=source)


def zoomed(view: View, size: int, rng: np.random.Generator) -> Sample | None:
    """Return a sample as the default model's windows are: a crop around an object, finished; see ``crop``."""
    sample = crop(view, size, rng, source=view.case)
    return None if sample is None else finished(sample, rng, spoilt=False)


def whole(view: View, size: int, rng: np.random.Generator, *, frame: FrameSpec, changed: bool = True) -> Sample | None:
    """Return a whole picture with one of its objects, as it lies in the frame of a network, which is of ``size``.

    Turned a little, bent and spoilt, unless it is not to be ``changed``; None as for ``crop``.
    """
    if view.image is None:
        return None
    letterbox = frame.letterbox(view.parts.shape[::-1])
    matrix = placement.nearly(letterbox, rng, mirror=True) if changed else placement.exactly(letterbox)
    sample = _cut(view, anchor_of(view, rng), matrix, size, rng if changed else None, source=view.case)
    if sample is None or not changed or rng.random() > SPOIL_SHARE:
        return sample
    image = spoil(sample.image, rng)
    image[~sample.valid] = 0.0
    return replace(sample, image=image)


def finished(sample: Sample, rng: np.random.Generator, *, spoilt: bool) -> Sample:
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


def _cut(
    view: View, members: tuple[int, ...], matrix: Array, size: int, rng: np.random.Generator | None, *, source: str
) -> Sample | None:
    """Return what of a view a matrix brings into a frame, with an object of it; bent now and then, with a generator."""
    assert view.image is not None  # noqa: S101  # whoever asks has looked
    where = placement.sources(matrix, size, rng)
    mask = np.isin(placement.nearest(view.parts, where), members)
    if np.count_nonzero(mask) < MIN_VISIBLE_PX:
        return None
    valid = placement.nearest(np.ones(view.parts.shape, np.uint8), where) > 0
    seen = placement.shown(view.image, matrix, where)
    image = np.repeat(seen[..., None], 3, axis=2) if seen.ndim == 2 else seen
    image[~valid] = 0.0
    return Sample(image, valid, mask, source)
