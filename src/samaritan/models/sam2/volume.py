"""SAM 2 as a ``Model`` of volumes: slices along k are what it takes for the frames of a video.

Prompted slices are answered as pictures are; a mask alone in one slice is taken as it is. What they show is
remembered, and the object followed from them slice by slice, upwards and then downwards, each slice being seen in the
light of those before. It has ended where nothing of it is seen in two slices on end.

Slices are taken along k whatever the spacing: whoever wants another axis turns the volume first.

Encoding a volume of a hundred slices would take minutes and gigabytes, and a small object shows in a few of them. So
``embed`` keeps the voxels only, in whole numbers as pictures have them, and slices are encoded when they are first
needed. The encoded slices are held with the embedding, in half precision, up to ``HELD`` bytes. ``pack`` gives the
voxels.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from samaritan.core.errors import CorruptFileError, ImageError
from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image
from samaritan.core.model import Embedding, ModelCard, Prediction, require_same_grid
from samaritan.core.prompts import MaskPrompt, Prompts
from samaritan.models.letterbox import Letterbox
from samaritan.models.planar.frame import FrameSpec
from samaritan.models.planar.network import Features, Floats
from samaritan.models.planar.prompts import tokens
from samaritan.models.prompt_areas import keep_within_lasso, require_start
from samaritan.models.sam2.route import Route, is_positive, plane_of
from samaritan.models.sam2.tracker import Bank, Seen, Tracker

HELD = 512 << 20

_VOXELS = "voxels"
_SURE = np.float32(8.0)  # logit of a mask that a person drew
_MOST = np.float32(32.0)  # logits beyond this are cut off; nothing is said of slices that were not come to
_PATIENCE = 2  # slices without the object after which it has ended
_HALF_MAX = 65504.0


class VolumeEmbedding:
    """A volume, and those of its slices that were encoded so far.

    Parameters
    ----------
    voxels
        (k, c, i, j) of 0 to 255; one channel where all are alike, else three.
    geometry
        Grid of the volume.
    """

    def __init__(self, voxels: NDArray[np.uint8], geometry: Geometry) -> None:
        self.voxels, self._geometry = voxels, geometry
        self._held: OrderedDict[int, dict[str, Any]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def geometry(self) -> Geometry:
        """Grid of the volume."""
        return self._geometry

    @property
    def nbytes(self) -> int:
        """Memory that it holds now."""
        with self._lock:
            return self.voxels.nbytes + sum(map(_nbytes, self._held.values()))

    def slice(self, index: int) -> Image:
        """Return one slice as a picture of three channels."""
        plane = np.broadcast_to(self.voxels[index], (len(RGB), *self.voxels.shape[2:]))[..., None]
        return Image(plane, plane_of(self.geometry, index), RGB)

    def features(self, index: int, encode: Callable[[Image], Features]) -> Features:
        """Return the features of one slice, encoded the first time, the last used ones held up to ``HELD`` bytes."""
        with self._lock:
            if index not in self._held:
                # Rounded whether they are held or not: a mask must not depend on what was asked before.
                self._held[index] = {name: _halved(found) for name, found in encode(self.slice(index)).items()}
            self._held.move_to_end(index)
            found = self._held[index]
            while len(self._held) > 1 and sum(map(_nbytes, self._held.values())) > HELD:
                self._held.popitem(last=False)
            return found


class VolumeModel:
    """A ``Model`` of volumes: SAM 2 with its memory, how slices are prepared for it, and its card.

    Parameters
    ----------
    card
        What there is to know about the model.
    tracker
        Encodes, decodes and remembers.
    frame
        How slices are prepared.
    """

    def __init__(self, card: ModelCard, tracker: Tracker, frame: FrameSpec) -> None:
        self._card, self.tracker, self.frame = card, tracker, frame

    @property
    def card(self) -> ModelCard:
        """What there is to know about the model."""
        return self._card

    def embed(self, image: Image) -> VolumeEmbedding:
        """Take a volume in; nothing is encoded yet. See ``Model.embed``.

        Raises
        ------
        ImageError
            If the image has another number of channels than the card says.
        """
        if len(image.channels) != self.card.channels:
            raise ImageError(got=f"an image of {len(image.channels)} channels", wanted=f"{self.card.channels}")
        # A grey image repeated to three channels has stride 0 along them: one channel tells it all.
        array = image.array[:1] if image.array.strides[0] == 0 else image.array
        voxels = np.empty((image.shape[2], len(array), *image.shape[:2]), np.uint8)
        for index, plane in enumerate(voxels):  # one at a time, to spare memory
            plane[...] = np.clip(np.rint(array[..., index]), 0, 255)
        return VolumeEmbedding(_read_only(voxels), image.geometry)

    def decode(self, embedding: Embedding, prompts: Prompts, previous: Prediction | None = None) -> Prediction:
        """Return the mask of one object in the whole volume; see ``Model.decode``, and the module for how it is found.

        ``previous`` helps in slices that are asked about; the others are followed anew.

        Raises
        ------
        PromptError
            If there is nothing positive to start from: only negative marks, and no previous prediction; or if a lasso
            is drawn across another axis than k.
        """
        require_same_grid(embedding, prompts, previous)
        self.card.require_prompts(prompts)
        require_start(prompts, previous)
        walk = _Walk(self, cast("VolumeEmbedding", embedding), Route.of(prompts), previous)
        walk.run()
        return walk.prediction()

    def pack(self, embedding: Embedding) -> Mapping[str, NDArray[Any]]:
        """Return the voxels."""
        return {_VOXELS: cast("VolumeEmbedding", embedding).voxels}

    def unpack(self, arrays: Mapping[str, NDArray[Any]], geometry: Geometry) -> VolumeEmbedding:
        """Return the embedding that ``pack`` took apart.

        Raises
        ------
        CorruptFileError
            If the arrays are not those of a volume on ``geometry``.
        """
        found = {name: (array.shape, array.dtype.name) for name, array in arrays.items()}
        i, j, k = geometry.shape
        wanted = [{_VOXELS: ((k, channels, i, j), "uint8")} for channels in (1, len(RGB))]
        if found not in wanted:
            raise CorruptFileError(got=f"an embedding of {found}", wanted=f"{wanted[0]} or {wanted[1]}")
        return VolumeEmbedding(_read_only(arrays[_VOXELS]), geometry)


@dataclass(frozen=True, eq=False, slots=True)
class _Found:
    """The object in one slice: ``logits`` (i, j), and what the tracker made of it."""

    logits: Floats
    seen: Seen

    @property
    def area(self) -> int:
        return int(np.count_nonzero(self.logits > 0))


class _Walk:
    """One way through a volume: starts first, then upwards and downwards from them."""

    def __init__(
        self, model: VolumeModel, embedding: VolumeEmbedding, route: Route, previous: Prediction | None
    ) -> None:
        self._model, self._embedding, self._route, self._previous = model, embedding, route, previous
        shape = embedding.geometry.shape
        self._letterbox: Letterbox = model.frame.letterbox((shape[0], shape[1]))
        self._found: dict[int, _Found] = {}

    def run(self) -> None:
        """Look at every slice that may show the object."""
        starts = {index: self._start(index, here) for index, here in self._route.starts.items()}
        if not starts:
            starts = self._start_from_previous()
        self._found |= starts
        if not starts:
            return
        asked = {index: found.seen.memory for index, found in starts.items()}
        first, last = min(starts), max(starts)
        slices = self._embedding.geometry.shape[2]
        # Between starts to the end: another one is to come, even if nothing is seen for a while.
        self._follow(Bank(asked, slices, 1), range(first + 1, self._route.stop), until=last)
        self._follow(Bank(asked, slices, -1), range(first - 1, self._route.start - 1, -1), until=first)

    def prediction(self) -> Prediction:
        """Return what was found; its score is the mean over slices, weighted by area, and 0 for an empty mask."""
        geometry = self._embedding.geometry
        logits = np.full(geometry.shape, -_MOST, np.float32)
        if not self._found and self._previous is not None:  # nothing to follow: it stays as it was
            logits = self._previous.logits[0].copy()
        for index, found in self._found.items():
            logits[:, :, index] = found.logits
        logits = self._route.kept(logits)
        areas = [int(np.count_nonzero(logits[:, :, index] > 0)) for index in self._found]
        scores = [found.seen.iou for found in self._found.values()]
        score = float(np.clip(np.average(scores, weights=areas), 0.0, 1.0)) if sum(areas) else 0.0
        return Prediction(logits[None], np.array([score], np.float32), geometry)

    def _start(self, index: int, here: Prompts) -> _Found:
        """Answer the prompts of one slice."""
        if index in self._route.drawn:
            return self._shown(index, here.of(MaskPrompt)[0].mask[..., 0])
        before = None if self._previous is None else _plane(self._previous, index)
        asked = tokens(here, before, self._letterbox, mask_side=self._model.tracker.mask_side)
        seen = self._model.tracker.ask(self._features(index), asked, sure=is_positive(here))
        return self._placed(seen, here)

    def _start_from_previous(self) -> dict[int, _Found]:
        """Return the slice in which the previous prediction is largest, if it is not empty."""
        if self._previous is None or not self._previous.mask.any():
            return {}
        index = int(self._previous.mask.sum(axis=(0, 1)).argmax())
        if index in self._route.corrections:
            return {index: self._start(index, self._route.corrections[index])}
        return {index: self._shown(index, self._previous.mask[:, :, index])}

    def _shown(self, index: int, mask: NDArray[np.bool_]) -> _Found:
        """Take a mask (i, j) as it is."""
        frame = self._letterbox.image_to_frame(mask[None, ..., None])[0]
        area = frame >= np.float32(0.5)
        # What is thinner than a pixel of the frame would be lost.
        seen = self._model.tracker.show(self._features(index), area if area.any() else frame > 0)
        return _Found(np.where(mask, _SURE, -_SURE), seen)

    def _follow(self, bank: Bank, indices: range, *, until: int) -> None:
        """Follow the object until it ends, but not before slice ``until``."""
        missing = 0
        for index in indices:
            if index in bank.asked:
                missing = 0
                continue
            found = self._followed(index, bank)
            self._found[index] = found
            bank.followed[index] = found.seen.memory
            missing = 0 if found.area else missing + 1
            if missing >= _PATIENCE and (index - until) * bank.step > 0:
                return

    def _followed(self, index: int, bank: Bank) -> _Found:
        features, tracker = self._features(index), self._model.tracker
        found = self._placed(tracker.follow(features, index, bank))
        here = self._route.corrections.get(index)
        if here is None or not found.area:
            return found
        before = Prediction(found.logits[None, ..., None], np.zeros(1, np.float32), here.geometry)
        asked = tokens(here, before, self._letterbox, mask_side=tracker.mask_side)
        return self._placed(tracker.follow(features, index, bank, asked))

    def _features(self, index: int) -> Features:
        return self._embedding.features(
            index, lambda plane: self._model.tracker.encode(self._model.frame.picture(plane))
        )

    def _placed(self, seen: Seen, here: Prompts | None = None) -> _Found:
        """Bring what was seen in the frame onto the slice."""
        logits = np.clip(self._letterbox.logits_from_frame(seen.logits[None]), -_MOST, _MOST)
        if here is not None:
            logits = keep_within_lasso(logits, here)
        return _Found(logits[0, ..., 0], seen)


def _plane(prediction: Prediction, index: int) -> Prediction:
    """Return the best mask of a prediction in one slice."""
    return Prediction(
        prediction.logits[:1, :, :, index : index + 1], prediction.scores[:1], plane_of(prediction.geometry, index)
    )


def _halved(found: Any) -> Any:  # noqa: ANN401 - a tensor, on any device
    """Return features in half precision, unless they are too large for it."""
    return found.half() if float(found.abs().max()) <= _HALF_MAX else found


def _nbytes(features: Mapping[str, Any]) -> int:
    return sum(int(found.nbytes) for found in features.values())


def _read_only(voxels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    view = voxels.view()
    view.flags.writeable = False
    return view
