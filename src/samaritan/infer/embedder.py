"""The embedding of any plane of an image, encoded once: held in memory while there is room, then on disk."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samaritan.core.geometry import Axis, Geometry
from samaritan.core.image import Image, Window
from samaritan.core.model import Embedding, Model
from samaritan.infer.cache import EmbeddingCache, content_key
from samaritan.infer.channels import Channels, MissingChannelWarning, rule_of
from samaritan.infer.intensity import IntensityMap
from samaritan.infer.lru import ByteLRU
from samaritan.infer.memory import DEFAULT_EMBEDDINGS
from samaritan.infer.per_channel import PerChannel
from samaritan.infer.square import SquareView
from samaritan.infer.timing import Stopwatch
from samaritan.infer.turn import Turn

# A plane, an axis for the whole image turned so that it is k, or None for the whole image as it is.
Where = tuple[Axis, int] | Axis | None
Packed = Mapping[str, NDArray[Any]]

# Small arrays may be sizes or scales: only the bulk is worth halving.
_HALVE_FROM = 4096


class Embedder:
    """Prepares and encodes planes of one image for one model.

    Bulky float32 arrays of an embedding are rounded to float16 as soon as they are made, whether they are then kept or
    not: so a mask never depends on where its embedding came from.

    Parameters
    ----------
    model, image
        Who encodes, and what. Where channels are embedded apart, the attribute ``model`` is a ``PerChannel`` of it.
    window
        Name, centre and width, or None to choose by modality; see ``samaritan.infer.intensity``.
    channels
        Rule, its text, or None for the first channel; see ``samaritan.infer.channels``.
    cache
        Where to keep embeddings on disk; None keeps them in memory only.
    max_bytes
        What the embeddings held in memory may take.

    Raises
    ------
    ImageError, UnknownNameError
        As ``IntensityMap.of``.
    """

    def __init__(
        self,
        model: Model,
        image: Image,
        *,
        window: Window | str | None = None,
        channels: Channels | str | None = None,
        cache: EmbeddingCache | None = None,
        max_bytes: int = DEFAULT_EMBEDDINGS,
    ) -> None:
        self.image, self.cache = image, cache
        self.stopwatch = Stopwatch()
        self.held: ByteLRU[tuple[Where, bool], Packed] = ByteLRU(max_bytes)
        self._current: tuple[tuple[Where, bool], Embedding] | None = None
        with self.stopwatch("prepare"):
            self._intensity = IntensityMap.of(image, model.card, window=window, channels=rule_of(channels))
        picked = self._intensity.picked
        if picked.missing:
            told = f"left out, because missing or empty: {', '.join(picked.missing)}; used: {', '.join(picked.used)}"
            warnings.warn(f"channels {told}", MissingChannelWarning, stacklevel=2)
        self.model = PerChannel(model) if picked.apart else model

    def prepared(self, where: Where) -> Image:
        """Return a plane ``(axis, index)``, or the whole image, turned or as it is, as the model wants it."""
        with self.stopwatch("prepare"):
            match where:
                case None:
                    return self._intensity(self.image)
                case (axis, index):
                    return self._intensity(self.image.plane(axis, index))
                case axis:
                    return self._intensity(Turn.of(self.image.geometry, axis).image(self.image))

    def embedding(self, where: Where, *, square: bool = False) -> Embedding:
        """Return the embedding of a plane ``(axis, index)``, or of the whole image, turned or as it is.

        With ``square``, of the plane's ``SquareView``, on the grid of that.
        """
        if self._current is None or self._current[0] != (where, square):
            # Let go of the last one first: two at once would double what is needed.
            self._current = None
            self._current = ((where, square), self._unpacked(where, square=square))
        return self._current[1]

    def _unpacked(self, where: Where, *, square: bool) -> Embedding:
        packed = self.held.get((where, square))
        if packed is None:
            packed = self._packed(where, square=square)
            self.held.put((where, square), packed, nbytes=sum(array.nbytes for array in packed.values()))
        geometry = self._grid(where)
        if square:
            geometry = SquareView.of(geometry).geometry
        with self.stopwatch("embed"):
            return self.model.unpack({name: _widened(array) for name, array in packed.items()}, geometry)

    def _grid(self, where: Where) -> Geometry:
        match where:
            case None:
                return self.image.geometry
            case (axis, index):
                return self.image.geometry.plane(axis, index)
            case axis:
                return Turn.of(self.image.geometry, axis).change.target

    def _packed(self, where: Where, *, square: bool) -> Packed:
        prepared = self.prepared(where)
        if square:
            prepared = SquareView.of(prepared.geometry).image(prepared)
        with self.stopwatch("embed"):
            key = content_key(prepared, self.model.card) if self.cache else ""
            packed: Packed | None = self.cache.get(key) if self.cache else None
            if packed is None:
                fresh = self.model.pack(self.model.embed(prepared))
                packed = {name: _halved(array) for name, array in fresh.items()}
                if self.cache:
                    self.cache.put(key, packed)
        return packed


def _halved(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype != np.float32 or array.size < _HALVE_FROM:
        return array
    # Values beyond float16 keep their precision rather than become infinite.
    return array if np.abs(array).max() > np.finfo(np.float16).max else array.astype(np.float16)


def _widened(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(np.float32) if array.dtype == np.float16 else array
