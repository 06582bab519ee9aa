"""SAM 3's detector as a ``Model``: all that is of one kind, by a phrase, examples, or both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from samaritan.core.geometry import Geometry
from samaritan.core.image import Image
from samaritan.core.model import Embedding, ModelCard, Prediction, require_same_grid
from samaritan.core.prompts import Prompts
from samaritan.models.planar import FrameSpec, PlanarEmbedding
from samaritan.models.sam3.detector import ConceptNetwork
from samaritan.models.sam3.question import Question
from samaritan.models.sam3.words import Words

LEAST_SCORE = 0.5  # of an instance; the original's default
MOST_LISTED = 32  # instances that are given one by one: each takes the plane's size
_ABSENT = np.float32(-32.0)  # logit where there is no instance at all


class ConceptModel:
    """A ``Model`` of planes that is asked for a concept, and answers with all of its instances.

    Parameters
    ----------
    card
        What there is to know about the model.
    network
        Encodes and detects.
    frame
        How planes are prepared.
    words
        Which the network reads.
    """

    def __init__(self, card: ModelCard, network: ConceptNetwork, frame: FrameSpec, words: Words) -> None:
        self._card, self.network, self.frame, self.words = card, network, frame, words

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
        """Return the instances of a concept; see ``Model.decode``, and ``question`` for what prompts mean here.

        What is asked for is the concept: the first mask is that of all its instances together, with the score of the
        best. Where there are several, each follows by itself, best first, up to ``MOST_LISTED``. A score is how sure
        the model is that this is one: above ``LEAST_SCORE``. If there is none, the mask is empty and its score 0.

        Every question is answered anew: ``previous`` changes nothing.

        Raises
        ------
        PromptError
            If there is more than one text, one that is too long, or nothing but negative lassos.
        """
        require_same_grid(embedding, prompts, previous)
        self.card.require_prompts(prompts)
        known = cast("PlanarEmbedding", embedding)
        shape = known.geometry.shape
        letterbox = self.frame.letterbox((shape[0], shape[1]))
        logits, scores = self.network.detect(known.features, Question.of(prompts, self.words, letterbox))
        best = np.argsort(-scores, kind="stable")
        best = best[scores[best] > LEAST_SCORE]
        union = np.full(shape, _ABSENT, np.float32)
        listed: list[NDArray[np.float32]] = []
        for index in best:  # one at a time, as there may be hundreds
            placed = letterbox.logits_from_frame(logits[index][None])[0]
            np.maximum(union, placed, out=union)
            if len(best) > 1 and len(listed) < MOST_LISTED:
                listed.append(placed)
        sure = scores[best] if len(best) else np.zeros(1, np.float32)
        return Prediction(np.stack([union, *listed]), np.array([sure[0], *sure[: len(listed)]]), known.geometry)

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
