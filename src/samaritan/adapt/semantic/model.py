"""A network of classes as a ``Model``: it is asked by the name of a class, and finds that wherever it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from samaritan.core.errors import CorruptFileError, UnknownNameError
from samaritan.core.geometry import Geometry
from samaritan.core.image import Image
from samaritan.core.model import Embedding, ModelCard, Prediction, require_same_grid, telling_which
from samaritan.core.prompts import Prompts, Text
from samaritan.models.letterbox import Letterbox

Floats = NDArray[np.float32]

_LOGITS = "logits"
_MOST_PIXELS = 1 << 20  # of pictures that are seen at once


@dataclass(frozen=True, eq=False)
class SemanticEmbedding:
    """The logits (1 + classes, rows, columns) of a plane in its frame, background first."""

    logits: Floats
    geometry: Geometry
    letterbox: Letterbox

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        return self.logits.nbytes

    @cached_property
    def on_plane(self) -> Floats:
        """The same on the plane, (1 + classes, i, j, 1)."""
        return self.letterbox.logits_from_frame(self.logits)


class SemanticModel:
    """A ``Model`` that takes the names of its classes.

    Parameters
    ----------
    card
        With ``classes``, in the order of the network's masks.
    network
        Maps pictures (n, 3, rows, columns) in [0, 255] to logits, on its own device.
    side, multiple
        Pixels of the longer side of what it sees, and what sides are a multiple of.
    """

    def __init__(self, card: ModelCard, network: nn.Module, *, side: int, multiple: int) -> None:
        self._card, self._network, self._side, self._multiple = card, network.eval(), side, multiple

    @property
    def card(self) -> ModelCard:
        """What there is to know about the model."""
        return self._card

    def embed(self, image: Image) -> SemanticEmbedding:
        """See one plane; see ``Model.embed``.

        Raises
        ------
        ImageError
            If the image is a volume, or has another number of channels than the card says.
        """
        [embedding] = self.embed_batch([image])
        return cast("SemanticEmbedding", embedding)

    def most_images(self) -> int:
        """Planes that are seen at once; see ``core.model.images_at_once``."""
        return max(1, _MOST_PIXELS // self._side**2)

    def embed_batch(self, images: Sequence[Image]) -> list[Embedding]:
        """See planes, those of one size at once; see ``core.model.embed_all``."""
        alike: dict[Letterbox, list[int]] = defaultdict(list)
        for number, image in enumerate(images):
            with telling_which("image", number + 1, len(images)):
                self.card.require_plane(image)
            width, height, _ = image.shape
            alike[Letterbox.fit((width, height), side=self._side, multiple=self._multiple)].append(number)
        found: dict[int, Embedding] = {}
        for letterbox, numbers in alike.items():
            frames = np.stack([letterbox.image_to_frame(images[number].array) for number in numbers])
            for number, logits in zip(numbers, self._logits(frames), strict=True):
                found[number] = SemanticEmbedding(logits, images[number].geometry, letterbox)
        return [found[number] for number in range(len(images))]

    def decode(self, embedding: Embedding, prompts: Prompts, previous: Prediction | None = None) -> Prediction:
        """Return one mask, of all classes that are named; see ``Model.decode``.

        Its logits are how much likelier the likeliest of these is than all others, so that masks of different classes
        do not overlap. The score is the IoU that is to be expected if the likelihoods are right.

        Raises
        ------
        UnknownNameError
            If there is no class of a name.
        """
        require_same_grid(embedding, prompts, previous)
        self.card.require_prompts(prompts)
        known = cast("SemanticEmbedding", embedding)
        wanted = np.zeros(1 + len(self.card.classes), np.bool_)
        for item in prompts.of(Text):
            wanted[self._number(item.text)] = True
        logits = known.on_plane
        margin = logits[wanted].max(axis=0) - logits[~wanted].max(axis=0)
        return Prediction(margin[None], np.array([_expected_iou(margin)], np.float32), known.geometry)

    def pack(self, embedding: Embedding) -> Mapping[str, NDArray[Any]]:
        """Return the logits."""
        return {_LOGITS: cast("SemanticEmbedding", embedding).logits}

    def unpack(self, arrays: Mapping[str, NDArray[Any]], geometry: Geometry) -> SemanticEmbedding:
        """Return the embedding that ``pack`` took apart.

        Raises
        ------
        CorruptFileError
            If the arrays are not those of this model.
        """
        logits = arrays.get(_LOGITS)
        if logits is None or logits.ndim != 3 or len(logits) != 1 + len(self.card.classes):
            found = {name: array.shape for name, array in arrays.items()}
            raise CorruptFileError(got=f"an embedding of {found}", wanted=f"logits of {len(self.card.classes)} classes")
        width, height, _ = geometry.shape
        return SemanticEmbedding(
            logits, geometry, Letterbox.fit((width, height), side=self._side, multiple=self._multiple)
        )

    @torch.no_grad()
    def _logits(self, frames: Floats) -> Floats:
        device = next(self._network.parameters()).device
        pictures = torch.from_numpy(frames).to(device, memory_format=torch.channels_last)
        return np.asarray(self._network(pictures).float().cpu().numpy())

    def _number(self, text: str) -> int:
        """Return which mask is that of a class."""
        names = list(self.card.classes.values())
        plain = [name.casefold() for name in names]
        if text.strip().casefold() not in plain:
            raise UnknownNameError.of(text, kind=f"class of model '{self.card.name}'", known=names)
        return 1 + plain.index(text.strip().casefold())


def _expected_iou(margin: Floats) -> float:
    """Return the expected overlap over the expected union of the mask and the object; 0 for an empty mask."""
    likely = 1.0 / (1.0 + np.exp(-np.clip(margin, -30, 30)))
    mask = margin > 0
    size = float(mask.sum())
    return float(likely[mask].sum() / (size + likely[~mask].sum())) if size else 0.0
