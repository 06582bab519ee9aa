"""Prompts of a volume by slice along k, and the slices that may show the object.

* A point, a scribble, a lasso and a mask ask about the slices that they lie in; a box over several slices about the one
  in its middle, and nothing outside the box is kept.
* A slice with something positive is a *start*. One with negative prompts only is a *correction*: there is something to
  correct when it is come to.
* Beyond the outermost starts the object is followed until it ends, or the box does. A mask over several slices is not
  followed beyond them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from samaritan.core.errors import PromptError
from samaritan.core.geometry import Geometry, Shape
from samaritan.core.model import Prediction
from samaritan.core.prompts import Box, Lasso, MaskPrompt, Point, Prompt, Prompts, Scribble
from samaritan.models.prompt_areas import bounds, drawn_areas, extent, negative_strokes, positive_marks

Floats = NDArray[np.float32]
Corners = NDArray[np.int64] | NDArray[np.float64]

_BESIDE = np.float32(-8.0)  # logit outside a box
_ALIKE = 0.5  # overlap of a box with the one around a mask from which it may be the box of that mask
_SLIVER = 4  # length of a box one pixel wide, over several slices, from which it was drawn in a plane across them


@dataclass(frozen=True, slots=True)
class Route:
    """Prompts of slices, in the indices of their planes.

    Parameters
    ----------
    starts
        Of slices with something positive.
    corrections
        Of slices with negative prompts only.
    start, stop
        Half-open range of the slices that may show the object.
    boxes
        Those over several slices.
    drawn
        Slices with nothing but a mask that is of this slice alone.
    is_bounded
        Whether boxes or masks over several slices tell where the object ends.
    """

    starts: dict[int, Prompts]
    corrections: dict[int, Prompts]
    start: int
    stop: int
    boxes: tuple[Box, ...] = ()
    drawn: frozenset[int] = frozenset()
    is_bounded: bool = False

    @classmethod
    def of(cls, prompts: Prompts) -> Self:
        """Return the route for the prompts of one object.

        Raises
        ------
        PromptError
            If a lasso, or a box that is one voxel thick, lies across another axis than k.
        """
        parts: dict[int, list[Prompt]] = defaultdict(list)
        for item in prompts.items:
            for index, part in _by_slice(item, prompts.geometry.shape).items():
                parts[index].append(part)
        asked = {index: Prompts(plane_of(prompts.geometry, index), tuple(here)) for index, here in parts.items()}
        starts = {index: here for index, here in asked.items() if is_positive(here)}
        corrections = {index: here for index, here in asked.items() if index not in starts}
        masks = [sorted(_by_slice(mask, prompts.geometry.shape)) for mask in prompts.of(MaskPrompt)]
        thin = {slices[0] for slices in masks if len(slices) == 1}
        boxes = tuple(box for box in prompts.boxes if box.stop[2] - box.start[2] > 1)
        ranges = [(box.start[2], box.stop[2]) for box in boxes] or _spanned(masks, starts)
        ends = [*ranges, *((index, index + 1) for index in starts)] if ranges else [(0, prompts.geometry.shape[2])]
        return cls(
            starts,
            corrections,
            min(first for first, _ in ends),
            max(last for _, last in ends),
            boxes,
            frozenset(index for index in thin if len(parts[index]) == 1),
            bool(ranges),
        )

    def kept(self, index: int, logits: Floats) -> Floats:
        """Return the ``logits`` (i, j) of a slice with nothing outside the boxes over several slices, if there are any.

        A start beside all boxes keeps what it shows.
        """
        here = [box for box in self.boxes if box.start[2] <= index < box.stop[2]]
        if not self.boxes or (not here and index in self.starts):
            return logits
        outside = np.ones(logits.shape, np.bool_)
        for box in here:
            outside[box.start[0] : box.stop[0], box.start[1] : box.stop[1]] = False
        return np.where(outside, np.minimum(logits, _BESIDE), logits)


def _spanned(masks: Sequence[Sequence[int]], starts: Collection[int]) -> list[tuple[int, int]]:
    """Return the ranges of masks, given by their slices, if they bound the object: all starts lie within them."""
    spans = [(slices[0], slices[-1] + 1) for slices in masks]
    bounded = any(last - first > 1 for first, last in spans)
    return spans if bounded and all(any(a <= index < b for a, b in spans) for index in starts) else []


def is_positive(prompts: Prompts) -> bool:
    """Whether something says where the object is."""
    return any(getattr(item, "positive", True) for item in prompts.items)


def heeds(found: Prediction, prompts: Prompts) -> bool:
    """Whether a slice's mask does what prompts ask.

    It has all positive marks in it, no negative ones, at least half of each mask and outline; and boxes are about as
    large as it.
    """
    mask = found.mask[..., 0]
    on = [voxels[:, :2] for voxels in positive_marks(prompts)]
    beside = [np.array([point.voxel[:2]]) for point in prompts.points if not point.positive]
    beside += negative_strokes(prompts, prompts.geometry.shape[:2])
    if not all(mask[tuple(pixels.T)].all() for pixels in on) or any(mask[tuple(pixels.T)].any() for pixels in beside):
        return False
    return not drawn_areas(prompts, found) and (not prompts.boxes or _overlap(bounds(mask), extent(prompts)) >= _ALIKE)


def _overlap(first: Corners | None, second: Corners | None) -> float:
    """Return the overlap of two blocks ((i0, j0), (i1, j1)), as intersection over union; 0 without one of them."""
    if first is None or second is None:
        return 0.0
    common = np.clip(np.minimum(first[1], second[1]) - np.maximum(first[0], second[0]), 0, None).prod()
    return float(common / ((first[1] - first[0]).prod() + (second[1] - second[0]).prod() - common))


def plane_of(geometry: Geometry, index: int) -> Geometry:
    """Return the grid of one slice."""
    return geometry.plane("k", index)


def _by_slice(item: Prompt, shape: Shape) -> dict[int, Prompt]:
    """Return what a prompt says of each slice, in the indices of its plane."""
    match item:
        case Point(index=(i, j, _), voxel=voxel):
            return {voxel[2]: replace(item, index=(i, j, 0.0))}
        case Box(start=(i0, j0, k0), stop=(i1, j1, k1)):
            for axis, thick, wide, pixels in (("i", i1 - i0, j1 - j0, shape[0]), ("j", j1 - j0, i1 - i0, shape[1])):
                if thick == 1 < min(pixels, k1 - k0) and wide >= _SLIVER:
                    raise _drawn_across(axis, item)
            return {(k0 + k1) // 2: Box((i0, j0, 0), (i1, j1, 1))}
        case Scribble(voxels=voxels):
            flat = voxels * (1, 1, 0)
            return {int(k): replace(item, voxels=flat[voxels[:, 2] == k]) for k in np.unique(voxels[:, 2])}
        case Lasso(axis="k", vertices=vertices):
            return {item.slice_index: replace(item, vertices=vertices * (1.0, 1.0, 0.0))}
        case Lasso(axis=axis):
            raise _drawn_across(axis, item)
        case MaskPrompt(mask=mask):
            return {int(k): MaskPrompt(mask[:, :, k : k + 1]) for k in np.flatnonzero(mask.any(axis=(0, 1)))}
        case _:  # words have no slice, and are on no card of this family
            return {}


def _drawn_across(axis: str, item: Prompt) -> PromptError:
    return PromptError(
        got=f"a {item.kind} drawn across axis {axis}, in a volume whose slices are taken along k",
        wanted="what is drawn in one slice in a slice along k",
        fix=f"Take slices along {axis}, or draw it in another plane",
    )
