"""SAM-Med3D as a ``Model`` of volumes.

An embedding is the volume itself. Windows of it are encoded when prompts call for them, held for the next prompt, and
kept in its ``store``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from samaritan.core.errors import CorruptFileError, ImageError
from samaritan.core.geometry import Geometry
from samaritan.core.image import Image, read_only
from samaritan.core.model import Embedding, ModelCard, Prediction, Step, require_same_grid, unheard
from samaritan.core.prompts import Prompts
from samaritan.models.growing import Features, Parts
from samaritan.models.prompt_areas import require_start
from samaritan.models.sam_med3d.clicks import POSITIVE, SURE, Clicks, keep_within_boxes, start_logits
from samaritan.models.sam_med3d.lattice import Floats, Ints, Lattice
from samaritan.models.sam_med3d.search import Network, Route, Search

HELD = 64 << 20  # bytes of encoded windows, some eighty, unless an embedding is told otherwise

_VOXELS, _GROUND = "voxels", "ground"
_WHOLE = np.iinfo(np.int16)
_WATER = 0  # what the card's window and range make of 0 HU
_FLAT = 1e-6  # deviation below which a window has no contrast


class WindowedEmbedding(Parts):
    """A volume of which windows are encoded on demand, and the last ones held.

    Parameters
    ----------
    voxels
        (i, j, k) int16, in the card's intensity range.
    geometry
        Of the voxels.
    ground
        Value of nothing: what lies beyond the volume has it, and no more than it counts for mean and deviation.
    """

    def __init__(self, voxels: NDArray[np.int16], geometry: Geometry, ground: int) -> None:
        super().__init__(HELD)
        self.voxels, self._geometry, self.ground = voxels, geometry, ground
        self.lattice = Lattice(geometry)

    @property
    def geometry(self) -> Geometry:
        """Grid of the volume."""
        return self._geometry

    @property
    def nbytes(self) -> int:
        """Memory that it holds: the voxels, and the features of the windows that were looked at last."""
        return self.voxels.nbytes + super().nbytes

    def window(self, network: Network, origin: Ints) -> Features:
        """Return the features of the window whose first cube is ``origin``."""

        def read() -> Floats:
            cubes = self.lattice.read(self.voxels, origin, origin + network.side, fill=self.ground)
            return normalised(cubes, above=self.ground)

        return self.features(tuple(origin.tolist()), read, network)


class SamMed3DModel:
    """A ``Model`` of volumes; pictures are volumes of one plane.

    Parameters
    ----------
    card
        What there is to know about the model.
    network
        Encodes and decodes windows.
    """

    def __init__(self, card: ModelCard, network: Network) -> None:
        self._card = card
        self.network = network

    @property
    def card(self) -> ModelCard:
        """What there is to know about the model."""
        return self._card

    def embed(self, image: Image) -> WindowedEmbedding:
        """Take a volume in; see ``Model.embed``. Values are rounded to whole numbers.

        In training, mean and deviation of a window were those of its voxels above 0, in the file's own numbers: above
        water in CT, above the background in anything else. So CT has to say that it is.

        Raises
        ------
        ImageError
            If the image has another number of channels than the card says.
        """
        if len(image.channels) != self.card.channels:
            raise ImageError(got=f"an image of {len(image.channels)} channels", wanted=f"{self.card.channels}")
        values = image.array[0]
        voxels = np.empty_like(values, np.int16)
        for index in range(image.shape[2]):  # one plane at a time, to spare memory
            voxels[..., index] = np.clip(np.rint(values[..., index]), _WHOLE.min, _WHOLE.max)
        ground = _WATER if image.modality == "CT" else round(self.card.intensity_range[0])
        return WindowedEmbedding(read_only(voxels), image.geometry, ground)

    def decode(self, embedding: Embedding, prompts: Prompts, previous: Prediction | None = None) -> Prediction:
        """Return the mask of one object; see ``Model.decode``, ``clicks`` for prompts and ``search`` for windows.

        One mask: the published network has others, which were not trained. Nor was its estimate of IoU, so there is
        none: the score is nan, for unknown, and 0 for an empty mask.

        Raises
        ------
        PromptError
            If there is nothing positive to start from: only negative marks, and no previous prediction.
        """
        return self.decode_stepwise(embedding, prompts, previous, step=unheard)

    def decode_stepwise(
        self, embedding: Embedding, prompts: Prompts, previous: Prediction | None = None, *, step: Step
    ) -> Prediction:
        """Decode and tell of each window; see ``StepwiseModel.decode_stepwise``."""
        require_same_grid(embedding, prompts, previous)
        self.card.require_prompts(prompts)
        require_start(prompts, previous)
        known = cast("WindowedEmbedding", embedding)
        start = start_logits(prompts, previous)
        clicks = Clicks.of(prompts, start, known.lattice)
        on_object = (clicks.labels == POSITIVE).any() or start is None or (start > 0).any()
        if previous is not None and not on_object:  # an empty mask stays empty
            return Prediction(previous.logits[:1], previous.scores[:1], known.geometry)
        drawn = previous is None and start is not None
        route = Route.of(clicks, start, known.lattice, side=self.network.side, drawn=drawn)
        mosaic = Search(self.network, known, clicks, start, step).run(route)
        logits = np.full(known.geometry.shape, -SURE, np.float32) if start is None else np.array(start, np.float32)
        cells = mosaic.logits
        for window in mosaic.windows:
            known.lattice.write(cells, *window, logits)
        keep_within_boxes(logits, prompts)
        score = np.nan if (logits > 0).any() else 0.0
        return Prediction(logits[None], np.array([score], np.float32), known.geometry)

    def pack(self, embedding: Embedding) -> Mapping[str, NDArray[Any]]:
        """Return the voxels, and the value of nothing."""
        known = cast("WindowedEmbedding", embedding)
        return {_VOXELS: known.voxels, _GROUND: np.array([known.ground], np.int16)}

    def unpack(self, arrays: Mapping[str, NDArray[Any]], geometry: Geometry) -> WindowedEmbedding:
        """Return the embedding that ``pack`` took apart.

        Raises
        ------
        CorruptFileError
            If the arrays are not those of a volume on ``geometry``.
        """
        wanted = {_VOXELS: (geometry.shape, "int16"), _GROUND: ((1,), "int16")}
        found = {name: (array.shape, array.dtype.name) for name, array in arrays.items()}
        if found != wanted:
            raise CorruptFileError(got=f"an embedding of {found}", wanted=f"{wanted}")
        return WindowedEmbedding(read_only(arrays[_VOXELS]), geometry, int(arrays[_GROUND][0]))


def normalised(window: Floats, *, above: float) -> Floats:
    """Return a window with mean 0 and deviation 1 over the values ``above`` the ground; zeros if it has no contrast."""
    counted = window[window > above]
    counted = counted if counted.size else window
    deviation = float(counted.std())
    if deviation < _FLAT:
        return np.zeros_like(window)
    return np.asarray((window - counted.mean()) / deviation, np.float32)
