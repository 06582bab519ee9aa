"""Questions put to a model: about a plane, whose masks all come back, or about a volume as users have it segmented."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from samaritan.core.errors import UnsupportedPromptError
from samaritan.core.geometry import Axis
from samaritan.core.image import Image
from samaritan.core.model import Model, Prediction
from samaritan.evaluate.corruptions import CORRUPTIONS
from samaritan.evaluate.protocols import Answer, Question
from samaritan.evaluate.subjects import Subject, seeded
from samaritan.infer.embedder import Embedder
from samaritan.infer.everything import segment_everything
from samaritan.infer.planes import choose_axis
from samaritan.infer.segment import segment_object

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Looks:
    """How images are shown to models: ``window`` and ``channels`` as ``samaritan.infer.segment`` takes them."""

    window: str | None = None
    channels: str | None = None


class Asked(Protocol):
    """Who answers questions about one subject."""

    def answer(self, question: Question, last: Answer | None) -> Answer:
        """Answer a question; ``last`` is what was answered before, to be refined if the question says so."""
        ...


class Interviews:
    """A model and one image: gives who answers about its planes or all of it; each plane is encoded once.

    Parameters
    ----------
    model, image
        Who is asked, about what.
    looks
        How the image is shown.
    words
        Of chance: the seed and the case, so that an image is always spoilt in the same way.
    """

    def __init__(self, model: Model, image: Image, *, looks: Looks, words: Sequence[object]) -> None:
        self.model, self.image, self._words = model, image, words
        self._looks = looks
        self._clean = self._embedder(image)

    def about(self, subject: Subject) -> Asked:
        """Return who answers about a subject."""
        if subject.index is None:
            return _AboutVolume(self._clean)
        return _AboutPlane(self._clean, subject.axis, subject.index, self._spoilt)

    def _embedder(self, image: Image) -> Embedder:
        return Embedder(self.model, image, window=self._looks.window, channels=self._looks.channels)

    def _spoilt(self, axis: Axis, index: int, corruption: tuple[str, int]) -> Embedder:
        name, severity = corruption
        plane = self.image.plane(axis, index)
        rng = seeded("corruption", *self._words, axis, index, name, severity)
        return self._embedder(CORRUPTIONS.get(name)(plane, severity, rng) if severity else plane)


@dataclass(eq=False)
class _AboutPlane:
    """Answers about a plane, with all masks that the model gives."""

    embedder: Embedder
    axis: Axis
    index: int
    spoilt: Callable[[Axis, int, tuple[str, int]], Embedder]
    _everything: Answer | None = None

    def answer(self, question: Question, last: Answer | None) -> Answer:
        if question.prompts is None:
            return self._all()
        embedder, where = self.embedder, (self.axis, self.index)
        if question.corruption is not None:
            embedder, where = self.spoilt(self.axis, self.index, question.corruption), ("k", 0)
        embedding = embedder.embedding(where)
        previous = last.prediction if question.refines and last is not None else None
        found = [embedder.model.decode(embedding, prompts, previous) for prompts in question.prompts]
        return _united(found)

    def _all(self) -> Answer:
        if self._everything is None:
            embedding = self.embedder.embedding((self.axis, self.index))
            masks, scores = segment_everything(self.embedder.model, embedding)
            if not len(masks):  # it found nothing: one empty mask
                masks, scores = np.zeros((1, *embedding.geometry.shape), np.bool_), np.zeros(1, np.float32)
            self._everything = Answer(masks, scores)
        return self._everything


@dataclass(eq=False)
class _AboutVolume:
    """Answers about a volume, with the one mask that users get."""

    embedder: Embedder

    def answer(self, question: Question, _last: Answer | None) -> Answer:
        if question.prompts is None or question.corruption is not None:
            what = "everything" if question.prompts is None else "a corrupted image"
            raise UnsupportedPromptError(got=f"{what} asked of a volume", wanted="a question about a plane")
        masks, scores = [], []
        for prompts in question.prompts:
            found = segment_object(self.embedder, prompts, name="object", axis=choose_axis(prompts, None))
            masks.append(found.mask)
            scores.append(found.score)
        return Answer(np.logical_or.reduce(masks)[None], np.array([np.mean(scores)], np.float32))


def _united(found: Sequence[Prediction]) -> Answer:
    """Return the answers to several sets of prompts as one: first masks united, second ones, and so on."""
    if len(found) == 1:
        return Answer(found[0].logits > 0, found[0].scores, found[0])
    most = min(len(each.scores) for each in found)
    masks = np.logical_or.reduce([each.logits[:most] > 0 for each in found])
    return Answer(masks, np.mean([each.scores[:most] for each in found], axis=0))
