"""The embedding of any plane of an image, encoded once: held in memory while there is room, then on disk."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samaritan.core.geometry import Axis, Geometry, axis_number
from samaritan.core.image import Image, Window
from samaritan.core.model import Embedding, GrowingEmbedding, Model, embed_all, images_at_once
from samaritan.infer.cache import CachedParts, EmbeddingCache, content_key
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
Key = tuple[Where, bool]  # with whether it is the ``SquareView`` of the plane

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
    together
        Whether several planes may be encoded at once, and the model asked about several objects; it takes more memory.

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
        together: bool = True,
    ) -> None:
        self.image, self.cache, self.together = image, cache, together
        self.stopwatch = Stopwatch()
        self.held: ByteLRU[Key, Packed] = ByteLRU(max_bytes)
        self._current: tuple[Key, Embedding] | None = None
        with self.stopwatch("prepare"):
            self._intensity = IntensityMap.of(image, model.card, window=window, channels=rule_of(channels))
        picked = self._intensity.picked
        if picked.missing:
            told = f"left out, because missing or empty: {', '.join(picked.missing)}; used: {', '.join(picked.used)}"
            warnings.warn(f"channels {told}", MissingChannelWarning, stacklevel=2)
        self.model = PerChannel(model, channels=len(picked.layers)) if picked.apart else model

    def prepared(self, where: Where) -> Image:
        """Return a plane ``(axis, index)``, or the whole image, turned or as it is, as the model wants it."""
        with self.stopwatch("prepare"):
            match where:
                case None:
                    return self._intensity(self.image)
                case (axis, index):
                    return self._plane(axis, index)
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

    @property
    def batch(self) -> int:
        """Planes that are encoded at once, if they are all known to be needed; 1 where that does not pay."""
        return images_at_once(self.model) if self.together else 1

    def in_turn(self, planes: Sequence[tuple[Axis, int]]) -> Iterator[tuple[Axis, int]]:
        """Yield planes whose embeddings are all needed, one after the other; encode several at once where that pays."""
        for n, where in enumerate(planes):
            if (where, False) not in self.held:
                self._encode_ahead(planes[n:])
            yield where

    def _plane(self, axis: Axis, index: int) -> Image:
        """Return a plane as the model wants it, its neighbours as channels if it wants those; at the ends, the ends."""
        slices, last = self.model.card.slices, self.image.shape[axis_number(axis)] - 1
        plane = self._intensity(self.image.plane(axis, index))
        if slices == 1 or not last:
            return plane
        around = (min(max(index + n, 0), last) for n in range(-(slices // 2), slices // 2 + 1))
        greys = [(plane if n == index else self._intensity(self.image.plane(axis, n))).array[:1] for n in around]
        return replace(plane, array=np.concatenate(greys))

    def _encode_ahead(self, planes: Sequence[tuple[Axis, int]]) -> None:
        """Encode the first of some planes at once: no more than can be held until they are asked for.

        What one takes is seen from those that are held; the first of all is encoded alone.
        """
        most = min(self.batch, self.held.max_bytes * len(self.held) // max(1, self.held.nbytes))
        if most > 1:
            self._current = None
            self._hold([key for where in planes if (key := (where, False)) not in self.held][:most])

    def _unpacked(self, where: Where, *, square: bool) -> Embedding:
        packed = self.held.get((where, square))
        if packed is None:
            [packed] = self._hold([(where, square)])
        geometry = self._grid(where)
        if square:
            geometry = SquareView.of(geometry).geometry
        with self.stopwatch("embed"):
            embedding = self.model.unpack({name: _widened(array) for name, array in packed.items()}, geometry)
        if self.cache and isinstance(embedding, GrowingEmbedding):
            embedding.store = CachedParts(self.cache, self.model.card)
        return embedding

    def _grid(self, where: Where) -> Geometry:
        match where:
            case None:
                return self.image.geometry
            case (axis, index):
                return self.image.geometry.plane(axis, index)
            case axis:
                return Turn.of(self.image.geometry, axis).change.target

    def _hold(self, keys: Sequence[Key]) -> list[Packed]:
        """Hold the embeddings of some planes, and return them."""
        found = self._packed([self._seen(where, square=square) for where, square in keys])
        for key, packed in zip(keys, found, strict=True):
            self.held.put(key, packed, nbytes=sum(array.nbytes for array in packed.values()))
        return found

    def _seen(self, where: Where, *, square: bool) -> Image:
        prepared = self.prepared(where)
        return SquareView.of(prepared.geometry).image(prepared) if square else prepared

    def _packed(self, images: Sequence[Image]) -> list[Packed]:
        """Return the embeddings of prepared images: from disk, or encoded, several at once where the model can."""
        names: list[str] = []
        found: dict[str, Packed] = {}
        missing: dict[str, Image] = {}
        with self.stopwatch("embed"):
            for number, image in enumerate(images):
                name = content_key(image, self.model.card) if self.cache else str(number)
                kept = self.cache.get(name) if self.cache else None
                if kept is None:
                    missing[name] = image
                else:
                    found[name] = kept
                names.append(name)
            for name, embedding in zip(missing, self._encoded(list(missing.values())), strict=True):
                found[name] = {part: _halved(array) for part, array in self.model.pack(embedding).items()}
                if self.cache:
                    self.cache.put(name, found[name])
        return [found[name] for name in names]

    def _encoded(self, images: Sequence[Image]) -> list[Embedding]:
        return embed_all(self.model, images) if len(images) > 1 else [self.model.embed(image) for image in images]


def _halved(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype != np.float32 or array.size < _HALVE_FROM:
        return array
    # Values beyond float16 keep their precision rather than become infinite.
    return array if np.abs(array).max() > np.finfo(np.float16).max else array.astype(np.float16)


def _widened(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(np.float32) if array.dtype == np.float16 else array
