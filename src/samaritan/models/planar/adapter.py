"""A ``Model`` made of a network of Segment Anything's shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from samaritan.core.geometry import Geometry
from samaritan.core.image import Image
from samaritan.core.model import Embedding, ModelCard, Prediction, require_same_grid
from samaritan.core.prompts import Prompts
from samaritan.models.planar.frame import FrameSpec
from samaritan.models.planar.network import Features, Network
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
        require_same_grid(embedding, prompts, previous)
        self.card.require_prompts(prompts)
        known = cast("PlanarEmbedding", embedding)
        shape = known.geometry.shape
        letterbox = self.frame.letterbox((shape[0], shape[1]))
        asked = tokens(prompts, previous, letterbox, mask_side=self.network.mask_side)
        logits, scores = self.network.decode(known.features, asked)
        several = is_ambiguous(prompts, previous) and len(scores) > 1
        kept = slice(1, None) if several else slice(0, 1)
        logits, scores = logits[kept], np.clip(scores[kept], 0.0, 1.0)
        order = np.argsort(-scores, kind="stable")
        placed = letterbox.logits_from_frame(logits[order])
        return Prediction(keep_within_lasso(placed, prompts), scores[order], known.geometry)

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


def maker(
    network: Callable[[M, str], Network], frame: FrameSpec
) -> Callable[[M, ModelCard, FrameSpec | None, str], PlanarModel]:
    """Return what makes models of a family: of a module, a card, how pictures are prepared, and a device.

    Parameters
    ----------
    network
        Makes the network of a module on a device.
    frame
        How pictures are prepared where a card says nothing.
    """

    def make(module: M, card: ModelCard, chosen: FrameSpec | None, device: str) -> PlanarModel:
        return PlanarModel(card, network(module, device), chosen or frame)

    return make
