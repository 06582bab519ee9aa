"""SAM 2 as a ``Model`` of volumes: slices along k are what it takes for the frames of a video.

How the object is found in them is told in ``walk``. Slices are those along k, whatever the spacing: whoever wants
another axis turns the volume first (``samaritan.infer`` does).

Encoding a volume of a hundred slices would take minutes and gigabytes, and a small object shows in a few of them. So
``embed`` keeps the voxels only, in whole numbers as pictures have them, and slices are encoded when they are first
needed. The encoded slices are held with the embedding, in half precision, up to its ``max_bytes``, and kept in its
``store``. ``pack`` gives the voxels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from samaritan.core.errors import CorruptFileError, ImageError
from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image, read_only
from samaritan.core.model import Embedding, ModelCard, Prediction, Step, require_same_grid, unheard
from samaritan.core.prompts import Prompts
from samaritan.models.growing import Parts
from samaritan.models.planar.frame import FrameSpec
from samaritan.models.planar.network import Features
from samaritan.models.prompt_areas import require_start
from samaritan.models.sam2.route import Route
from samaritan.models.sam2.tracker import Tracker
from samaritan.models.sam2.walk import Walk

HELD = 512 << 20  # bytes of encoded slices, unless an embedding is told otherwise

_VOXELS = "voxels"
_HALF_MAX = 65504.0


class VolumeEmbedding(Parts):
    """A volume, and those of its slices that were encoded so far.

    Parameters
    ----------
    voxels
        (k, c, i, j) of 0 to 255; one channel where all are alike, else three.
    geometry
        Grid of the volume.
    """

    def __init__(self, voxels: NDArray[np.uint8], geometry: Geometry) -> None:
        super().__init__(HELD)
        self.voxels, self._geometry = voxels, geometry

    @property
    def geometry(self) -> Geometry:
        """Grid of the volume."""
        return self._geometry

    @property
    def nbytes(self) -> int:
        """Memory that it holds now."""
        return self.voxels.nbytes + super().nbytes


class SliceEncoder:
    """Makes features of slices (c, i, j) of 0 to 255, in half precision; a ``PartEncoder``.

    Parameters
    ----------
    tracker
        Encodes.
    frame
        How slices are prepared.
    """

    def __init__(self, tracker: Tracker, frame: FrameSpec) -> None:
        self._tracker, self._frame = tracker, frame

    def encode(self, part: NDArray[Any]) -> Features:
        """Return the features of a slice."""
        plane = np.broadcast_to(part, (len(RGB), *part.shape[1:]))[..., None]
        picture = Image(plane, Geometry.picture(*part.shape[1:]), RGB)
        return _halved(self._tracker.encode(self._frame.picture(picture)))

    def to_arrays(self, features: Features) -> dict[str, NDArray[Any]]:
        """Return the features as arrays."""
        return self._tracker.to_arrays(features)

    def from_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> Features:
        """Return the features that ``to_arrays`` took apart."""
        return _halved(self._tracker.from_arrays({name: a.astype(np.float32) for name, a in arrays.items()}))


class VolumeModel:
    """A ``Model`` of volumes: SAM 2 with its memory, how slices are prepared for it, and its card.

    Parameters
    ----------
    card
        What there is to know about the model.
    tracker
        Encodes, decodes and remembers.
    frame
        How slices are prepared.
    """

    def __init__(self, card: ModelCard, tracker: Tracker, frame: FrameSpec) -> None:
        self._card, self.tracker, self.frame = card, tracker, frame
        self._slices = SliceEncoder(tracker, frame)

    @property
    def card(self) -> ModelCard:
        """What there is to know about the model."""
        return self._card

    def embed(self, image: Image) -> VolumeEmbedding:
        """Take a volume in; nothing is encoded yet. See ``Model.embed``.

        Raises
        ------
        ImageError
            If the image has another number of channels than the card says.
        """
        if len(image.channels) != self.card.channels:
            raise ImageError(got=f"an image of {len(image.channels)} channels", wanted=f"{self.card.channels}")
        # A grey image repeated to three channels has stride 0 along them: one channel tells it all.
        array = image.array[:1] if image.array.strides[0] == 0 else image.array
        voxels = np.empty((image.shape[2], len(array), *image.shape[:2]), np.uint8)
        for index, plane in enumerate(voxels):  # one at a time, to spare memory
            plane[...] = np.clip(np.rint(array[..., index]), 0, 255)
        return VolumeEmbedding(read_only(voxels), image.geometry)

    def decode(self, embedding: Embedding, prompts: Prompts, previous: Prediction | None = None) -> Prediction:
        """Return the mask of one object in the whole volume; see ``Model.decode``, and ``walk`` for how it is found.

        Prompted slices stay as ``previous`` has them where that heeds their prompts, and are corrected where it does
        not; the others are followed anew.

        Raises
        ------
        PromptError
            If there is nothing positive to start from: only negative marks, and no previous prediction; or if a lasso
            or a box of one slice is drawn across another axis than k.
        """
        return self.decode_stepwise(embedding, prompts, previous, step=unheard)

    def decode_stepwise(
        self, embedding: Embedding, prompts: Prompts, previous: Prediction | None = None, *, step: Step
    ) -> Prediction:
        """Decode and tell of each slice; see ``StepwiseModel.decode_stepwise``."""
        require_same_grid(embedding, prompts, previous)
        self.card.require_prompts(prompts)
        require_start(prompts, previous)
        known = cast("VolumeEmbedding", embedding)
        walk = Walk(
            self.tracker,
            self.frame.letterbox(known.geometry.shape[:2]),
            known.geometry,
            lambda index: known.features(index, lambda: known.voxels[index], self._slices),
            Route.of(prompts),
            previous,
            step,
        )
        walk.run()
        return walk.prediction()

    def pack(self, embedding: Embedding) -> Mapping[str, NDArray[Any]]:
        """Return the voxels."""
        return {_VOXELS: cast("VolumeEmbedding", embedding).voxels}

    def unpack(self, arrays: Mapping[str, NDArray[Any]], geometry: Geometry) -> VolumeEmbedding:
        """Return the embedding that ``pack`` took apart.

        Raises
        ------
        CorruptFileError
            If the arrays are not those of a volume on ``geometry``.
        """
        found = {name: (array.shape, array.dtype.name) for name, array in arrays.items()}
        i, j, k = geometry.shape
        wanted = [{_VOXELS: ((k, channels, i, j), "uint8")} for channels in (1, len(RGB))]
        if found not in wanted:
            raise CorruptFileError(got=f"an embedding of {found}", wanted=f"{wanted[0]} or {wanted[1]}")
        return VolumeEmbedding(read_only(arrays[_VOXELS]), geometry)


def _halved(features: Features) -> Features:
    """Return features in half precision, but for those that are too large for it."""
    return {name: found.half() if float(found.abs().max()) <= _HALF_MAX else found for name, found in features.items()}
