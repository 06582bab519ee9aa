"""What ``PlanarModel`` asks of a network, whichever runtime runs it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from samaritan.core.errors import CorruptFileError
from samaritan.models.runtimes import Runner

Floats = NDArray[np.float32]
Features = Mapping[str, Any]  # the encoder's outputs by name: arrays, or tensors on the network's device

# Labels of tokens.
NEGATIVE, POSITIVE, BOX_START, BOX_STOP, PAD = 0, 1, 2, 3, -1

# That objects which are decoded at once may take. With more a CPU gains nothing: PyTorch took half as long again for
# eight of 256 pixels at once as for eight alone, ONNX Runtime and OpenVINO for eight hardly less than for twos.
MOST_BYTES = 128 << 20
_BYTES_A_PIXEL = 1024  # of a mask that is decoded: all maps on the way to it, of the hungriest runtime


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


@dataclass(frozen=True, slots=True)
class DecoderSpec:
    """What a network's decoder is given.

    Parameters
    ----------
    shapes
        Of one picture's features, by name, in the encoder's order.
    mask_side
        Sides of the mask that it takes and gives, in pixels.
    pads_boxes
        Whether it expects a token that says nothing beside a box too, as SAM 2 does, unlike its predecessor.
    """

    shapes: Mapping[str, tuple[int, ...]]
    mask_side: int
    pads_boxes: bool = False

    def count(self, tokens: Tokens) -> int:
        """Return how many tokens the decoder is given in the end."""
        return len(self._complete(tokens).labels)

    def inputs(self, asked: Sequence[Tokens]) -> dict[str, NDArray[Any]]:
        """Return what is asked about p objects, with as many tokens (n) in the end, as arrays.

        These are ``coords`` (p, n, 2), ``labels`` (p, n), ``mask`` (p, 1, mask_side, mask_side) and ``has_mask`` (p,)
        in {0, 1}.
        """
        asked = [self._complete(tokens) for tokens in asked]
        mask = np.zeros((len(asked), 1, self.mask_side, self.mask_side), np.float32)
        for at, tokens in enumerate(asked):
            if tokens.mask is not None:
                mask[at, 0] = tokens.mask
        return {
            "coords": np.stack([tokens.coords for tokens in asked]),
            "labels": np.stack([tokens.labels for tokens in asked]),
            "mask": mask,
            "has_mask": np.array([tokens.mask is not None for tokens in asked], np.float32),
        }

    def _complete(self, tokens: Tokens) -> Tokens:
        return padded(tokens) if self.pads_boxes else tokens

    def objects_in(self, nbytes: int) -> int:
        """Return how many objects are decoded at once in so much memory: the smaller the masks, the more."""
        return max(1, nbytes // (self.mask_side**2 * _BYTES_A_PIXEL))


def padded(tokens: Tokens) -> Tokens:
    """Return ``tokens`` with one that says nothing, unless there is one."""
    if PAD in tokens.labels:
        return tokens
    coords = np.concatenate([tokens.coords, np.zeros((1, 2), np.float32)])
    return Tokens(coords, np.append(tokens.labels, np.int64(PAD)), tokens.mask)


class Network(Protocol):
    """An encoder and a decoder, with their weights, on a device. It may be called by several threads."""

    @property
    def spec(self) -> DecoderSpec:
        """What the decoder is given."""
        ...

    @property
    def runners(self) -> Mapping[str, Runner]:
        """What runs its ``encoder`` and its ``decoder``."""
        ...

    @property
    def most_pictures(self) -> int:
        """Pictures that are encoded at once, as there is room now; 1 where that does not pay."""
        ...

    @property
    def most_objects(self) -> int:
        """Objects that are decoded at once, where that pays; 1 where it does not."""
        ...

    def encode(self, picture: Floats) -> Features:
        """Encode a frame's picture, (1, 3, side, side)."""
        ...

    def encode_all(self, pictures: Iterable[Floats]) -> Iterator[Features]:
        """Encode many, ``most_pictures`` at once, and let go of each when it is done."""
        ...

    def decode(self, features: Features, tokens: Tokens) -> tuple[Floats, Floats]:
        """Return logits (m, rows, columns) over the whole frame and their predicted IoU, (m,).

        Mask 0 answers prompts that leave no doubt; the others are a whole, its parts and theirs. A network without such
        others gives one.
        """
        ...

    def decode_batch(self, features: Features, asked: Sequence[Tokens]) -> tuple[Floats, Floats]:
        """Return logits (p, m, rows, columns) and predicted IoU (p, m) for p objects in one picture.

        All have as many tokens by ``spec.count``; p is up to ``most_objects``.
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
