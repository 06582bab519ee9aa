"""What ``PlanarModel`` asks of a network, whichever runtime runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from samaritan.core.errors import CorruptFileError

Floats = NDArray[np.float32]
Features = Mapping[str, Any]  # the encoder's outputs by name: arrays, or tensors on the network's device

# Labels of tokens.
NEGATIVE, POSITIVE, BOX_START, BOX_STOP, PAD = 0, 1, 2, 3, -1


@dataclass(frozen=True, slots=True)
class Tokens:
    """What is asked of a network about one object.

    Parameters
    ----------
    coords
        (n, 2) float32, x and y in the frame, in edge coordinates: 0 is the left or upper edge, ``side`` the other one.
    labels
        (n,) int64: 1 a point on the object, 0 beside it, 2 and 3 the upper left and the lower right of its box, -1 a
        token that says nothing, which networks of this shape expect where there is no box.
    mask
        (mask_side, mask_side) float32, logits of an earlier mask over the whole frame, or None.
    """

    coords: Floats
    labels: NDArray[np.int64]
    mask: Floats | None = None


class Network(Protocol):
    """An encoder and a decoder, with their weights, on a device. It may be called by several threads."""

    @property
    def mask_side(self) -> int:
        """Sides of the mask that the decoder takes and gives, in pixels."""
        ...

    def encode(self, picture: Floats) -> Features:
        """Encode a frame's picture, (1, 3, side, side)."""
        ...

    def decode(self, features: Features, tokens: Tokens) -> tuple[Floats, Floats]:
        """Return logits (m, rows, columns) over the whole frame and their predicted IoU, (m,).

        Mask 0 answers prompts that leave no doubt; the others are a whole, its parts and theirs. A network without such
        others gives one.
        """
        ...

    def to_arrays(self, features: Features) -> dict[str, NDArray[Any]]:
        """Return the features as arrays, to be kept."""
        ...

    def from_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> Features:
        """Return the features that ``to_arrays`` took apart.

        Raises
        ------
        CorruptFileError
            If these are not the features of this network.
        """
        ...


def require_features(arrays: Mapping[str, NDArray[Any]], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ``CorruptFileError`` unless ``arrays`` are float32 of these ``shapes``."""
    found = {name: (array.shape, array.dtype.name) for name, array in arrays.items()}
    wanted = {name: (tuple(shape), "float32") for name, shape in shapes.items()}
    if found != wanted:
        raise CorruptFileError(got=f"an embedding of {found}", wanted=str(wanted))
