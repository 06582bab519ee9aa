"""From a plane to the square picture that a network was trained on.

Sizes, filters and constants are those of each family's own repository: a checkpoint works as well as it was trained
only on pictures that were prepared in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from samaritan.core.errors import UnknownNameError
from samaritan.core.image import Image
from samaritan.models.letterbox import Letterbox, Size

Floats = NDArray[np.float32]
Fit = Literal["pad", "stretch", "centre"]
Values = Literal["imagenet", "minmax", "signed"]
Filter = Literal["bilinear", "bicubic", "nearest", "area"]
Colours = Literal["rgb", "bgr"]

# Mean and standard deviation of ImageNet's red, green and blue, for values in [0, 255].
IMAGENET_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
IMAGENET_STD = np.array([58.395, 57.12, 57.375], np.float32)
_FILTERS = {
    "bilinear": Pillow.Resampling.BILINEAR,
    "bicubic": Pillow.Resampling.BICUBIC,
    "nearest": Pillow.Resampling.NEAREST,
}


@dataclass(frozen=True, slots=True)
class FrameSpec:
    """How a plane is prepared for a network.

    Parameters
    ----------
    side
        Pixels of the frame's sides.
    fit
        "pad": the longer side becomes ``side``, the rest at the right and the bottom is 0 after scaling.
        "stretch": both sides become ``side``, whatever the aspect.
        "centre": likewise, but a plane with both sides shorter than ``side`` lies in the middle as it is, and the rest
        is 0 after scaling.
    values
        "imagenet": ImageNet's mean taken off and divided by its standard deviation. "minmax": the picture's lowest
        value becomes 0 and its highest 1. "signed": 0 becomes -1 and 255 becomes 1.
    filter
        "bilinear", "bicubic": interpolates, and where the plane shrinks weighs all pixels that become one.
        "nearest": takes the pixel at the place, and leaves others out where the plane shrinks.
        "area": the mean over what each pixel of the frame covers (OpenCV's INTER_AREA).
    whole
        Whether values are rounded to whole ones after resizing: yes where pictures were resized as pictures, no where
        that was done to tensors of floats.
    colours
        In what order the network is given red, green and blue. ImageNet's mean and deviation stay in theirs.

    Raises
    ------
    UnknownNameError
        If one of the names is none of these.
    """

    side: int
    fit: Fit = "pad"
    values: Values = "imagenet"
    filter: Filter = "bilinear"
    whole: bool = True
    colours: Colours = "rgb"

    def __post_init__(self) -> None:
        for name, known in (("fit", Fit), ("values", Values), ("filter", Filter), ("colours", Colours)):
            if getattr(self, name) not in get_args(known):
                raise UnknownNameError.of(str(getattr(self, name)), kind=f"{name} of a frame", known=get_args(known))

    def letterbox(self, plane: Size) -> Letterbox:
        """Return how a plane of ``plane`` pixels (along i and j) lies in the frame."""
        if self.fit == "pad":
            return Letterbox.fit(plane, side=self.side, multiple=self.side)
        square = (self.side, self.side)
        if self.fit == "centre" and max(plane) < self.side:
            along_i, along_j = (((self.side - n) // 2, (self.side - n + 1) // 2) for n in plane)
            return Letterbox(plane, square, square, (along_i, along_j))
        return Letterbox(plane, square, square)

    def picture(self, image: Image) -> Floats:
        """Return the frame's picture, (1, 3, side, side), of one plane with three channels in [0, 255].

        Values are rounded to whole ones before resizing, and after it if ``whole``, as in the pictures that these
        networks learnt from.
        """
        plane = np.clip(np.rint(image.array[..., 0]), 0, 255).astype(np.uint8).T  # (rows, columns, 3)
        if self.colours == "bgr":
            plane = plane[..., ::-1]
        letterbox = self.letterbox((plane.shape[1], plane.shape[0]))
        corners = letterbox.to_frame(np.array([(0, 0), letterbox.plane]) - 0.5)
        (left, above), (right, below) = np.rint(corners).astype(np.int64).tolist()
        pixels = self._resized(plane, (right - left, below - above))
        if self.values == "imagenet":
            scaled = (pixels - IMAGENET_MEAN) / IMAGENET_STD
        elif self.values == "signed":
            scaled = pixels / np.float32(127.5) - 1
        else:
            lowest, highest = pixels.min(), pixels.max()
            scaled = (pixels - lowest) / max(highest - lowest, np.float32(1e-8))
        frame = np.zeros((1, 3, self.side, self.side), np.float32)
        frame[0, :, above:below, left:right] = scaled.transpose(2, 0, 1)
        return frame

    def _resized(self, plane: NDArray[np.uint8], size: Size) -> Floats:
        """Return (rows, columns, 3) at another ``size`` (columns, rows)."""
        if self.filter == "area":
            means = _averaged(_averaged(plane, size[1]).swapaxes(0, 1), size[0]).swapaxes(0, 1)
            return np.floor(means + np.float32(0.5)) if self.whole else means  # halves upwards, as OpenCV
        resampling = _FILTERS[self.filter]
        if self.whole:
            return np.asarray(Pillow.fromarray(np.ascontiguousarray(plane)).resize(size, resampling), np.float32)
        channels = np.ascontiguousarray(plane.transpose(2, 0, 1), np.float32)
        resized = [np.asarray(Pillow.fromarray(channel).resize(size, resampling)) for channel in channels]
        return np.stack(resized, axis=-1)


def _averaged(lines: NDArray[Any], count: int) -> Floats:
    """Return the means of ``lines`` (n, ...) over ``count`` equal parts of their length, which may cut lines."""
    edges, first = np.linspace(0, len(lines), count + 1), np.arange(len(lines))
    shared = np.minimum.outer(edges[1:], first + 1) - np.maximum.outer(edges[:-1], first)
    shares = (np.maximum(shared, 0) * (count / len(lines))).astype(np.float32)
    return np.tensordot(shares, lines.astype(np.float32), axes=1)
