"""A promptable model without weights: plain region growing, exact enough to test everything around a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.draw import polygon2mask

from samaritan.core.errors import PromptError
from samaritan.core.geometry import Geometry
from samaritan.core.image import Image
from samaritan.core.model import Embedding, ModelCard, Prediction, require_same_grid
from samaritan.core.prompts import Box, Lasso, MaskPrompt, Point, Prompts, Scribble

Bools = NDArray[np.bool_]
Plane = NDArray[np.float32]

# In grey levels of the card's range, 0 to 255.
_TOLERANCE = 40.0
_DOUBT = 5.0
# How far a mask may grow or move from the prompt that it starts from, in pixels: enough to follow it slice by slice.
_REACH = 4

CARD = ModelCard(
    name="fake",
    family="fake",
    title="Region growing for tests: no weights, no learning",
    licence="Apache-2.0",
    commercial_use=True,
    native_shape=(64, 64),
    dims=2,
    prompts=frozenset({"point", "box", "scribble", "lasso", "mask"}),
    sha256="0" * 64,
    training_data=("none",),
    source="samaritan.testing",
)


@dataclass(frozen=True, eq=False, slots=True)
class FakeEmbedding:
    """The image itself: ``grey`` (i, j), the mean of its channels."""

    grey: Plane
    geometry: Geometry

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        return self.grey.nbytes


class FakeModel:
    """A deterministic ``Model`` of planes that finds pixels like those pointed at, at full resolution.

    The object is what resembles the pixels under the positive marks (clicks, scribbles, a mask; without them the
    middle of the box or lasso) more than those under the negative marks or on the rim of the box, and hangs together
    with the positive marks, within the box or lasso. A previous prediction is kept: positive marks add to it,
    negative ones take away. The score is the contrast to the surroundings: near 1 for a clear object, near 0 where
    there is none.

    ``embeds`` and ``decodes`` count the calls, so that a test can tell what was computed twice.
    """

    def __init__(self, card: ModelCard = CARD) -> None:
        self._card = card
        self.embeds = 0
        self.decodes = 0

    @property
    def card(self) -> ModelCard:
        """What there is to know about the model."""
        return self._card

    def embed(self, image: Image) -> FakeEmbedding:
        """Keep the mean of the channels.

        Raises
        ------
        ImageError
            If the image is a volume or has another number of channels than the card says.
        """
        self.card.require_plane(image)
        self.embeds += 1
        return FakeEmbedding(image.array[..., 0].mean(axis=0, dtype=np.float32), image.geometry)

    def decode(self, embedding: Embedding, prompts: Prompts, previous: Prediction | None = None) -> Prediction:
        """Grow the object that the prompts point at; see the class.

        Raises
        ------
        PromptError
            If there is nothing positive to start from.
        """
        require_same_grid(embedding, prompts, previous)
        self.card.require_prompts(prompts)
        self.decodes += 1
        grey = cast("FakeEmbedding", embedding).grey
        region = _region(prompts, grey.shape)
        positive = _marks(prompts, grey.shape, positive=True)
        negative = _marks(prompts, grey.shape, positive=False)
        before = previous.mask[..., 0] if previous is not None else np.zeros(grey.shape, np.bool_)
        if previous is None and not positive.any() and region.all() and not prompts.boxes:
            raise PromptError(got="negative prompts only", wanted="something on the object", fix="Add a positive point")
        if positive.any() or not before.any():
            before = before | _grow(grey, positive if positive.any() else _middle(region), negative, region)
        mask = before & ~_take_away(grey, negative, before)
        logits = np.where(mask, np.float32(4), np.float32(-4))[None, :, :, None]
        return Prediction(logits, np.array([_contrast(grey, mask)], np.float32), embedding.geometry)

    def pack(self, embedding: Embedding) -> Mapping[str, NDArray[Any]]:
        """Return the grey image."""
        return {"grey": cast("FakeEmbedding", embedding).grey}

    def unpack(self, arrays: Mapping[str, NDArray[Any]], geometry: Geometry) -> FakeEmbedding:
        """Return the embedding that ``pack`` took apart."""
        return FakeEmbedding(np.asarray(arrays["grey"], np.float32), geometry)


def _region(prompts: Prompts, shape: tuple[int, int]) -> Bools:
    """Return where the object may be, (i, j): the boxes and lassos, or near the mask, or anywhere."""
    region = np.zeros(shape, np.bool_)
    for box in prompts.of(Box):
        region[box.start[0] : box.stop[0], box.start[1] : box.stop[1]] = True
    for lasso in prompts.of(Lasso):
        if lasso.positive:
            region |= _filled(lasso, shape)
    if not region.any() and prompts.kinds == {"mask"}:
        region = ndimage.binary_dilation(_marks(prompts, shape, positive=True), iterations=_REACH)
    return region if region.any() else ~region


def _marks(prompts: Prompts, shape: tuple[int, int], *, positive: bool) -> Bools:
    """Return the pixels (i, j) that clicks, scribbles, masks and negative lassos of one sign touch."""
    marks = np.zeros(shape, np.bool_)
    for item in prompts.items:
        if isinstance(item, MaskPrompt):
            marks |= positive & item.mask[..., 0]
        elif isinstance(item, Point) and item.positive == positive:
            marks[item.voxel[:2]] = True
        elif isinstance(item, Scribble) and item.positive == positive:
            marks[item.voxels[:, 0], item.voxels[:, 1]] = True
        elif isinstance(item, Lasso) and not item.positive and not positive:
            marks |= _filled(item, shape)
    return marks


def _filled(lasso: Lasso, shape: tuple[int, int]) -> Bools:
    return np.asarray(polygon2mask(shape, lasso.vertices[:, :2]))


def _middle(region: Bools) -> Bools:
    """Return the part of ``region`` around its centre of mass, a third of its size."""
    where = np.argwhere(region)
    centre, third = where.mean(axis=0), np.ptp(where, axis=0) / 6 + 0.5
    middle = np.zeros_like(region)
    middle[tuple(where[(np.abs(where - centre) <= third).all(axis=1)].T)] = True
    return middle if middle.any() else region


def _grow(grey: Plane, seeds: Bools, negative: Bools, region: Bools) -> Bools:
    """Return the pixels in ``region`` that look like ``seeds`` and hang together with them."""
    inside = np.median(grey[seeds])
    rim = negative if negative.any() else region & ~ndimage.binary_erosion(region, border_value=int(region.all()))
    tolerance = _TOLERANCE
    if rim.any():
        apart = abs(float(np.median(grey[rim]) - inside)) / 2
        tolerance = apart if apart > 1 else _TOLERANCE
    alike = (np.abs(grey - inside) <= tolerance) & region
    parts, _ = ndimage.label(alike)
    wanted = np.unique(parts[seeds & alike])
    return np.asarray(np.isin(parts, wanted[wanted > 0]))


def _take_away(grey: Plane, negative: Bools, mask: Bools) -> Bools:
    """Return the pixels of ``mask`` that look like the negative marks in it, and those marks."""
    wrong = negative & mask
    if not wrong.any():
        return negative
    return np.asarray(negative | (mask & (np.abs(grey - np.median(grey[wrong])) <= _DOUBT)))


def _contrast(grey: Plane, mask: Bools) -> float:
    around = ndimage.binary_dilation(mask, iterations=2) & ~mask
    if not mask.any() or not around.any():
        return 0.0
    contrast = abs(float(np.median(grey[mask]) - np.median(grey[around])))
    return contrast / (contrast + _DOUBT)
