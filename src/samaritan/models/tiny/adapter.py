"""The `tiny` model on ONNX Runtime: planes and prompts into the network's frame, and its logits back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from samaritan.core.errors import CorruptFileError
from samaritan.core.geometry import Geometry
from samaritan.core.image import Image
from samaritan.core.model import Embedding, ModelCard, Prediction, require_same_grid
from samaritan.core.prompts import Point, Prompts
from samaritan.models.card import read_card
from samaritan.models.letterbox import Letterbox
from samaritan.models.onnx import OnnxGraph
from samaritan.models.tiny import prompts as tiny_prompts
from samaritan.models.tiny.zoom import FRAME_SIDE, Zoom

Floats = NDArray[np.float32]

# What the exported graphs call the features of an image, and their stride in pixels of the frame.
_STRIDES = {"s16": 16, "s8": 8, "s4": 4, "s2": 2}
_PLANE = "plane"
_RGB = 3
_MASKS_OF_A_CLICK = 3
_SEARCHED = (1 / 8, 1 / 4, 1 / 2)  # sides of the windows in which marks are looked for, over the plane's longer side
_SEARCH_SIDE = 128  # pixels at which the network sees them
_MULTIPLE = 32  # the network takes frames whose sides are multiples of this


@dataclass(frozen=True, eq=False, slots=True)
class TinyEmbedding:
    """Features of a whole plane at four strides, and the plane itself, to look closer at a part of it.

    ``features[name]`` is (1, channels, rows, columns) float32; ``plane`` is (c, i, j, 1) uint8, one channel if grey.
    """

    features: Mapping[str, Floats]
    plane: NDArray[np.uint8]
    geometry: Geometry

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        return self.plane.nbytes + sum(array.nbytes for array in self.features.values())


class TinyModel:
    """The default ``Model``: two ONNX graphs, encoder and decoder, each loaded when it is first needed.

    Parameters
    ----------
    folder
        Holds ``card.toml`` and ``weights/encoder.onnx``, ``weights/decoder.onnx``.
    device
        "auto", "cpu", "cuda" or "mps".
    threads
        Threads that one call may use; 0 leaves it to the runtime: one for each physical core.

    Raises
    ------
    WeightsError
        If the card or the weights are missing, or are not those of the card (``ChecksumError``). The weights are
        read and checked when they are first needed.
    MissingExtraError
        If the runtime cannot use the device.
    """

    def __init__(self, folder: Path, *, device: str = "auto", threads: int = 0) -> None:
        card, weights = folder / "card.toml", folder / "weights"
        self._card = read_card(card)
        self._encoder = OnnxGraph(card, weights / "encoder.onnx", device=device, threads=threads)
        self._decoder = OnnxGraph(card, weights / "decoder.onnx", device=device, threads=threads)

    @property
    def card(self) -> ModelCard:
        """What there is to know about the model."""
        return self._card

    def embed(self, image: Image) -> TinyEmbedding:
        """Encode one plane; see ``Model.embed``.

        Raises
        ------
        ImageError
            If the image is a volume, or has another number of channels than the card says.
        """
        self.card.require_plane(image)
        features = self._encode(self._letterbox(image.geometry), image.array)
        # Rounded to half precision here and not in ``pack``, so that an embedding from the cache gives the same masks.
        rounded = {name: array.astype(np.float16).astype(np.float32) for name, array in features.items()}
        different = image.array[:1] if image.array.strides[0] == 0 else image.array
        return TinyEmbedding(rounded, np.rint(different).astype(np.uint8), image.geometry)

    def decode(self, embedding: Embedding, prompts: Prompts, previous: Prediction | None = None) -> Prediction:
        """Return masks for one object; see ``Model.decode``.

        A lone click may mean a part or the whole: it gets three masks, best first. Anything else gets one. Whatever
        tells where the object lies (a box, an outline, a mask, an earlier prediction) has it looked at closely: encoded
        and decoded from a window around it. What does not, marks alone, is first looked for in the whole plane and in
        windows of several sizes.

        Raises
        ------
        PromptError
            If there is nothing positive to start from: only negative marks, and no previous prediction.
        """
        require_same_grid(embedding, prompts, previous)
        self.card.require_prompts(prompts)
        known = cast("TinyEmbedding", embedding)
        box = tiny_prompts.extent(prompts, previous)
        if box is not None:
            return self._look_closely(known, prompts, previous, box)
        found = self._search(known, prompts, previous)
        box = tiny_prompts.extent(prompts, found)
        if box is None:
            return found
        closer = self._look_closely(known, prompts, found, box)
        logits = np.concatenate([closer.logits, found.logits[1:]])
        scores = np.concatenate([closer.scores, found.scores[1:]])
        return _best_first(logits, scores, known.geometry)

    def pack(self, embedding: Embedding) -> Mapping[str, NDArray[Any]]:
        """Return the plane, and the features in half precision, which holds them exactly."""
        known = cast("TinyEmbedding", embedding)
        return {_PLANE: known.plane, **{name: array[0].astype(np.float16) for name, array in known.features.items()}}

    def unpack(self, arrays: Mapping[str, NDArray[Any]], geometry: Geometry) -> TinyEmbedding:
        """Return the embedding that ``pack`` took apart.

        Raises
        ------
        CorruptFileError
            If the arrays are not those of an image on ``geometry``.
        """
        columns, rows = self._letterbox(geometry).frame
        wanted = {_PLANE: geometry.shape, **{name: (rows // s, columns // s) for name, s in _STRIDES.items()}}
        found = {name: array.shape[1:] for name, array in arrays.items()}
        if found != wanted or arrays[_PLANE].dtype != np.uint8:
            raise CorruptFileError(got=f"an embedding of shapes {found}", wanted=f"{wanted}")
        features = {name: arrays[name][None].astype(np.float32) for name in _STRIDES}
        return TinyEmbedding(features, arrays[_PLANE], geometry)

    def _encode(self, letterbox: Letterbox, array: NDArray[Any]) -> dict[str, Floats]:
        """Return the features of a plane or window, (c, i, j, 1) with one or three channels."""
        frame = letterbox.image_to_frame(array)
        rgb = np.broadcast_to(frame, (_RGB, *frame.shape[1:]))
        features = self._encoder.run({"image": np.ascontiguousarray(rgb)[None]})
        return {name: features[name] for name in _STRIDES}

    def _search(self, known: TinyEmbedding, prompts: Prompts, previous: Prediction | None) -> Prediction:
        """Look for what marks point at in the whole plane and in windows of several sizes around the marks.

        A lone click gets the best masks of all of these, several marks the best one.
        """
        count = _MASKS_OF_A_CLICK if _is_ambiguous(prompts, previous) else 1
        letterbox = self._letterbox(known.geometry)
        logits, scores = self._decode(known.features, letterbox, prompts, previous)
        found = [(letterbox.logits_from_frame(logits[n : n + 1]), scores[n]) for n in range(count)]
        for zoom in self._windows_around_marks(prompts):
            inside, judged = self._look(known, zoom, prompts, previous, frame_side=_SEARCH_SIDE)
            best = int(np.argmax(judged[:count]))
            plane = zoom.paste(inside[best : best + 1], known.geometry.shape[:2], fill=tiny_prompts.PADDING)
            found.append((plane, judged[best]))
        found = sorted(found, key=lambda pair: -pair[1])[:count]
        return _best_first(
            np.concatenate([plane for plane, _ in found]), np.array([score for _, score in found]), known.geometry
        )

    def _windows_around_marks(self, prompts: Prompts) -> list[Zoom]:
        """Return the windows to search, small to large; none if there is no positive mark."""
        marks = tiny_prompts.positive_marks(prompts)
        if not marks:
            return []
        voxels = np.concatenate(marks)[:, :2]
        box = np.stack([voxels.min(axis=0), voxels.max(axis=0) + 1]).astype(np.float64)
        longer = max(prompts.geometry.shape[:2])
        return list(dict.fromkeys(Zoom.around(box, prompts, least=share * longer) for share in _SEARCHED))

    def _look_closely(
        self, known: TinyEmbedding, prompts: Prompts, previous: Prediction | None, box: NDArray[np.float64]
    ) -> Prediction:
        """Encode and decode a window around ``box``; one mask."""
        zoom = Zoom.around(box, prompts)
        window, scores = self._look(known, zoom, prompts, previous, frame_side=FRAME_SIDE)
        plane = zoom.paste(window[:1], known.geometry.shape[:2], fill=tiny_prompts.PADDING)
        return Prediction(tiny_prompts.keep_within_lasso(plane, prompts), scores[:1], known.geometry)

    def _look(
        self, known: TinyEmbedding, zoom: Zoom, prompts: Prompts, previous: Prediction | None, *, frame_side: int
    ) -> tuple[Floats, Floats]:
        """Encode and decode a window at ``frame_side`` pixels; its logits (m, i, j, 1) and scores (m,)."""
        letterbox = Letterbox.fit((zoom.side, zoom.side), side=frame_side, multiple=_MULTIPLE)
        inside = zoom.prompts(prompts)
        features = self._encode(letterbox, zoom.stretch(zoom.crop(known.plane, fill=0.0), known.geometry.shape))
        logits, scores = self._decode(features, letterbox, inside, _cropped(previous, zoom, inside.geometry))
        return letterbox.logits_from_frame(logits), scores

    def _decode(
        self, features: Mapping[str, Floats], letterbox: Letterbox, prompts: Prompts, previous: Prediction | None
    ) -> tuple[Floats, Floats]:
        """Return the network's logits (m, rows, columns) and scores (m,) in its own frame and order."""
        maps = tiny_prompts.maps(prompts, previous, letterbox)
        masks = self._decoder.run({**features, "prompt_maps": maps[None]})
        return masks["logits"][0], np.clip(masks["iou"][0], 0, 1)

    def _letterbox(self, geometry: Geometry) -> Letterbox:
        return Letterbox.fit(geometry.shape[:2], side=max(self.card.native_shape), multiple=_MULTIPLE)


def _cropped(previous: Prediction | None, zoom: Zoom, geometry: Geometry) -> Prediction | None:
    if previous is None:
        return None
    return Prediction(zoom.crop(previous.logits[:1], fill=tiny_prompts.PADDING), previous.scores[:1], geometry)


def _best_first(logits: Floats, scores: Floats, geometry: Geometry) -> Prediction:
    order = np.argsort(-scores, kind="stable")
    return Prediction(logits[order], scores[order], geometry)


def _is_ambiguous(prompts: Prompts, previous: Prediction | None) -> bool:
    return previous is None and len(prompts.items) == 1 and isinstance(prompts.items[0], Point)
