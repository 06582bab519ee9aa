"""The `tiny` model on ONNX Runtime: windows of a plane and prompts into the network's frame, and its logits back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from samaritan.core.errors import CorruptFileError
from samaritan.core.geometry import Geometry
from samaritan.core.image import Image
from samaritan.core.model import Embedding, ModelCard, Prediction, require_same_grid
from samaritan.core.prompts import Point, Prompts
from samaritan.models.card import read_card
from samaritan.models.onnx import OnnxGraph
from samaritan.models.prompt_areas import extent, keep_within_lasso, positive_marks, require_start
from samaritan.models.tiny import prompts as tiny_prompts
from samaritan.models.tiny.zoom import FRAME_SIDE, Zoom

Floats = NDArray[np.float32]

GRAPH_FILE = "network.onnx"  # of the weights folder
_PLANE = "plane"
_RGB = 3
_MULTIPLE = 32  # the network takes frames whose sides are multiples of this
_MASKS_OF_A_CLICK = 3
_ALIKE = 0.9  # IoU of two masks from which on they are one answer
_REACH = 1 / 12  # of the window's side: how far from a click the mask changes, or is expected to agree with it
SEARCH_SIDE = 128  # pixels at which the network sees them
# Of a lone click the network is too sure: its logit of the IoU is stretched and shifted (decision 0017).
_CLICK_SLOPE, _CLICK_SHIFT, _LEAST = 1.5, -1.5, 1e-4


@dataclass(frozen=True, eq=False, slots=True)
class TinyEmbedding:
    """A plane, ready to be looked at: the network sees no more than the windows that prompts call for.

    ``plane`` is (c, i, j, 1) uint8, one channel if grey.
    """

    plane: NDArray[np.uint8]
    geometry: Geometry

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        return self.plane.nbytes


@dataclass(frozen=True, slots=True)
class Found:
    """A mask in a window, as logits (1, i, j, 1) of its part, and how good it is likely to be, 0 to 1."""

    zoom: Zoom
    logits: Floats
    score: float

    def pasted(self, geometry: Geometry) -> Floats:
        """Return the logits (1, i, j, 1) on the whole plane."""
        return self.zoom.paste(self.logits, geometry.shape[:2], fill=tiny_prompts.PADDING)


class Network(Protocol):
    """What answers for windows: the exported graph, or the network in training."""

    def run(self, inputs: dict[str, Floats]) -> dict[str, Floats]:
        """Map ``image`` and ``prompt_maps`` to ``logits`` and ``iou``; training/tiny/README.md has the shapes."""


class TinyModel:
    """The default ``Model``: an ONNX graph, loaded when it is first needed.

    Parameters
    ----------
    folder
        Holds ``card.toml`` and ``weights/network.onnx``.
    device
        "auto", "cpu", "cuda" or "mps".
    threads
        Threads that one call may use; 0 for what ``OMP_NUM_THREADS`` says, else one for each physical core.
    network
        What to ask in place of the graph, in training or adapted; device and threads are then its own matter.
    card
        What that is, in place of the card in the folder.

    Raises
    ------
    WeightsError
        If the card or the weights are missing, or are not those of the card (``ChecksumError``). The weights are
        read and checked when they are first needed.
    MissingExtraError
        If the runtime cannot use the device.
    """

    # Sides of the windows in which marks are looked for, over the plane's longer side; the largest holds all of it.
    searched: ClassVar[tuple[float, ...]] = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0)

    def __init__(
        self,
        folder: Path,
        *,
        device: str = "auto",
        threads: int = 0,
        network: Network | None = None,
        card: ModelCard | None = None,
    ) -> None:
        own = folder / "card.toml"
        self._card = card or read_card(own)
        self._network = network or OnnxGraph(own, folder / "weights" / GRAPH_FILE, device=device, threads=threads)

    @property
    def card(self) -> ModelCard:
        """What there is to know about the model."""
        return self._card

    def embed(self, image: Image) -> TinyEmbedding:
        """Take one plane in; see ``Model.embed``.

        Raises
        ------
        ImageError
            If the image is a volume, or has another number of channels than the card says.
        """
        self.card.require_plane(image)
        different = image.array[:1] if image.array.strides[0] == 0 else image.array
        return TinyEmbedding(np.rint(different).astype(np.uint8), image.geometry)

    def decode(self, embedding: Embedding, prompts: Prompts, previous: Prediction | None = None) -> Prediction:
        """Return masks for one object; see ``Model.decode``.

        A lone click may mean a part or the whole: it gets up to three masks, best first by their scores, of which none
        is all but another. Anything else gets one. What tells where the object lies (a box, an outline, a mask, an
        earlier prediction, a stroke around its middle) has it looked at in a window around it. What does not, other
        marks, is first looked for in windows of several sizes. Negative strokes that are beside what is found without
        them change nothing.

        A score is the IoU that the network expects. Of a lone click's masks that were not looked at closely it is less
        by the share of the window's border that they cover: there they are cut off.

        Raises
        ------
        PromptError
            If there is nothing positive to start from: only negative marks, and no previous prediction.
        """
        require_same_grid(embedding, prompts, previous)
        self.card.require_prompts(prompts)
        known = cast("TinyEmbedding", embedding)
        box = extent(prompts, previous)
        if box is not None:
            return self._look_again(known, prompts, previous, box)
        require_start(prompts, previous)
        if previous is not None and not positive_marks(prompts):
            return Prediction(previous.logits[:1], previous.scores[:1], known.geometry)  # an empty mask stays empty
        around = None if previous is not None else tiny_prompts.drawn_around(prompts)
        if around is not None:
            return self._look_again(known, prompts, None, around)
        plain = tiny_prompts.without_negative_strokes(prompts)
        if len(plain.items) < len(prompts.items):
            answer = self._find(known, plain)
            if tiny_prompts.heeds_strokes(answer.logits[0, ..., 0], prompts):
                return Prediction(answer.logits[:1], answer.scores[:1], known.geometry)
        return self._find(known, prompts)

    def pack(self, embedding: Embedding) -> Mapping[str, NDArray[Any]]:
        """Return the plane."""
        return {_PLANE: cast("TinyEmbedding", embedding).plane}

    def unpack(self, arrays: Mapping[str, NDArray[Any]], geometry: Geometry) -> TinyEmbedding:
        """Return the embedding that ``pack`` took apart.

        Raises
        ------
        CorruptFileError
            If the arrays are not those of an image on ``geometry``.
        """
        wanted = [{_PLANE: ((channels, *geometry.shape), "uint8")} for channels in (1, _RGB)]
        found = {name: (array.shape, array.dtype.name) for name, array in arrays.items()}
        if found not in wanted:
            raise CorruptFileError(got=f"an embedding of {found}", wanted=" or ".join(map(str, wanted)))
        return TinyEmbedding(arrays[_PLANE], geometry)

    def search(self, embedding: TinyEmbedding, prompts: Prompts) -> list[Found]:
        """Look for what marks point at in windows of several sizes around them; of each its mask, the likeliest first.

        What holds all the marks goes before what does not, whose score is 0. Other scores are as ``decode`` has them.
        """
        marks = np.concatenate(positive_marks(prompts))
        box = np.stack([marks.min(axis=0), marks.max(axis=0) + 1])[:, :2].astype(np.float64)
        shape = embedding.geometry.shape
        zooms = list(dict.fromkeys(Zoom.around(box, prompts, least=share * max(shape[:2])) for share in self.searched))
        ranked = []
        for found in self._look(embedding, zooms, prompts, None, frame_side=SEARCH_SIDE, masks=_masks_for(prompts)):
            mask = found.logits[0, ..., 0]
            i, j = (marks[:, :2] - found.zoom.origin(shape)).T
            held = bool((mask[i, j] > 0).all())
            likely = found.score - found.zoom.cut_off(mask, shape)
            ranked.append((held, likely, replace(found, score=max(0.0, likely) if held else 0.0)))
        ranked.sort(key=lambda entry: entry[:2], reverse=True)
        return [found for _, _, found in ranked]

    def _find(self, known: TinyEmbedding, prompts: Prompts) -> Prediction:
        """Look for what marks point at, then look closely at the likeliest; masks best first.

        A lone click gets up to three, each from another window, other marks one. That of the close look is the first,
        unless the network thinks less of it, now that it sees it closely, than of another. So it is for 3 of 228 clicks
        on families of the training cases, whose Dice would be .665 and not .669 if the close look always came first.
        """
        found = self.search(known, prompts)
        first = Prediction(found[0].pasted(known.geometry), np.array([found[0].score]), known.geometry)
        box = extent(prompts, first)
        closer = first if box is None else self._look_closely(known, prompts, first, box)
        logits, scores = [closer.logits], [closer.score]
        for other in found[1:]:
            if len(logits) == _masks_for(prompts):
                break
            pasted = other.pasted(known.geometry)
            if other.score > 0 and not any(_alike(pasted, taken) for taken in logits):
                logits.append(pasted)
                scores.append(other.score)
        order = np.argsort(-np.array(scores), kind="stable")
        shown = np.array(scores, np.float32)[order]
        shown = _less_sure(shown) if _masks_for(prompts) > 1 else shown
        found_all = Prediction(np.concatenate([logits[n] for n in order]), shown, known.geometry)
        return _giving_way(found_all, prompts, reach=_REACH * found[0].zoom.side)

    def _look_again(
        self, known: TinyEmbedding, prompts: Prompts, previous: Prediction | None, box: NDArray[np.float64]
    ) -> Prediction:
        """Look closely, and see that every click has its say.

        A click on the object far from an earlier prediction says that the object is another, larger one than was
        thought: all marks are looked for again. A click far from where the new mask agrees with it says that the
        earlier prediction was misleading: without it the answer may heed more clicks. Those that still do not have
        their way are given what is next to them.
        """
        if previous is not None and _points_beyond(previous, prompts, box):
            found = self.search(known, prompts)[0]
            previous = Prediction(found.pasted(known.geometry), np.array([found.score]), known.geometry)
            larger = extent(prompts, previous)
            box = box if larger is None else larger
        answer = self._look_closely(known, prompts, previous, box)
        reach = _reach(box, prompts)
        against = tiny_prompts.marks_against(answer.logits[0, ..., 0], prompts)
        if previous is not None and tiny_prompts.any_far(answer.logits[0, ..., 0], against, reach=reach):
            afresh = self._look_closely(known, prompts, None, box)
            if len(tiny_prompts.marks_against(afresh.logits[0, ..., 0], prompts)) < len(against):
                answer = afresh
        return _giving_way(answer, prompts, reach=reach)

    def _look_closely(
        self, known: TinyEmbedding, prompts: Prompts, previous: Prediction | None, box: NDArray[np.float64]
    ) -> Prediction:
        """Look at a window around ``box``; one mask."""
        zooms = [Zoom.around(box, prompts)]
        (found,) = self._look(known, zooms, prompts, previous, frame_side=FRAME_SIDE, masks=1)
        logits = keep_within_lasso(found.pasted(known.geometry), prompts)
        return Prediction(logits, np.array([found.score], np.float32), known.geometry)

    def _look(
        self,
        known: TinyEmbedding,
        zooms: Sequence[Zoom],
        prompts: Prompts,
        previous: Prediction | None,
        *,
        frame_side: int,
        masks: int,
    ) -> list[Found]:
        """Ask the network about windows at ``frame_side`` pixels at once; of each the best of its first ``masks``."""
        letterboxes = [zoom.letterbox(known.geometry.shape, side=frame_side, multiple=_MULTIPLE) for zoom in zooms]
        images, maps = [], []
        for zoom, letterbox in zip(zooms, letterboxes, strict=True):
            within = zoom.prompts(prompts)
            frame = zoom.seen(known.plane, letterbox)
            images.append(np.broadcast_to(frame, (_RGB, *frame.shape[1:])))
            maps.append(tiny_prompts.maps(within, _cropped(previous, zoom, within.geometry), letterbox))
        answer = self._network.run({"image": np.stack(images), "prompt_maps": np.stack(maps)})
        scores = np.clip(answer["iou"][:, :masks], 0, 1)
        # Only the masks that are taken are enlarged.
        return [
            Found(zoom, letterbox.logits_from_frame(logits[best : best + 1]), float(judged[best]))
            for zoom, letterbox, logits, judged, best in zip(
                zooms, letterboxes, answer["logits"], scores, scores.argmax(axis=1), strict=True
            )
        ]


def _cropped(previous: Prediction | None, zoom: Zoom, geometry: Geometry) -> Prediction | None:
    if previous is None:
        return None
    return Prediction(zoom.crop(previous.logits[:1]), previous.scores[:1], geometry)


def _reach(box: NDArray[np.float64], prompts: Prompts) -> float:
    """Return how many pixels from a click the mask is expected to agree with it."""
    return _REACH * Zoom.around(box, prompts).side


def _giving_way(answer: Prediction, prompts: Prompts, *, reach: float) -> Prediction:
    """Return an answer whose first mask has every click on its side; see ``prompts.given_way``."""
    mask = answer.logits[0, ..., 0]
    changed = tiny_prompts.given_way(mask, prompts, reach=reach)
    if changed is mask:
        return answer
    within = keep_within_lasso(changed[None, ..., None], prompts)
    return replace(answer, logits=np.concatenate([within, answer.logits[1:]]))


def _points_beyond(previous: Prediction, prompts: Prompts, box: NDArray[np.float64]) -> bool:
    """Whether a click tells of an object far beyond an earlier prediction, which no box or outline bounds."""
    if extent(prompts) is not None:
        return False
    mask = previous.logits[0, ..., 0]
    missed = [point for point in tiny_prompts.marks_against(mask, prompts) if point.positive]
    return tiny_prompts.any_far(mask, missed, reach=_reach(box, prompts))


def _less_sure(scores: Floats) -> Floats:
    """Return what scores of a lone click's masks turn out to be worth, in the same order."""
    kept = np.clip(scores, _LEAST, 1 - _LEAST)
    return np.asarray(1 / (1 + np.exp(-(_CLICK_SLOPE * np.log(kept / (1 - kept)) + _CLICK_SHIFT))), np.float32)


def _alike(one: Floats, other: Floats) -> bool:
    """Whether two masks, as logits of one shape, are all but the same: to offer both would help nobody."""
    first, second = one > 0, other > 0
    return int(np.count_nonzero(first & second)) >= _ALIKE * int(np.count_nonzero(first | second))


def _masks_for(prompts: Prompts) -> int:
    """Return how many masks prompts get: a lone click is ambiguous."""
    return _MASKS_OF_A_CLICK if len(prompts.items) == 1 and isinstance(prompts.items[0], Point) else 1
