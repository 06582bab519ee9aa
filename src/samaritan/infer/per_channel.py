"""A model asked about each channel of an image on its own, and its answers pooled.

The probability of a voxel is the mean of the channels' probabilities. Not of their logits: how large those grow is not
calibrated, and one channel in which the object does not show would outvote two in which it does. Of each answer the
best mask counts, as the others stand in another order in every channel; the score is the mean of the scores.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from samaritan.core.geometry import Geometry
from samaritan.core.image import Image
from samaritan.core.model import (
    Embedding,
    GrowingEmbedding,
    Model,
    PartStore,
    Prediction,
    Step,
    StepwiseModel,
    decode_all,
    embed_all,
    images_at_once,
    unheard,
)
from samaritan.core.prompts import Prompts
from samaritan.infer.channels import as_model_sees

_SURE = np.float32(1e-6)  # logits reach about 14 either way: there float32 can still tell probabilities apart


class ChannelEmbeddings:
    """The embedding of each channel, in order."""

    def __init__(self, parts: tuple[Embedding, ...]) -> None:
        self.parts = parts

    @property
    def geometry(self) -> Geometry:
        """Grid of the image that was encoded."""
        return self.parts[0].geometry

    @property
    def nbytes(self) -> int:
        """Memory that they hold together."""
        return sum(part.nbytes for part in self.parts)


class GrowingChannelEmbeddings(ChannelEmbeddings):
    """The same, of a model whose embeddings grow; they share what one of them may take, or ``max_bytes``."""

    def __init__(self, parts: tuple[Embedding, ...]) -> None:
        super().__init__(parts)
        self.max_bytes = cast("GrowingEmbedding", parts[0]).max_bytes

    @property
    def max_bytes(self) -> int:
        """Bytes that they may take together; see ``GrowingEmbedding``."""
        return sum(part.max_bytes for part in cast("tuple[GrowingEmbedding, ...]", self.parts))

    @max_bytes.setter
    def max_bytes(self, value: int) -> None:
        for part in cast("tuple[GrowingEmbedding, ...]", self.parts):
            part.max_bytes = value // len(self.parts)

    @property
    def store(self) -> PartStore | None:
        """Where they keep what they encode; see ``GrowingEmbedding``."""
        return cast("GrowingEmbedding", self.parts[0]).store

    @store.setter
    def store(self, value: PartStore | None) -> None:
        for part in cast("tuple[GrowingEmbedding, ...]", self.parts):
            part.store = value


class PerChannel:
    """A ``Model`` of images of any number of channels, from one of pictures in grey or colour.

    Its card is the model's own, but for the hash: caches must not take its embeddings for the model's.

    Parameters
    ----------
    model
        Who is asked about each channel; one that wants three gets the channel three times.
    channels
        How many an image is expected to have: the more there are, the fewer images are encoded at once.
    """

    def __init__(self, model: Model, *, channels: int = 1) -> None:
        self.model, self._channels = model, channels
        self.card = replace(model.card, sha256=hashlib.sha256(f"per channel {model.card.sha256}".encode()).hexdigest())

    def embed(self, image: Image) -> ChannelEmbeddings:
        """Encode each channel of ``image``, already scaled to ``card.intensity_range``."""
        return _joined(embed_all(self.model, self._pictures(image)))

    def most_images(self) -> int:
        """Images whose channels are encoded at once; see ``core.model.images_at_once``."""
        return max(1, images_at_once(self.model) // self._channels)

    def embed_batch(self, images: Sequence[Image]) -> list[Embedding]:
        """Encode the channels of all images, at once where the model can; see ``core.model.embed_all``."""
        pictures = [self._pictures(image) for image in images]
        each = iter(embed_all(self.model, [picture for several in pictures for picture in several]))
        return [_joined(islice(each, len(several))) for several in pictures]

    def _pictures(self, image: Image) -> list[Image]:
        seen = (as_model_sees(channel, self.card) for channel in image.array[:, None])
        return [replace(image, array=array, channels=names) for array, names in seen]

    def decode(self, embedding: Embedding, prompts: Prompts, previous: Prediction | None = None) -> Prediction:
        """Return what the answers for all channels come to, one mask; ``previous`` is told to each.

        Raises
        ------
        GeometryMismatchError, PromptError
            As the model.
        """
        return self.decode_stepwise(embedding, prompts, previous, step=unheard)

    def decode_stepwise(
        self, embedding: Embedding, prompts: Prompts, previous: Prediction | None = None, *, step: Step
    ) -> Prediction:
        """Decode and tell of each channel, or of the model's own steps; see ``StepwiseModel.decode_stepwise``."""
        parts = cast("ChannelEmbeddings", embedding).parts

        def answer(at: int) -> Prediction:
            def told(done: int, total: int) -> None:
                step(at * total + done, len(parts) * total)

            if isinstance(self.model, StepwiseModel):
                return self.model.decode_stepwise(parts[at], prompts, previous, step=told)
            prediction = self.model.decode(parts[at], prompts, previous)
            told(1, 1)
            return prediction

        pool = Pool()
        for at in range(len(parts)):
            pool.add(answer(at))
        return pool.prediction(embedding.geometry)

    def decode_batch(
        self,
        embedding: Embedding,
        prompts: Sequence[Prompts],
        previous: Sequence[Prediction | None] | None = None,
    ) -> list[Prediction]:
        """Return what the answers about each object come to; each channel is asked about all at once where it can be.

        See ``core.model.decode_all``.
        """
        pools = [Pool() for _ in prompts]
        for part in cast("ChannelEmbeddings", embedding).parts:
            for pool, answer in zip(pools, decode_all(self.model, part, prompts, previous), strict=True):
                pool.add(answer)
        return [pool.prediction(embedding.geometry) for pool in pools]

    def pack(self, embedding: Embedding) -> Mapping[str, NDArray[Any]]:
        """Return the arrays of every channel, its number before their names."""
        parts = enumerate(cast("ChannelEmbeddings", embedding).parts)
        return {f"{n}/{name}": array for n, part in parts for name, array in self.model.pack(part).items()}

    def unpack(self, arrays: Mapping[str, NDArray[Any]], geometry: Geometry) -> ChannelEmbeddings:
        """Return the embeddings that ``pack`` took apart."""
        packed: dict[int, dict[str, NDArray[Any]]] = {}
        for name, array in arrays.items():
            number, _, own = name.partition("/")
            packed.setdefault(int(number), {})[own] = array
        return _joined(self.model.unpack(packed[n], geometry) for n in sorted(packed))


def _joined(embeddings: Iterable[Embedding]) -> ChannelEmbeddings:
    parts = tuple(embeddings)
    growing = all(isinstance(part, GrowingEmbedding) for part in parts)
    return GrowingChannelEmbeddings(parts) if growing else ChannelEmbeddings(parts)


class Pool:
    """What answers about one object on one grid come to, taken one by one; see the module for how.

    It holds their sum, so that of a volume there need be no more than one answer at a time.
    """

    def __init__(self) -> None:
        self._total: NDArray[np.float32] | None = None
        self._scores: list[float] = []

    def add(self, answer: Prediction) -> None:
        """Take one answer more."""
        probabilities = np.asarray(expit(answer.logits[:1]), np.float32)
        if self._total is None:
            self._total = probabilities
        else:
            self._total += probabilities
        self._scores.append(answer.score)

    def prediction(self, geometry: Geometry) -> Prediction:
        """Return what they come to; at least one, and none comes after."""
        mean = cast("NDArray[np.float32]", self._total)
        mean /= len(self._scores)
        logits = logit(np.clip(mean, _SURE, 1 - _SURE, out=mean), out=mean)
        return Prediction(logits, np.array([np.mean(self._scores)], np.float32), geometry)
