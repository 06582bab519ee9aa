"""Prompts of a volume by slice along k, and the slices that may show the object.

* A point, a scribble, a lasso and a mask ask about the slices that they lie in; a box over several slices about the one
  in its middle, and nothing outside the box is kept.
* A slice with something positive is a *start*: it is answered by itself. One with negative prompts only is *corrected*
  when it is come to.
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
from samaritan.core.geometry import Geometry
from samaritan.core.prompts import Box, Lasso, MaskPrompt, Point, Prompt, Prompts, Scribble

Floats = NDArray[np.float32]

_BESIDE = np.float32(-8.0)  # logit outside a box


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
    """

    starts: dict[int, Prompts]
    corrections: dict[int, Prompts]
    start: int
    stop: int
    boxes: tuple[Box, ...] = ()
    drawn: frozenset[int] = frozenset()

    @classmethod
    def of(cls, prompts: Prompts) -> Self:
        """Return the route for the prompts of one object.

        Raises
        ------
        PromptError
            If a lasso lies across another axis than k.
        """
        parts: dict[int, list[Prompt]] = defaultdict(list)
        for item in prompts.items:
            for index, part in _by_slice(item).items():
                parts[index].append(part)
        asked = {index: Prompts(plane_of(prompts.geometry, index), tuple(here)) for index, here in parts.items()}
        starts = {index: here for index, here in asked.items() if is_positive(here)}
        corrections = {index: here for index, here in asked.items() if index not in starts}
        masks = [sorted(_by_slice(mask)) for mask in prompts.of(MaskPrompt)]
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
        )

    def kept(self, logits: Floats) -> Floats:
        """Return ``logits`` (i, j, k) with nothing outside the boxes over several slices, if there are any.

        A start beside all boxes keeps what it shows.
        """
        if not self.boxes:
            return logits
        outside = np.ones(logits.shape, np.bool_)
        bounded = {index for box in self.boxes for index in range(box.start[2], box.stop[2])}
        outside[:, :, [index for index in self.starts if index not in bounded]] = False
        for box in self.boxes:
            outside[tuple(slice(a, b) for a, b in zip(box.start, box.stop, strict=True))] = False
        return np.where(outside, np.minimum(logits, _BESIDE), logits)


def _spanned(masks: Sequence[Sequence[int]], starts: Collection[int]) -> list[tuple[int, int]]:
    """Return the ranges of masks, given by their slices, if they bound the object: all starts lie within them."""
    spans = [(slices[0], slices[-1] + 1) for slices in masks]
    bounded = any(last - first > 1 for first, last in spans)
    return spans if bounded and all(any(a <= index < b for a, b in spans) for index in starts) else []


def is_positive(prompts: Prompts) -> bool:
    """Whether something says where the object is."""
    return any(getattr(item, "positive", True) for item in prompts.items)


def plane_of(geometry: Geometry, index: int) -> Geometry:
    """Return the grid of one slice."""
    return geometry.plane("k", index)


def _by_slice(item: Prompt) -> dict[int, Prompt]:
    """Return what a prompt says of each slice, in the indices of its plane."""
    match item:
        case Point(index=(i, j, _), voxel=voxel):
            return {voxel[2]: replace(item, index=(i, j, 0.0))}
        case Box(start=(i0, j0, k0), stop=(i1, j1, k1)):
            return {(k0 + k1) // 2: Box((i0, j0, 0), (i1, j1, 1))}
        case Scribble(voxels=voxels):
            flat = voxels * (1, 1, 0)
            return {int(k): replace(item, voxels=flat[voxels[:, 2] == k]) for k in np.unique(voxels[:, 2])}
        case Lasso(axis="k", vertices=vertices):
            return {item.slice_index: replace(item, vertices=vertices * (1.0, 1.0, 0.0))}
        case Lasso(axis=axis):
            raise PromptError(
                got=f"a lasso drawn across axis {axis}, for a model that follows objects along k",
                wanted="lassos in slices along k",
                fix="Draw it in such a slice, or use a model of pictures, which goes through a volume along any axis",
            )
        case MaskPrompt(mask=mask):
            return {int(k): MaskPrompt(mask[:, :, k : k + 1]) for k in np.flatnonzero(mask.any(axis=(0, 1)))}
        case _:  # words have no slice, and are on no card of this family
            return {}
