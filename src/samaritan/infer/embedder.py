"""The embedding of any plane of an image, encoded once: held in memory while there is room, then on disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samaritan.core.geometry import Axis
from samaritan.core.image import Image, Window
from samaritan.core.model import Embedding, Model
from samaritan.infer.cache import EmbeddingCache, content_key
from samaritan.infer.intensity import IntensityMap
from samaritan.infer.lru import ByteLRU
from samaritan.infer.memory import DEFAULT_EMBEDDINGS
from samaritan.infer.square import SquareView
from samaritan.infer.timing import Stopwatch

# A plane, or None for the whole image.
Where = tuple[Axis, int] | None
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
        Who encodes, and what.
    window
        Name, centre and width, or None to choose by modality; see ``samaritan.infer.intensity``.
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
        cache: EmbeddingCache | None = None,
        max_bytes: int = DEFAULT_EMBEDDINGS,
    ) -> None:
        self.model, self.image, self.cache = model, image, cache
        self.stopwatch = Stopwatch()
        self.held: ByteLRU[tuple[Where, bool], Packed] = ByteLRU(max_bytes)
        self._current: tuple[tuple[Where, bool], Embedding] | None = None
        with self.stopwatch("prepare"):
            self._intensity = IntensityMap.of(image, model.card, window=window)

    def prepared(self, where: Where) -> Image:
        """Return a plane ``(axis, index)``, or with None the whole image, as the model wants it."""
        with self.stopwatch("prepare"):
            return self._intensity(self.image if where is None else self.image.plane(*where))

    def embedding(self, where: Where, *, square: bool = False) -> Embedding:
        """Return the embedding of a plane ``(axis, index)``, or with None of the whole image.

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
        geometry = self.image.geometry if where is None else self.image.geometry.plane(*where)
        if square:
            geometry = SquareView.of(geometry).geometry
        with self.stopwatch("embed"):
            return self.model.unpack({name: _widened(array) for name, array in packed.items()}, geometry)

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
