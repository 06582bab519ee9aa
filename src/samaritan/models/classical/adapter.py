"""A classical method as a model: the embedding is the picture, prompts become a box and marks on its pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from samaritan.core.geometry import Geometry
from samaritan.core.image import Image
from samaritan.core.model import Embedding, ModelCard, Prediction, require_same_grid
from samaritan.core.prompts import Prompts
from samaritan.models.prompt_areas import deepest, extent, negative_marks, positive_marks, require_start

Picture = NDArray[np.uint8]
Bools = NDArray[np.bool_]

_SAYS = np.float32(4.0)  # logit of the mask: these methods know no doubt
_WORKING_SIDE = 512  # long side that slow ones work at


class PixelBox(NamedTuple):
    """A box on a picture (i, j), half-open in pixels."""

    i0: int
    j0: int
    i1: int
    j1: int

    @property
    def block(self) -> tuple[slice, slice]:
        """Its pixels."""
        return slice(self.i0, self.i1), slice(self.j0, self.j1)


@dataclass(frozen=True, eq=False, slots=True)
class Marks:
    """What is said of an object: a ``box`` around it, and masks (i, j) of pixels ``on`` it and ``beside`` it."""

    box: PixelBox | None
    on: Bools
    beside: Bools


class Method(Protocol):
    """What finds the mask (i, j) of an object on a picture (i, j, 3)."""

    slow: bool

    def __call__(self, picture: Picture, marks: Marks) -> Bools:
        """Return the mask; there is a box, or a pixel that is on the object."""
        ...


@dataclass(frozen=True, eq=False, slots=True)
class PictureEmbedding:
    """The picture itself, (i, j, 3)."""

    picture: Picture
    geometry: Geometry

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        return self.picture.nbytes


class ClassicalModel:
    """A ``Model`` of planes around a method that learnt nothing. It predicts no IoU: scores are nan.

    A previous prediction is only looked at where prompts alone do not say where the object is: its deepest point is
    then on it. Slow methods work on pictures shrunk to a long side of 512 pixels.
    """

    def __init__(self, card: ModelCard, method: Method) -> None:
        self._card, self._method = card, method

    @property
    def card(self) -> ModelCard:
        """What there is to know about the model."""
        return self._card

    def embed(self, image: Image) -> PictureEmbedding:
        """Keep the picture, in 256 levels.

        Raises
        ------
        ImageError
            If the image is a volume or has not three channels.
        """
        self.card.require_plane(image)
        levels = image.array[..., 0].transpose(1, 2, 0).round().clip(0, 255)
        return PictureEmbedding(np.ascontiguousarray(levels, np.uint8), image.geometry)

    def decode(self, embedding: Embedding, prompts: Prompts, previous: Prediction | None = None) -> Prediction:
        """Return the one mask of the method.

        Raises
        ------
        PromptError
            If there is nothing positive to start from, or a kind of prompt that the method does not take.
        GeometryMismatchError
            If prompts or previous prediction are on another grid than the embedding.
        MissingExtraError
            If the library of the method is not installed.
        """
        require_same_grid(embedding, prompts, previous)
        self.card.require_prompts(prompts)
        require_start(prompts, previous)
        picture = cast("PictureEmbedding", embedding).picture
        marks = _marks(prompts, previous, picture.shape[:2])
        known = marks.box is not None or marks.on.any()  # not if all that was on it is now said to be beside it
        mask = _at_working_size(self._method, picture, marks) if known else marks.on
        logits = np.where(mask, _SAYS, -_SAYS)[None, :, :, None]
        return Prediction(logits, np.array([np.nan], np.float32), embedding.geometry)

    def pack(self, embedding: Embedding) -> Mapping[str, NDArray[Any]]:
        """Return the picture."""
        return {"picture": cast("PictureEmbedding", embedding).picture}

    def unpack(self, arrays: Mapping[str, NDArray[Any]], geometry: Geometry) -> PictureEmbedding:
        """Return the embedding that ``pack`` took apart."""
        return PictureEmbedding(np.asarray(arrays["picture"], np.uint8), geometry)


def _marks(prompts: Prompts, previous: Prediction | None, plane: tuple[int, ...]) -> Marks:
    on, beside = np.zeros(plane, np.bool_), np.zeros(plane, np.bool_)
    for voxels in positive_marks(prompts):
        on[tuple(voxels[:, :2].T)] = True
    beside[tuple(negative_marks(prompts)[:, :2].T)] = True
    on &= ~beside
    if not prompts.boxes and not on.any() and previous is not None:
        found = previous.mask[..., 0] & ~beside
        if found.any():
            on[tuple(deepest(found).astype(int))] = True
    span = extent(prompts) if prompts.boxes else None
    box = None if span is None else PixelBox(*(int(v) for v in span.ravel()))
    return Marks(box, on, beside)


def _at_working_size(method: Method, picture: Picture, marks: Marks) -> Bools:
    """Return the method's mask, on the picture shrunk if it is large and the method slow."""
    width, height = picture.shape[:2]
    scale = min(1.0, _WORKING_SIDE / max(width, height)) if method.slow else 1.0
    if scale == 1:
        return method(picture, marks)
    small = max(1, round(width * scale)), max(1, round(height * scale))
    shrunk = Pillow.fromarray(picture).resize(small[::-1], Pillow.Resampling.BOX)  # its width is our j
    on, beside = (_moved(mask, small) for mask in (marks.on, marks.beside))
    box = None if marks.box is None else _scaled(marks.box, scale, small)
    mask = method(np.asarray(shrunk), Marks(box, on, beside & ~on))
    grown = Pillow.fromarray(mask.astype(np.uint8)).resize((height, width), Pillow.Resampling.NEAREST)
    return np.asarray(grown) > 0


def _moved(mask: Bools, shape: tuple[int, int]) -> Bools:
    """Return the pixels of a smaller picture that hold a set one: a stroke does not vanish."""
    moved = np.zeros(shape, np.bool_)
    at = np.argwhere(mask) * np.array(shape) // np.array(mask.shape)
    moved[tuple(at.T)] = True
    return moved


def _scaled(box: PixelBox, scale: float, shape: tuple[int, int]) -> PixelBox:
    i0, j0, i1, j1 = (round(v * scale) for v in box)
    i0, j0 = min(i0, shape[0] - 1), min(j0, shape[1] - 1)
    return PixelBox(i0, j0, max(i1, i0 + 1), max(j1, j0 + 1))
