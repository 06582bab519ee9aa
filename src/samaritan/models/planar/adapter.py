"""A ``Model`` made of a network of Segment Anything's shape."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from samaritan.core.geometry import Geometry
from samaritan.core.image import Image
from samaritan.core.model import Embedding, ModelCard, Prediction, require_same_grid, telling_which
from samaritan.core.prompts import Prompts
from samaritan.models.letterbox import Letterbox
from samaritan.models.planar.frame import FrameSpec
from samaritan.models.planar.network import Features, Floats, Network, Tokens
from samaritan.models.planar.prompts import is_ambiguous, tokens
from samaritan.models.prompt_areas import keep_within_lasso

M = TypeVar("M")  # a module


@dataclass(frozen=True, eq=False, slots=True)
class PlanarEmbedding:
    """An encoded plane: the encoder's ``features``, on the network's device, and the plane's grid."""

    features: Features
    geometry: Geometry

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        return sum(int(array.nbytes) for array in self.features.values())


class PlanarModel:
    """A ``Model`` of planes: a network, how pictures are prepared for it, and its card.

    Parameters
    ----------
    card
        What there is to know about the model.
    network
        Encodes and decodes.
    frame
        How planes are prepared.
    """

    def __init__(self, card: ModelCard, network: Network, frame: FrameSpec) -> None:
        self._card, self.frame = card, frame
        self.network = network

    @property
    def card(self) -> ModelCard:
        """What there is to know about the model."""
        return self._card

    def embed(self, image: Image) -> PlanarEmbedding:
        """Encode one plane; see ``Model.embed``.

        Raises
        ------
        ImageError
            If the image is a volume, or has another number of channels than the card says.
        """
        self.card.require_plane(image)
        return PlanarEmbedding(self.network.encode(self.frame.picture(image)), image.geometry)

    def decode(self, embedding: Embedding, prompts: Prompts, previous: Prediction | None = None) -> Prediction:
        """Return masks for one object; see ``Model.decode``.

        A lone click may mean a part or the whole: it gets three masks, best first. Anything else gets one.

        Raises
        ------
        PromptError
            If there is nothing positive to start from: only negative marks, and no previous prediction.
        """
        known = cast("PlanarEmbedding", embedding)
        logits, scores = self.network.decode(known.features, self._tokens(known, prompts, previous))
        return self._prediction(known, prompts, previous, logits, scores)

    def most_images(self) -> int:
        """Planes that are encoded at once; see ``core.model.images_at_once``."""
        return self.network.most_pictures

    def embed_batch(self, images: Sequence[Image]) -> list[Embedding]:
        """Encode planes, several at once where that pays; see ``core.model.embed_all``."""
        for number, image in enumerate(images, 1):
            with telling_which("image", number, len(images)):
                self.card.require_plane(image)
        encoded = self.network.encode_all(map(self.frame.picture, images))
        return [PlanarEmbedding(features, image.geometry) for features, image in zip(encoded, images, strict=True)]

    def decode_batch(
        self,
        embedding: Embedding,
        prompts: Sequence[Prompts],
        previous: Sequence[Prediction | None] | None = None,
    ) -> list[Prediction]:
        """Return masks for each of several objects; see ``core.model.decode_all``.

        Those with as many tokens are decoded together: none is padded, so that each gets what it would get alone.
        """
        known = cast("PlanarEmbedding", embedding)
        asked = list(zip(prompts, [None] * len(prompts) if previous is None else previous, strict=True))
        alike: dict[int, list[tuple[int, Tokens]]] = defaultdict(list)
        for at, (item, before) in enumerate(asked):
            with telling_which("object", at + 1, len(asked)):
                question = self._tokens(known, item, before)
            alike[self.network.spec.count(question)].append((at, question))
        found: dict[int, Prediction] = {}
        for group in alike.values():
            for first in range(0, len(group), most := self.network.most_objects):
                part = group[first : first + most]
                logits, scores = self.network.decode_batch(known.features, [question for _, question in part])
                for (at, _), one, score in zip(part, logits, scores, strict=True):
                    found[at] = self._prediction(known, *asked[at], one, score)
        return [found[at] for at in range(len(asked))]

    def _tokens(self, embedding: PlanarEmbedding, prompts: Prompts, previous: Prediction | None) -> Tokens:
        """Return what the network is asked, once it is sure that this can be answered."""
        require_same_grid(embedding, prompts, previous)
        self.card.require_prompts(prompts)
        return tokens(prompts, previous, self._letterbox(embedding), mask_side=self.network.spec.mask_side)

    def _prediction(
        self, embedding: PlanarEmbedding, prompts: Prompts, previous: Prediction | None, logits: Floats, scores: Floats
    ) -> Prediction:
        """Return the masks of one object, given all that the network found: (m, rows, columns) and (m,)."""
        several = is_ambiguous(prompts, previous) and len(scores) > 1
        kept = slice(1, None) if several else slice(0, 1)
        logits, scores = logits[kept], np.clip(scores[kept], 0.0, 1.0)
        order = np.argsort(-scores, kind="stable")
        placed = self._letterbox(embedding).logits_from_frame(logits[order])
        return Prediction(keep_within_lasso(placed, prompts), scores[order], embedding.geometry)

    def _letterbox(self, embedding: PlanarEmbedding) -> Letterbox:
        width, height, _ = embedding.geometry.shape
        return self.frame.letterbox((width, height))

    def pack(self, embedding: Embedding) -> Mapping[str, NDArray[Any]]:
        """Return the features as arrays."""
        return self.network.to_arrays(cast("PlanarEmbedding", embedding).features)

    def unpack(self, arrays: Mapping[str, NDArray[Any]], geometry: Geometry) -> PlanarEmbedding:
        """Return the embedding that ``pack`` took apart.

        Raises
        ------
        CorruptFileError
            If the arrays are not features of this network.
        """
        return PlanarEmbedding(self.network.from_arrays(arrays), geometry)


def maker(network: Callable[[M, str], Network]) -> Callable[[M, ModelCard, FrameSpec | None, str], PlanarModel]:
    """Return what makes models of a family: of a module, a card, how pictures are prepared, and a device.

    Parameters
    ----------
    network
        Makes the network of a module on a device.
    """

    def make(module: M, card: ModelCard, frame: FrameSpec | None, device: str) -> PlanarModel:
        assert frame is not None  # noqa: S101 - families of planes have one
        return PlanarModel(card, network(module, device), frame)

    return make
