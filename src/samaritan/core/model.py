"""What a model is: it encodes an image once and decodes a mask for each set of prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from samaritan.core.errors import (
    GeometryMismatchError,
    ImageError,
    SamaritanError,
    UnknownNameError,
    UnsupportedPromptError,
)
from samaritan.core.geometry import Geometry
from samaritan.core.image import Image
from samaritan.core.prompts import KINDS, Prompts


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What there is to know about a model before running it.

    Parameters
    ----------
    name, family, title
        Registry name, family of architectures ("sam"), one line for people.
    licence, commercial_use
        SPDX expression of the weights ("unknown" of a user's own), and whether they may be used commercially.
    native_shape
        Size that the network works at: (width, height) in 2D, (i, j, k) in 3D.
    dims
        2 for a model of pictures and slices, 3 for one of volumes.
    channels
        Channels that ``embed`` wants, 1 or 3; values as ``intensity_range`` says.
    intensity_range
        Lowest and highest value that ``embed`` wants; intensities are windowed and scaled to it before.
    prompts
        Kinds of prompt that ``decode`` takes.
    sha256
        Of the weights: identifies the model in caches and reports.
    training_data, scores, source
        Data sets with licences; figures measured, by name; paper or address.
    base
        Name of the model that its weights were trained from; empty if from scratch or unknown.
    normalisation
        For people: what is done to the values in ``intensity_range`` before the network sees them.
    ct_window
        Centre and width in HU that it was trained on; None for the usual choice by ``infer.intensity``.
    standardises
        Whether it brings values to mean 0 and deviation 1 itself. If so, it wants all of them, and Hounsfield units on
        one scale whatever the window: ``ct_window`` is then what ``intensity_range`` stands for.
    classes
        What it finds by name alone, wherever that is (``Text`` prompts), by the values that these have in label maps;
        none for models that do not know beforehand what there is to find.
    slices
        Odd number of slices of a volume that it sees of each plane, as its channels: the plane in the middle of its
        neighbours. 1 for the plane alone.
    """

    name: str
    family: str
    title: str
    licence: str
    commercial_use: bool
    native_shape: tuple[int, ...]
    dims: Literal[2, 3]
    prompts: frozenset[str]
    sha256: str
    channels: Literal[1, 3] = 3
    intensity_range: tuple[float, float] = (0.0, 255.0)
    training_data: tuple[str, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    source: str = ""
    base: str = ""
    normalisation: str = ""
    ct_window: tuple[float, float] | None = None
    standardises: bool = False
    classes: Mapping[int, str] = field(default_factory=dict)
    slices: int = 1

    def __post_init__(self) -> None:
        unknown = sorted(self.prompts - set(KINDS))
        if unknown:
            raise UnknownNameError.of(unknown[0], kind="prompt kind", known=KINDS)
        object.__setattr__(self, "scores", MappingProxyType(dict(self.scores)))
        object.__setattr__(self, "classes", MappingProxyType(dict(self.classes)))

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to other processes, which views of mappings do not."""
        told = {item.name: getattr(self, item.name) for item in fields(self)}
        return _card, (told | {"scores": dict(self.scores), "classes": dict(self.classes)},)

    @property
    def follows_slices(self) -> bool:
        """Whether it is a model of volumes whose network sees slices, and that follows objects through them along k."""
        return self.native_shape[2:] == (1,)

    def require_plane(self, image: Image) -> None:
        """Raise ``ImageError`` unless ``image`` is one plane with the channels that a 2D model wants."""
        if not image.is_2d or len(image.channels) != self.channels:
            raise ImageError(
                got=f"an image of {len(image.channels)} channels and shape {image.shape}",
                wanted=f"one plane of {self.channels} channels",
            )

    def require_prompts(self, prompts: Prompts) -> None:
        """Raise ``UnsupportedPromptError`` if there is no prompt, or one of a kind that the model does not take."""
        unsupported = sorted(prompts.kinds - self.prompts)
        if unsupported or not prompts:
            raise UnsupportedPromptError(
                got=f"a {unsupported[0]} prompt for model '{self.name}'" if unsupported else "no prompt",
                wanted=f"one or more of: {', '.join(sorted(self.prompts))}",
            )


def _card(told: dict[str, Any]) -> ModelCard:
    return ModelCard(**told)


@dataclass(frozen=True, eq=False, slots=True)
class Prediction:
    """Masks that a model proposes for one object, best first.

    Parameters
    ----------
    logits
        (m, i, j, k) float32; above 0 is object.
    scores
        (m,) predicted IoU, in [0, 1], descending; nan if the model does not predict it.
    geometry
        Grid of the logits.

    Raises
    ------
    ImageError
        If shapes do not fit, or the scores are not sorted.
    GeometryMismatchError
        If the logits are not on the grid.
    """

    logits: NDArray[np.float32]
    scores: NDArray[np.float32]
    geometry: Geometry

    def __post_init__(self) -> None:
        if self.logits.ndim != 4 or self.scores.shape != self.logits.shape[:1] or not len(self.scores):
            raise ImageError(got=f"logits {self.logits.shape}, scores {self.scores.shape}", wanted="(m, i, j, k), (m,)")
        if self.logits.shape[1:] != self.geometry.shape:
            raise GeometryMismatchError(got=f"logits of {self.logits.shape[1:]}", wanted=f"{self.geometry.shape}")
        if np.any(np.diff(self.scores) > 0):
            raise ImageError(got=f"scores {self.scores.tolist()}", wanted="descending: best first")

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The best mask, (i, j, k)."""
        return np.asarray(self.logits[0] > 0)

    @property
    def score(self) -> float:
        """Predicted IoU of the best mask; nan if unknown."""
        return float(self.scores[0])


@runtime_checkable
class Embedding(Protocol):
    """An encoded image; opaque (it may live on a GPU), but it knows the grid that prompts must be given in."""

    @property
    def geometry(self) -> Geometry:
        """Grid of the image that was encoded."""
        ...

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        ...


@runtime_checkable
class Model(Protocol):
    """A promptable model: encode once, decode for each prompt. Stateless: one may serve many callers.

    A model with ``card.dims == 2`` takes images of one plane (``image.is_2d``).
    """

    @property
    def card(self) -> ModelCard:
        """What there is to know about the model."""
        ...

    def embed(self, image: Image) -> Embedding:
        """Encode ``image``: ``card.channels`` channels, already scaled to ``card.intensity_range``, of any size."""
        ...

    def decode(self, embedding: Embedding, prompts: Prompts, previous: Prediction | None = None) -> Prediction:
        """Return masks for one object on the embedding's grid.

        ``previous`` is the prediction to refine, from the same image.

        Raises
        ------
        GeometryMismatchError
            If prompts or previous prediction are on another grid than the embedding.
        UnsupportedPromptError
            If there is no prompt, or a kind of prompt that the card does not list.
        """
        ...

    def pack(self, embedding: Embedding) -> Mapping[str, NDArray[Any]]:
        """Return the embedding as named arrays, to be kept on disk or sent."""
        ...

    def unpack(self, arrays: Mapping[str, NDArray[Any]], geometry: Geometry) -> Embedding:
        """Return the embedding that ``pack`` took apart."""
        ...


# Called after each step with how many are done, and how many there are at most.
Step = Callable[[int, int], None]


def unheard(done: int, total: int) -> None:
    """Be the ``Step`` of whoever does not ask to be told."""


@runtime_checkable
class StepwiseModel(Protocol):
    """What a ``Model`` may be beside: one that takes many steps over an object, such as slices, and tells of each."""

    def decode_stepwise(
        self, embedding: Embedding, prompts: Prompts, previous: Prediction | None = None, *, step: Step
    ) -> Prediction:
        """Return what ``decode`` does, and call ``step`` on the way; what that raises breaks the decoding off."""
        ...


class PartStore(Protocol):
    """Where encoded parts of images are kept for longer than an embedding. It may be called by several threads."""

    def get(self, part: NDArray[Any]) -> Mapping[str, NDArray[Any]] | None:
        """Return what was kept of a part with these values; None if nothing is."""
        ...

    def put(self, part: NDArray[Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Keep ``arrays`` of the part with these values."""
        ...


@runtime_checkable
class GrowingEmbedding(Protocol):
    """What an ``Embedding`` may be beside: one that encodes parts of its image when they are needed, and holds them.

    The parts may take ``max_bytes``; those that were not used for longest are let go. One is always held. They are
    looked for in ``store`` before they are encoded, and left there; None, as at first, keeps them nowhere else.
    """

    max_bytes: int
    store: PartStore | None


@runtime_checkable
class BatchModel(Protocol):
    """What a ``Model`` may be beside: one that does several at once, in less time than one after the other.

    What comes out is what ``embed`` and ``decode`` give, to rounding. ``embed_all`` and ``decode_all`` ask any model.
    """

    def most_images(self) -> int:
        """Images that are encoded at once, as there is room now; 1 where that does not pay. See ``images_at_once``."""
        ...

    def embed_batch(self, images: Sequence[Image]) -> list[Embedding]:
        """Encode images of any sizes; see ``embed_all``."""
        ...

    def decode_batch(
        self,
        embedding: Embedding,
        prompts: Sequence[Prompts],
        previous: Sequence[Prediction | None] | None = None,
    ) -> list[Prediction]:
        """Return masks for each of several objects in one image; see ``decode_all``."""
        ...


def images_at_once(model: Model) -> int:
    """Return how many images it pays to have at hand for ``embed_all``; at least 1."""
    return model.most_images() if isinstance(model, BatchModel) else 1


def embed_all(model: Model, images: Sequence[Image]) -> list[Embedding]:
    """Encode ``images`` of any sizes, at once where the model can; one embedding for each, in their order.

    Raises
    ------
    ImageError
        As ``Model.embed``; it names the image, counted from 1.
    """
    if isinstance(model, BatchModel):
        return model.embed_batch(images)
    embeddings = []
    for number, image in enumerate(images, 1):
        with telling_which("image", number, len(images)):
            embeddings.append(model.embed(image))
    return embeddings


def decode_all(
    model: Model,
    embedding: Embedding,
    prompts: Sequence[Prompts],
    previous: Sequence[Prediction | None] | None = None,
) -> list[Prediction]:
    """Return masks for each of several objects in one image, at once where the model can, in their order.

    Parameters
    ----------
    model, embedding
        The model, and the image as it encoded it.
    prompts
        Those of each object, of any kinds and numbers.
    previous
        The prediction to refine for each object, or None where there is none; None if there is none at all.

    Raises
    ------
    GeometryMismatchError, PromptError
        As ``Model.decode``; it names the object, counted from 1.
    ValueError
        If there are not as many ``previous`` as ``prompts``.
    """
    if isinstance(model, BatchModel):
        return model.decode_batch(embedding, prompts, previous)
    predictions = []
    pairs = zip(prompts, [None] * len(prompts) if previous is None else previous, strict=True)
    for number, (asked, before) in enumerate(pairs, 1):
        with telling_which("object", number, len(prompts)):
            predictions.append(model.decode(embedding, asked, before))
    return predictions


@contextmanager
def telling_of(what: str) -> Iterator[None]:
    """Let errors of the code within say what they are about: ``"object 'liver': ..."``."""
    try:
        yield
    except SamaritanError as error:
        raise type(error)(got=f"{what}: {error.got}", wanted=error.wanted, fix=error.fix) from error


def telling_which(what: str, number: int, total: int) -> AbstractContextManager[None]:
    """Let errors of the code within say which of ``total`` things they are about: ``"object 2 of 5: ..."``."""
    return telling_of(f"{what} {number} of {total}")


def require_same_grid(embedding: Embedding, prompts: Prompts, previous: Prediction | None) -> None:
    """Raise ``GeometryMismatchError`` unless prompts and previous prediction are on the embedding's grid."""
    embedding.geometry.require_match(prompts.geometry, "prompts")
    if previous is not None:
        embedding.geometry.require_match(previous.geometry, "previous prediction")
