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

Floats = NDArray[np.float32]

# What the exported graphs call the features of an image, and their stride in pixels of the frame.
_STRIDES = {"s16": 16, "s8": 8, "s4": 4, "s2": 2}
_MULTIPLE = 32  # the network takes frames whose sides are multiples of this


@dataclass(frozen=True, eq=False, slots=True)
class TinyEmbedding:
    """Features of one plane at four strides, ``features[name]`` of (1, channels, rows, columns) float32."""

    features: Mapping[str, Floats]
    geometry: Geometry

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        return sum(array.nbytes for array in self.features.values())


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
        frame = self._letterbox(image.geometry).image_to_frame(image.array)
        features = self._encoder.run({"image": frame[None]})
        # Rounded to half precision here and not in ``pack``, so that an embedding from the cache gives the same masks.
        rounded = {name: features[name].astype(np.float16).astype(np.float32) for name in _STRIDES}
        return TinyEmbedding(rounded, image.geometry)

    def decode(self, embedding: Embedding, prompts: Prompts, previous: Prediction | None = None) -> Prediction:
        """Return masks for one object; see ``Model.decode``.

        A lone click may mean a part or the whole: it gets three masks, best first. Anything else gets one.

        Raises
        ------
        PromptError
            If there is nothing positive to start from: only negative marks, and no previous prediction.
        """
        require_same_grid(embedding, prompts, previous)
        self.card.require_prompts(prompts)
        letterbox = self._letterbox(embedding.geometry)
        maps = tiny_prompts.maps(prompts, previous, letterbox)
        masks = self._decoder.run({**cast("TinyEmbedding", embedding).features, "prompt_maps": maps[None]})
        scores = np.clip(masks["iou"][0], 0, 1)
        chosen = np.argsort(-scores, kind="stable") if _is_ambiguous(prompts, previous) else np.array([0])
        logits = letterbox.logits_from_frame(masks["logits"][0, chosen])
        logits = tiny_prompts.keep_within_lasso(logits, prompts)
        return Prediction(logits, scores[chosen], embedding.geometry)

    def pack(self, embedding: Embedding) -> Mapping[str, NDArray[Any]]:
        """Return the features in half precision, which holds them exactly."""
        features = cast("TinyEmbedding", embedding).features
        return {name: array[0].astype(np.float16) for name, array in features.items()}

    def unpack(self, arrays: Mapping[str, NDArray[Any]], geometry: Geometry) -> TinyEmbedding:
        """Return the embedding that ``pack`` took apart.

        Raises
        ------
        CorruptFileError
            If the arrays are not those of an image on ``geometry``.
        """
        columns, rows = self._letterbox(geometry).frame
        wanted = {name: (rows // stride, columns // stride) for name, stride in _STRIDES.items()}
        found = {name: array.shape[1:] for name, array in arrays.items()}
        if found != wanted:
            raise CorruptFileError(got=f"an embedding of shapes {found}", wanted=f"{wanted}")
        return TinyEmbedding({name: arrays[name][None].astype(np.float32) for name in _STRIDES}, geometry)

    def _letterbox(self, geometry: Geometry) -> Letterbox:
        return Letterbox.fit(geometry.shape[:2], side=max(self.card.native_shape), multiple=_MULTIPLE)


def _is_ambiguous(prompts: Prompts, previous: Prediction | None) -> bool:
    return previous is None and len(prompts.items) == 1 and isinstance(prompts.items[0], Point)
