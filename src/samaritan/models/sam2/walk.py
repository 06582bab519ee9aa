"""How an object is found in a volume: some slices say what it is, and from them it is followed to the others.

* A slice with something positive is answered as a picture is; a mask alone in one slice is taken as it is. What they
  show is remembered.
* From there the object is followed slice by slice, upwards and then downwards, each slice being seen in the light of
  those before. It has ended where nothing of it is seen in two slices on end; in a box, where that ends.
* A slice in which the object was seen before, and that does not heed its prompts, is *corrected*: in the light of the
  way to it, its prompts are answered from its earlier mask. It is remembered like those that were asked about, and all
  others are followed anew. Without a previous prediction that goes for slices with negative prompts only.
* A slice whose prompts a previous prediction heeds stays as it is. Where that leaves no start, one is taken as it is in
  which the prediction is largest, until it is corrected itself.

So a click after a mask does what it does in SAM 2's own predictor of videos where ``add_all_frames_to_correct_as_cond``
is set, as it is for its training.

In float64 the logits of whole volumes are those of that predictor to 1e-13. What differs between the two is rounding
(it keeps memories in bfloat16, we keep encoded slices in float16), and what is meant to:

* each way starts from the slices that were asked about alone, as in MedSAM2; there the second also recalls the first;
* of many slices that were asked about the nearest few are recalled (``tracker.MOST_ASKED``), there by default all;
* a mask that was drawn is remembered as it is, there at a quarter of the frame's resolution;
* where a person says that the object is, it is, whatever the network makes of that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from samaritan.core.geometry import Geometry
from samaritan.core.model import Prediction, Step
from samaritan.core.prompts import MaskPrompt, Prompts
from samaritan.models.letterbox import Letterbox
from samaritan.models.planar.network import Features, Floats, Tokens
from samaritan.models.planar.prompts import tokens
from samaritan.models.prompt_areas import keep_within_lasso
from samaritan.models.sam2.memory import Memory
from samaritan.models.sam2.route import Route, heeds, is_positive, plane_of
from samaritan.models.sam2.tracker import Bank, Seen, Tracker

_SURE = np.float32(8.0)  # logit of a mask that a person drew
_MOST = np.float32(32.0)  # logits beyond this are cut off; nothing is said of slices that were not come to
_PATIENCE = 2  # slices without the object after which it has ended


@dataclass(frozen=True, eq=False, slots=True)
class _Found:
    """The object in one slice: ``logits`` (i, j), and what the tracker made of it."""

    logits: Floats
    seen: Seen

    @property
    def area(self) -> int:
        return int(np.count_nonzero(self.logits > 0))


@dataclass(eq=False, slots=True)
class Walk:
    """One way through a volume.

    Parameters
    ----------
    tracker
        Sees the object, and remembers.
    letterbox
        How slices lie in its frame.
    geometry
        Of the volume.
    features
        Returns the features of a slice.
    route
        The prompts.
    previous
        Prediction to correct, on ``geometry``.
    step
        Called after each slice; those on the way to a correction count twice.
    """

    tracker: Tracker
    letterbox: Letterbox
    geometry: Geometry
    features: Callable[[int], Features]
    route: Route
    previous: Prediction | None
    step: Step
    _logits: Floats = field(init=False)
    _ious: dict[int, float] = field(init=False, default_factory=dict)  # of the slices that were come to
    _visits: int = field(init=False, default=0)
    _most_visits: int = field(init=False)
    _largest: int | None = field(init=False)

    def __post_init__(self) -> None:
        self._logits = np.full(self.geometry.shape, -_MOST, np.float32)
        self._largest = self._largest_slice()
        self._most_visits = self.route.stop - self.route.start
        if self.previous is not None or self.route.corrections:
            marked = [*self.route.starts, *self.route.corrections]
            marked += [] if self._largest is None else [self._largest]
            self._most_visits += max(marked) - min(marked) + 1

    def run(self) -> None:
        """Look at every slice that may show the object."""
        asked, corrections = self._begin()
        if not asked:
            return
        if corrections:
            # There first: what they come to counts in the slices before them and on the other side as well.
            surely = [*asked, *(index for index in corrections if self._before(index) is not None)]
            self._follow(asked, range(min(corrections), max(corrections) + 1), until=surely, corrections=corrections)
            self._forget(set(self._ious) - set(asked))
        bounds = range(self.route.start, self.route.stop)
        # Between starts to the end: another one is to come, even if nothing is seen for a while.
        self._follow(asked, bounds, until=bounds if self.route.is_bounded else [*asked], corrections={})

    def prediction(self) -> Prediction:
        """Return what was found; its score is the mean over slices, weighted by area, and 0 for an empty mask."""
        logits = self._logits
        if not self._ious and self.previous is not None:  # nothing to follow: it stays as it was
            logits = self.previous.logits[0].copy()
        areas = [int(np.count_nonzero(logits[:, :, index] > 0)) for index in self._ious]
        score = np.clip(np.average(list(self._ious.values()), weights=areas), 0.0, 1.0) if sum(areas) else 0.0
        return Prediction(logits[None], np.array([score], np.float32), self.geometry)

    # -- what to start from ---------------------------------------------------------------------------------------

    def _begin(self) -> tuple[dict[int, Memory], dict[int, Prompts]]:
        """Return the memories of the slices to start from, and the prompts of those that are to be corrected."""
        asked: dict[int, Memory] = {}
        corrections: dict[int, Prompts] = {}
        for index, here in (self.route.starts | self.route.corrections).items():
            found = self._start(index, here)
            if found is None:
                corrections[index] = here
            else:
                asked[index] = self._keep(index, found)
        largest = self._largest
        before = None if largest is None else self._before(largest)
        if largest is not None and before is not None and not asked.keys() & self.route.starts.keys():
            asked[largest] = self._keep(largest, self._as_before(largest, before))
        return asked, corrections

    def _start(self, index: int, here: Prompts) -> _Found | None:
        """Answer the prompts of one slice by itself; None if it is to be corrected instead."""
        if index in self.route.drawn:
            mask = here.of(MaskPrompt)[0].mask[..., 0]
            return _Found(np.where(mask, _SURE, -_SURE), self._shown(index, mask))
        before = self._before(index)
        if is_positive(here):
            alone = self._placed(self.tracker.ask(self.features(index), self._tokens(here)), here)
            if before is None:
                return alone
            if np.array_equal(self.route.kept(index, alone.logits) > 0, before.mask[..., 0]):
                return replace(alone, logits=before.logits[0, ..., 0])  # as when it was first asked about
        return self._as_before(index, before) if before is not None and heeds(before, here) else None

    def _as_before(self, index: int, before: Prediction) -> _Found:
        """Take a slice as it was found before."""
        return _Found(before.logits[0, ..., 0], replace(self._shown(index, before.mask[..., 0]), iou=before.score))

    def _shown(self, index: int, mask: NDArray[np.bool_]) -> Seen:
        """Return what to remember of a slice with this mask (i, j)."""
        frame = self.letterbox.image_to_frame(mask[None, ..., None])[0]
        area = frame >= np.float32(0.5)
        # What is thinner than a pixel of the frame would be lost.
        return self.tracker.show(self.features(index), area if area.any() else frame > 0)

    def _before(self, index: int) -> Prediction | None:
        """Return the previous prediction in one slice, if it has something there."""
        if self.previous is None or not (self.previous.logits[0, :, :, index] > 0).any():
            return None
        return self._plane(index, self.previous.logits[0, :, :, index], self.previous.score)

    def _largest_slice(self) -> int | None:
        """Return the slice in which the previous prediction is largest: of the starts, if there are any."""
        if self.previous is None:
            return None
        slices = [*self.route.starts] or range(self.route.start, self.route.stop)
        areas = [int(np.count_nonzero(self.previous.logits[0, :, :, index] > 0)) for index in slices]
        return slices[int(np.argmax(areas))] if any(areas) else None

    # -- and where that leads -------------------------------------------------------------------------------------

    def _follow(
        self, asked: dict[int, Memory], slices: range, *, until: Sequence[int], corrections: Mapping[int, Prompts]
    ) -> None:
        """Follow the object through ``slices``, up and down from the first that was asked about.

        It is followed until it ends, but not before all of ``until``. Corrections on the way are added to ``asked``.
        """
        first = min(asked)
        ways = range(first, slices.stop), range(first - 1, slices.start - 1, -1)
        for way, end in zip(ways, (max(until), min(until)), strict=True):
            bank, missing = Bank(asked, self.geometry.shape[2], way.step), 0
            for index in way:
                if index in corrections:
                    self._correct(index, corrections[index], bank)
                if index in asked:
                    missing = 0
                    continue
                found = self._followed(index, bank)
                bank.remember(index, self._keep(index, found))
                missing = 0 if found.area else missing + 1
                if missing >= _PATIENCE and (index - end) * way.step > 0:
                    break

    def _followed(self, index: int, bank: Bank) -> _Found:
        return self._placed(self.tracker.follow(self.features(index), index, bank))

    def _correct(self, index: int, here: Prompts, bank: Bank) -> None:
        """Answer prompts from the mask that there is in their slice, and remember it; without one they say nothing."""
        before = self._before(index)
        if before is None:
            found = self._followed(index, bank)
            if not found.area:
                return
            before = self._plane(index, found.logits, found.seen.iou)
        asked = self._tokens(here, before)
        seen = self.tracker.follow(self.features(index), index, bank, asked, sure=is_positive(here))
        bank.asked[index] = self._keep(index, self._placed(seen, here))

    def _keep(self, index: int, found: _Found) -> Memory:
        """Keep what a slice shows; return what to remember of it."""
        self._logits[:, :, index] = self.route.kept(index, found.logits)
        self._ious[index] = found.seen.iou
        self._visits += 1
        self.step(self._visits, self._most_visits)
        return found.seen.memory

    def _forget(self, slices: set[int]) -> None:
        for index in slices:
            self._logits[:, :, index] = -_MOST
            del self._ious[index]

    # -- between slices and the frame -----------------------------------------------------------------------------

    def _tokens(self, here: Prompts, before: Prediction | None = None) -> Tokens:
        return tokens(here, before, self.letterbox, mask_side=self.tracker.mask_side)

    def _placed(self, seen: Seen, here: Prompts | None = None) -> _Found:
        """Bring what was seen in the frame onto the slice."""
        logits = np.clip(self.letterbox.logits_from_frame(seen.logits[None]), -_MOST, _MOST)
        if here is not None:
            logits = keep_within_lasso(logits, here)
        return _Found(logits[0, ..., 0], seen)

    def _plane(self, index: int, logits: Floats, iou: float) -> Prediction:
        scores = np.array([iou], np.float32)
        return Prediction(logits[None, ..., None], scores, plane_of(self.geometry, index))
