"""From what a person can give in a volume to what SAM-Med3D takes: clicks, and an earlier mask.

* a scribble: a few clicks along it, evenly spread;
* a box: a click in its middle, unless a click or an earlier mask already says what in it is meant; the mask stays
  within the boxes, unless something positive lies outside. A box that is one voxel thick is one drawn in a slice: it
  says nothing of the axis across;
* a mask: an earlier mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from samaritan.core.model import Prediction
from samaritan.core.prompts import Box, MaskPrompt, Prompts, Scribble
from samaritan.models.prompt_areas import negative_marks, positive_marks, spread, unheeded
from samaritan.models.sam_med3d.lattice import Floats, Ints, Lattice, Places

SURE = 8  # logit that a mask drawn by a person stands for, and one that nobody has looked at, negative
NEGATIVE, POSITIVE = 0, 1


@dataclass(frozen=True, slots=True)
class Clicks:
    """Clicks, those on the object first: in training the first one always was.

    Parameters
    ----------
    places
        (n, 3), in cubes of the lattice, centres at whole numbers.
    labels
        (n,), 1 on the object and 0 beside it.
    voxels
        (n, 3), the voxels of the volume that they lie in.
    """

    places: Places
    labels: Ints
    voxels: Ints

    @classmethod
    def of(cls, prompts: Prompts, start: NDArray[Any] | None, lattice: Lattice) -> Self:
        """Return what ``prompts`` say beside the logits ``start`` (i, j, k) that there are already."""
        said = [(np.array([point.index]), point.positive) for point in prompts.points]
        for scribble in prompts.of(Scribble):
            some = scribble.voxels[spread(lattice.of_voxels(scribble.voxels.astype(np.float64)))]
            said.append((some.astype(np.float64), scribble.positive))
        said += [(_middle(box)[None], True) for box in prompts.boxes if not _is_said(box, prompts, start)]
        said.sort(key=lambda group: not group[1])
        index = np.concatenate([np.zeros((0, 3)), *(places for places, _ in said)])
        signs = [POSITIVE if positive else NEGATIVE for places, positive in said for _ in places]
        voxels = np.clip(np.floor(index + 0.5).astype(np.int64), 0, np.array(prompts.geometry.shape) - 1)
        return cls(lattice.of_voxels(index), np.array(signs, np.int64), voxels)

    def within(self, start: Ints, side: int) -> tuple[Floats, Ints]:
        """Return places in, and labels of, the clicks in the window of ``side`` cubes at ``start``."""
        places = self.places - start
        here = ((places >= -0.5) & (places < side - 0.5)).all(axis=1)
        return places[here].astype(np.float32), self.labels[here]

    def against(self, start: NDArray[Any]) -> Places:
        """Return the places (n, 3) of those that the logits ``start`` (i, j, k) do not agree with."""
        found = start[tuple(self.voxels.T)] > 0
        wrong: Places = self.places[found != (self.labels == POSITIVE)]
        return wrong


def start_logits(prompts: Prompts, previous: Prediction | None) -> NDArray[Any] | None:
    """Return the logits (i, j, k) to start from: what the model last said, and masks drawn since (``unheeded``)."""
    areas = [mask.mask for mask in prompts.of(MaskPrompt)]
    if previous is not None:
        areas = unheeded(areas, previous.mask, negative_marks(prompts))
    if not areas:
        return None if previous is None else previous.logits[0]
    drawn = np.logical_or.reduce(areas)
    if previous is None:
        return np.where(drawn, np.int8(SURE), np.int8(-SURE))
    return np.where(drawn, np.float32(SURE), previous.logits[0])


def keep_within_boxes(logits: Floats, prompts: Prompts) -> None:
    """Take out of ``logits`` (i, j, k) what lies outside the boxes, if there are any."""
    if not prompts.boxes:
        return
    allowed = np.zeros(logits.shape, np.bool_)
    for box in prompts.boxes:
        allowed[_inside(box, logits.shape)] = True
    marked = all(allowed[tuple(voxels.T)].all() for voxels in positive_marks(prompts))
    if marked and all((allowed | ~mask.mask).all() for mask in prompts.of(MaskPrompt)):
        np.minimum(logits, np.float32(-SURE), out=logits, where=~allowed)


def _inside(box: Box, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Return where the object of a box may be."""
    return tuple(slice(0, n) if b - a == 1 else slice(a, b) for a, b, n in zip(box.start, box.stop, shape, strict=True))


def _is_said(box: Box, prompts: Prompts, start: NDArray[Any] | None) -> bool:
    """Whether something else tells what in a box is meant."""
    marks = np.concatenate([np.zeros((0, 3), np.int64), *positive_marks(prompts)])
    if ((marks >= box.start) & (marks < box.stop)).all(axis=1).any():
        return True
    block = tuple(slice(a, b) for a, b in zip(box.start, box.stop, strict=True))
    return start is not None and bool((start[block] > 0).any())


def _middle(box: Box) -> Places:
    middle: Places = (np.array(box.start) + np.array(box.stop) - 1) / 2
    return middle
