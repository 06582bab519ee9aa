"""What a model is: it encodes an image once and decodes a mask for each set of prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from samaritan.core.errors import GeometryMismatchError, ImageError, UnknownNameError, UnsupportedPromptError
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
        SPDX expression of the weights, and whether they may be used commercially.
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

    def __post_init__(self) -> None:
        unknown = sorted(self.prompts - set(KINDS))
        if unknown:
            raise UnknownNameError.of(unknown[0], kind="prompt kind", known=KINDS)
        object.__setattr__(self, "scores", MappingProxyType(dict(self.scores)))

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


@dataclass(frozen=True, eq=False, slots=True)
class Prediction:
    """Masks that a model proposes for one object, best first.

    Parameters
    ----------
    logits
        (m, i, j, k) float32; above 0 is object.
    scores
        (m,) predicted IoU, in [0, 1], descending.
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
        """Predicted IoU of the best mask."""
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


def require_same_grid(embedding: Embedding, prompts: Prompts, previous: Prediction | None) -> None:
    """Raise ``GeometryMismatchError`` unless prompts and previous prediction are on the embedding's grid."""
    embedding.geometry.require_match(prompts.geometry, "prompts")
    if previous is not None:
        embedding.geometry.require_match(previous.geometry, "previous prediction")
