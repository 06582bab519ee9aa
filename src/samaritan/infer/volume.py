"""One object of an image, slice by slice, by a model of planes.

1. Every slice with a positive prompt of its own (a point, scribble, lasso, a box one slice thick, a mask) is decoded
   from it: a *prompted* slice. What it shows is final. In a box over several slices that has no prompted slice, the
   box's middle planes across the slices say how far the object reaches in each (``crossing``); where slices are too
   thick for that, the object is looked for in the middle, from the box's cross-section.
2. A gap between two prompted slices is filled from both ends in turn: the shape of the next slice is interpolated
   between the two that are nearest so far, and the model decodes the slice from that shape; where it disagrees, the
   shape itself is taken.
3. Beyond the outermost prompted slices the mask is followed from neighbour to neighbour, until it leaves the object
   (``Propagation``), the box, or the image.

Negative prompts count in the slice that they lie in. Within a box over several slices nothing outside it is kept. A
mask over several slices is refined slice by slice, and not followed beyond them.

An image of one plane is the case of one prompted slice.

Slices that are all going to be decoded are encoded several at once where that pays (``Embedder.in_turn``); those along
which an object is followed one by one, for nobody knows which will be the last.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from typing import cast

import numpy as np

from samaritan.core.errors import PromptError
from samaritan.core.geometry import Axis, axis_number
from samaritan.core.image import take_plane
from samaritan.core.model import Prediction, decode_all, telling_of
from samaritan.core.prompts import Box, MaskPrompt, Point, Prompt, Prompts
from samaritan.infer.crossing import boxes_by_slice, shows_across
from samaritan.infer.embedder import Embedder
from samaritan.infer.planes import on_plane, put_plane, range_along
from samaritan.infer.propagation import Propagation, Slice, has_left
from samaritan.infer.shapes import Bools, Floats, between, corners, deepest_points, overlap
from samaritan.infer.square import SquareView
from samaritan.infer.translate import translate

# Where to look for the object in a box over several slices, as fractions of its depth.
_PROBES = (0.5, 0.25, 0.75)

# How many objects of a plane are asked about at once, and what their logits may take: those of a click are three masks.
_AT_ONCE, _LOGITS_BYTES = 8, 64 << 20
_BYTES_A_PIXEL = 3 * 4


@dataclass(frozen=True, slots=True)
class Route:
    """Which slices are prompted, which boxes still need a start, and the half-open range that may hold the object."""

    prompted: tuple[int, ...]
    unstarted: tuple[tuple[int, int], ...]
    start: int
    stop: int

    @property
    def first(self) -> int:
        """The slice that is decoded first."""
        return self.prompted[0] if self.prompted else self.probed[0]

    @property
    def probed(self) -> tuple[int, ...]:
        """Slices in which the objects of boxes without a start are looked for, best first of each box."""
        return tuple(index for block in self.unstarted for index in _probes(block))


def plan_route(prompts: Prompts, axis: Axis) -> Route:
    """Return the route through the slices along ``axis`` for the ``prompts`` of one object.

    Raises
    ------
    PromptError
        If nothing says where the object is.
    """
    slices = prompts.geometry.shape[axis_number(axis)]
    prompted: set[int] = set()
    blocks: list[tuple[int, int]] = []  # of boxes
    masks: list[tuple[int, int]] = []
    for item in prompts.items:
        first, last = range_along(item, axis, slices)
        thick = last - first > 1
        if isinstance(item, Box) and thick:
            blocks.append((first, last))
        elif getattr(item, "positive", True):
            here = range(first, last)
            prompted.update(here if not thick else _touched(item, axis, here, prompts))
            if isinstance(item, MaskPrompt) and thick:
                masks.append((first, last))
    if not prompted and not blocks:
        raise PromptError(
            got="only negative prompts" if prompts else "no prompt",
            wanted="at least one prompt that says where the object is",
            fix="Add a positive point, a box, a scribble, a lasso or a mask",
        )
    bounds = blocks or (masks if prompted <= {n for first, last in masks for n in range(first, last)} else [])
    ends = [(0, slices)] if not bounds else [*bounds, *((n, n + 1) for n in prompted)]
    unstarted = dict.fromkeys(block for block in blocks if not prompted.intersection(range(*block)))
    return Route(
        tuple(sorted(prompted)), tuple(unstarted), min(first for first, _ in ends), max(last for _, last in ends)
    )


def _probes(block: tuple[int, int]) -> tuple[int, ...]:
    """Return the slices in which to look for the object of a box over several slices, best first."""
    first, last = block
    return tuple(dict.fromkeys(first + int(fraction * (last - first)) for fraction in _PROBES))


def _inwards(below: int, above: int) -> Iterator[int]:
    """Yield the slices between two, alternately the lowest and the highest that are left."""
    low, high = below + 1, above - 1
    while low <= high:
        yield low
        if low < high:
            yield high
        low, high = low + 1, high - 1


def _touched(item: Prompt, axis: Axis, here: range, prompts: Prompts) -> Iterator[int]:
    alone = replace(prompts, items=(item,))
    return (index for index in here if on_plane(alone, axis, index))


class ObjectSegmenter:
    """Segments one object along one axis.

    Parameters
    ----------
    embedder
        Gives the embedding and the prepared intensities of each plane.
    prompts
        Of one object, on the grid of the embedder's image.
    axis
        Across which to slice.
    rule
        How to propagate.
    tick
        Called after each slice that was decoded.
    """

    def __init__(
        self, embedder: Embedder, prompts: Prompts, axis: Axis, rule: Propagation, tick: Callable[[], None]
    ) -> None:
        self._embedder, self._prompts, self._axis, self._rule, self._tick = embedder, prompts, axis, rule, tick
        self.route = plan_route(prompts, axis)
        self._starts: dict[int, Slice] = {}
        # In (i, j, k) of Fortran order, as files have it, the planes along k are contiguous.
        self.mask: Bools = np.zeros(prompts.geometry.shape, np.bool_, order="F")
        self._areas: list[int] = []
        self._scores: list[float] = []

    @property
    def score(self) -> float:
        """Predicted IoU: the mean over slices, weighted by area; 0 for an empty mask."""
        return float(np.average(self._scores, weights=self._areas)) if sum(self._areas) else 0.0

    def run(self) -> None:
        """Fill ``mask``."""
        for index in self._in_turn(index for index in self.route.prompted if index not in self._starts):
            self.start(index, self._predict((self._axis, index), self._here(index)))
        found: dict[int, Slice] = {}
        for block in self.route.unstarted:
            found |= self._start_in(block)
        self._starts |= {index: self._keep(index, now) for index, now in found.items()}
        starts = self._starts
        if not starts:
            return
        for below, above in pairwise(sorted(starts)):
            if above - below > 1:
                self._bridge(below, starts[below], above, starts[above])
        first, last = min(starts), max(starts)
        self._follow(starts[first], range(first - 1, self.route.start - 1, -1))
        self._follow(starts[last], range(last + 1, self.route.stop))

    @property
    def prompted(self) -> Iterator[tuple[Axis, int]]:
        """The planes of ``route.prompted``."""
        return ((self._axis, index) for index in self.route.prompted)

    def question(self, index: int) -> Prompts:
        """Return what the model is asked about a prompted slice."""
        return self._said(self._here(index))

    def start(self, index: int, answer: Prediction) -> None:
        """Take the ``answer`` to the ``question`` about a prompted slice, whoever asked it."""
        self._starts[index] = self._keep(index, self._seen(index, answer))

    # -- the three ways to a slice ------------------------------------------------------------------------------

    def _start_in(self, block: tuple[int, int]) -> dict[int, Slice]:
        """Return slices of a box with what they show of the object: all, the one where it shows best, or none."""
        boxes = self._boxes_across(block)
        if boxes:
            found = {index: self._decode(index, self._boxed(index, boxes[index])) for index in self._in_turn(boxes)}
            believed = {index: now for index, now in found.items() if now.area >= self._rule.min_pixels}
            if believed:
                return believed
        probes = {index: self._decode(index, self._here(index)) for index in self._in_turn(_probes(block))}
        index = max(probes, key=lambda n: probes[n].score if probes[n].area >= self._rule.min_pixels else 0.0)
        return {index: probes[index]} if probes[index].area >= self._rule.min_pixels else {}

    def _boxes_across(self, block: tuple[int, int]) -> dict[int, Box]:
        """Return a box for each slice of a block in which planes across the slices show the object, if they can."""
        blocks = [box for box in self._prompts.boxes if range_along(box, self._axis, 0) == block]
        # Of several boxes none bounds the whole object, so none may stand for the others in a slice.
        if len(self._prompts.boxes) > 1 or not shows_across(blocks[0], self._prompts.geometry, self._axis):
            return {}

        def look(axis: Axis, index: int) -> Prediction:
            alone = replace(self._prompts, items=(blocks[0],))
            return self._predict_square((axis, index), on_plane(alone, axis, index))

        return boxes_by_slice(blocks[0], self._axis, look)

    def _boxed(self, index: int, box: Box) -> Prompts:
        """Return the prompts in a slice, with ``box`` in place of their boxes."""
        here = self._here(index)
        return replace(here, items=(*(item for item in here.items if not isinstance(item, Box)), box))

    def _follow(self, origin: Slice, indices: range) -> None:
        """Follow the mask away from a start until it leaves the object."""
        neighbour = origin
        for index in indices:
            if not neighbour.area:
                return
            # The mask as a hint keeps the object's shape, and so fails where that shrinks fast: then without it.
            for hints in (self._rule.hints, self._rule.hints - {"mask"}):
                now = self._decode_like(index, neighbour.mask, hints)
                if not has_left(now, neighbour, origin, intensity_span=self._span, rule=self._rule):
                    break
            else:
                return
            self._keep(index, now)
            neighbour = now

    def _bridge(self, below: int, first: Slice, above: int, last: Slice) -> None:
        """Fill the gap between two starts: by interpolated shapes if they overlap, else by following each."""
        if not (first.area and last.area and between(first.mask, last.mask, 0.5).any()):
            middle = (below + above + 1) // 2
            self._follow(first, range(below + 1, middle if last.area else above))
            self._follow(last, range(above - 1, middle - 1 if first.area else below, -1))
            return
        min_score = self._rule.min_score * min(first.score, last.score)
        for index in self._in_turn(_inwards(below, above)):
            fraction = (index - below) / (above - below)
            found = self._decode_between(index, between(first.mask, last.mask, fraction), min_score)
            if not found.area:
                return
            self._keep(index, found)
            # The next shape lies between what was found: from the far ends a bulge in the middle would be missed.
            if index == below + 1:
                below, first = index, found
            else:
                above, last = index, found

    def _decode_between(self, index: int, shape: Bools, min_score: float) -> Slice:
        """Decode a slice from an interpolated ``shape``, or take the shape itself if the outcome is not believable."""
        if not shape.any():
            return Slice(shape, 0.0, 0.0, 0.0)
        found = self._decode_like(index, shape, self._rule.hints)
        believed = found.score >= min_score and overlap(found.mask, shape) >= self._rule.min_agreement
        return found if believed else replace(found, mask=shape & self._allowed(index))

    def _in_turn(self, indices: Iterable[int]) -> Iterator[int]:
        """Yield slices that are all going to be decoded; see ``Embedder.in_turn``."""
        return (index for _, index in self._embedder.in_turn([(self._axis, index) for index in indices]))

    # -- one slice ----------------------------------------------------------------------------------------------

    def _decode_like(self, index: int, shape: Bools, kinds: frozenset[str]) -> Slice:
        """Decode a slice where the object should look much like ``shape`` (a, b), said in those ``kinds``."""
        here = self._here(index)
        others = [item for item in here.items if not isinstance(item, Box)]
        taken = {item.voxel for item in others if isinstance(item, Point)}
        clicks = [(a, b, 0) for a, b in deepest_points(shape)]
        said: list[Prompt] = [
            self._box_around(shape, here),
            MaskPrompt(shape[..., None]),
            *(Point(click) for click in clicks if click not in taken),
        ]
        wanted = self._embedder.model.card.prompts & kinds
        return self._decode(index, replace(here, items=(*others, *(item for item in said if item.kind in wanted))))

    def _box_around(self, shape: Bools, here: Prompts) -> Box:
        """Return the box around ``shape``, grown, within the plane and within the boxes that lie in it."""
        start, stop = np.array(corners(shape))
        margin = np.maximum(self._rule.grow_px, np.round(self._rule.grow * (stop - start))).astype(int)
        low, high = np.zeros(2, int), np.array(shape.shape)
        if here.boxes:
            low = np.min([box.start[:2] for box in here.boxes], axis=0)
            high = np.max([box.stop[:2] for box in here.boxes], axis=0)
        a0, b0 = np.clip(start - margin, low, high - 1)
        a1, b1 = np.maximum(np.clip(stop + margin, low, high), (a0 + 1, b0 + 1))
        return Box((a0, b0, 0), (a1, b1, 1))

    def _here(self, index: int) -> Prompts:
        return on_plane(self._prompts, self._axis, index)

    def _decode(self, index: int, prompts: Prompts) -> Slice:
        return self._seen(index, self._predict((self._axis, index), prompts))

    def _seen(self, index: int, prediction: Prediction) -> Slice:
        mask = prediction.mask[..., 0] & self._allowed(index)
        self._tick()
        return Slice.measure(mask, prediction.score, self._grey(index))

    def _said(self, prompts: Prompts) -> Prompts:
        """Return prompts in the kinds that the model takes."""
        card = self._embedder.model.card
        said = translate(prompts, card)
        card.require_prompts(said)
        return said

    def _predict(self, where: tuple[Axis, int], prompts: Prompts, *, square: bool = False) -> Prediction:
        said = self._said(prompts)
        embedding = self._embedder.embedding(where, square=square)
        with self._embedder.stopwatch("decode"):
            return self._embedder.model.decode(embedding, said)

    def _predict_square(self, where: tuple[Axis, int], boxed: Prompts) -> Prediction:
        """Answer for boxes in a plane whose pixels need not be square."""
        view = SquareView.of(boxed.geometry)
        if view.is_plane_itself:
            return self._predict(where, boxed)
        stretched = Prompts(view.geometry, tuple(view.box(box) for box in boxed.boxes))
        return view.back(self._predict(where, stretched, square=True))

    def _allowed(self, index: int) -> Bools:
        """Return the pixels (a, b) of a slice where boxes over several slices, if there are any, let the object be."""
        shape = self._prompts.geometry.plane(self._axis, index).shape[:2]
        normal = axis_number(self._axis)
        thick = tuple(box for box in self._prompts.boxes if box.stop[normal] - box.start[normal] > 1)
        boxes = on_plane(replace(self._prompts, items=thick), self._axis, index).boxes
        # A slice beside all boxes holds what is prompted there, or nothing.
        allowed = np.full(shape, not thick or (not boxes and index in self.route.prompted))
        for box in boxes:
            allowed[box.start[0] : box.stop[0], box.start[1] : box.stop[1]] = True
        return allowed

    @property
    def _span(self) -> float:
        low, high = self._embedder.model.card.intensity_range
        return high - low

    def _grey(self, index: int) -> Floats:
        array = self._embedder.prepared((self._axis, index)).array[..., 0]
        return cast("Floats", array[0] if array.strides[0] == 0 else array.mean(axis=0, dtype=np.float32))

    def _keep(self, index: int, found: Slice) -> Slice:
        """Write a slice into ``mask``; return it with its part of that as its own mask: so it takes no more memory."""
        put_plane(self.mask, self._axis, index, found.mask)
        self._areas.append(found.area)
        self._scores.append(found.score)
        return replace(found, mask=take_plane(self.mask, self._axis, index)[..., 0])


Shared = dict[tuple[Axis, int], dict[str, ObjectSegmenter]]


def shared_planes(segmenters: Mapping[str, ObjectSegmenter]) -> Shared:
    """Return the planes that several objects are prompted in, with those objects by name.

    What only one is prompted in is left to it: nothing is gained, and its slices are then encoded in the order in which
    it needs them.
    """
    by_plane: defaultdict[tuple[Axis, int], dict[str, ObjectSegmenter]] = defaultdict(dict)
    for name, segmenter in segmenters.items():
        for where in segmenter.prompted:
            by_plane[where][name] = segmenter
    return {where: here for where, here in by_plane.items() if len(here) > 1}


def start_together(embedder: Embedder, shared: Shared) -> None:
    """Decode the shared planes, for several objects at once where the model can; each ``run`` goes on from there.

    Raises
    ------
    PromptError
        As ``start``.
    """
    for where in embedder.in_turn(list(shared)):
        left = iter(shared[where].items())
        while some := dict(islice(left, at_once(embedder, where))):
            start(embedder, where, some)


def at_once(embedder: Embedder, where: tuple[Axis, int]) -> int:
    """Return how many objects a model is asked about at once in a plane, so that logits stay small and Ctrl-C quick."""
    pixels = math.prod(embedder.image.geometry.plane(*where).shape)
    return max(1, min(_AT_ONCE, _LOGITS_BYTES // (pixels * _BYTES_A_PIXEL)))


def start(embedder: Embedder, where: tuple[Axis, int], segmenters: Mapping[str, ObjectSegmenter]) -> None:
    """Decode a plane for several objects at once.

    Raises
    ------
    PromptError
        As ``Model.decode``; it names the object.
    """
    questions = {}
    for name, segmenter in segmenters.items():
        with telling_object(name):
            questions[name] = segmenter.question(where[1])
    embedding = embedder.embedding(where)
    with embedder.stopwatch("decode"):
        try:
            answers = decode_all(embedder.model, embedding, list(questions.values()))
        except PromptError:
            # It tells which by its number among these; asked about each alone, by its name.
            for name, question in questions.items():
                with telling_object(name):
                    embedder.model.decode(embedding, question)
            raise
    for segmenter, answer in zip(segmenters.values(), answers, strict=True):
        segmenter.start(where[1], answer)


def telling_object(name: str) -> AbstractContextManager[None]:
    """Let errors of the code within say which of several objects they are about, as people call it."""
    return telling_of(f"object '{name}'")
