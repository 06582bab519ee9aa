"""From a plane to the square picture that a network was trained on.

Sizes, filters and constants are those of each family's own repository: a checkpoint works as well as it was trained
only on pictures that were prepared in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from samaritan.core.image import Image
from samaritan.models.letterbox import Letterbox, Size

Floats = NDArray[np.float32]
Fit = Literal["pad", "stretch"]
Values = Literal["imagenet", "minmax"]
Filter = Literal["bilinear", "bicubic", "nearest"]

# Mean and standard deviation of ImageNet's red, green and blue, for values in [0, 255].
_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
_STD = np.array([58.395, 57.12, 57.375], np.float32)
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
    values
        "imagenet": ImageNet's mean taken off and divided by its standard deviation. "minmax": the picture's lowest
        value becomes 0 and its highest 1.
    filter
        With which pixels are interpolated, averaged when the plane shrinks.
    whole
        Whether values are rounded to whole ones after resizing: yes where pictures were resized as pictures, no where
        that was done to tensors of floats.
    """

    side: int
    fit: Fit = "pad"
    values: Values = "imagenet"
    filter: Filter = "bilinear"
    whole: bool = True

    def letterbox(self, plane: Size) -> Letterbox:
        """Return how a plane of ``plane`` pixels (along i and j) lies in the frame."""
        if self.fit == "stretch":
            return Letterbox(plane, (self.side, self.side), (self.side, self.side))
        return Letterbox.fit(plane, side=self.side, multiple=self.side)

    def picture(self, image: Image) -> Floats:
        """Return the frame's picture, (1, 3, side, side), of one plane with three channels in [0, 255].

        Values are rounded to whole ones before resizing, and after it if ``whole``, as in the pictures that these
        networks learnt from.
        """
        plane = np.rint(image.array[..., 0]).astype(np.uint8).T  # (rows, columns, 3)
        content = self.letterbox((plane.shape[1], plane.shape[0])).content
        pixels = self._resized(plane, content)
        if self.values == "imagenet":
            scaled = (pixels - _MEAN) / _STD
        else:
            lowest, highest = pixels.min(), pixels.max()
            scaled = (pixels - lowest) / max(highest - lowest, np.float32(1e-8))
        frame = np.zeros((1, 3, self.side, self.side), np.float32)
        frame[0, :, : content[1], : content[0]] = scaled.transpose(2, 0, 1)
        return frame

    def _resized(self, plane: NDArray[np.uint8], content: Size) -> Floats:
        """Return (rows, columns, 3) at the size of ``content`` (columns, rows)."""
        resampling = _FILTERS[self.filter]
        if self.whole:
            return np.asarray(Pillow.fromarray(np.ascontiguousarray(plane)).resize(content, resampling), np.float32)
        channels = np.ascontiguousarray(plane.transpose(2, 0, 1), np.float32)
        resized = [np.asarray(Pillow.fromarray(channel).resize(content, resampling)) for channel in channels]
        return np.stack(resized, axis=-1)
