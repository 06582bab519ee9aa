"""From an image plane into a network's frame and back: the one place where planes are resized, padded, transposed.

Three frames meet here, and a point is at the same place of the picture in all of them:

* **voxel indices** ``(i, j)`` of the plane, voxel *centres* at whole numbers;
* **edge coordinates** ``(x, y)`` of the plane: ``x = i + 0.5``, so 0 is the left edge of the first pixel and
  ``width`` the right edge of the last;
* **frame coordinates**: edge coordinates times ``scale``; the frame's arrays are (rows, columns), so a plane's
  ``i`` becomes the column and its ``j`` the row.

The plane keeps its aspect to within a pixel: each side is scaled by exactly the ratio of whole numbers of pixels that
it has afterwards, so that edges meet edges and nothing is off by a fraction of a pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image as Pillow

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How a plane of ``plane`` pixels lies in the upper left of a network's frame.

    Parameters
    ----------
    plane
        Width (along i) and height (along j) of the image plane.
    content
        Width and height of the resized plane.
    frame
        Width and height of the frame; what ``content`` leaves over at the right and the bottom is padding.
    """

    plane: Size
    content: Size
    frame: Size

    @classmethod
    def fit(cls, plane: Size, *, side: int, multiple: int) -> Self:
        """Return the letterbox that brings the longer side of ``plane`` to ``side`` pixels.

        The frame is the content rounded up to a ``multiple`` of pixels; ``multiple=side`` gives a square.
        """
        longest = max(plane)
        # In whole numbers, to nearest, so that no two machines round differently; nothing may shrink to nothing.
        width, height = (max(1, (2 * n * side + longest) // (2 * longest)) for n in plane)
        frame = (-(-width // multiple) * multiple, -(-height // multiple) * multiple)
        return cls(plane, (width, height), frame)

    @property
    def scale(self) -> tuple[float, float]:
        """Frame pixels per plane pixel along x and y."""
        return self.content[0] / self.plane[0], self.content[1] / self.plane[1]

    # -- positions ----------------------------------------------------------------------------------------------

    def to_frame(self, indices: ArrayLike) -> NDArray[np.float64]:
        """Map voxel indices (..., 2) of the plane to frame coordinates (..., 2), x and y."""
        return (np.asarray(indices, np.float64) + 0.5) * self.scale

    def from_frame(self, points: ArrayLike) -> NDArray[np.float64]:
        """Map frame coordinates (..., 2), x and y, to voxel indices (..., 2) of the plane."""
        return np.asarray(points, np.float64) / self.scale - 0.5

    # -- arrays -------------------------------------------------------------------------------------------------

    def image_to_frame(self, array: NDArray[Any], *, fill: float = 0.0) -> Floats:
        """Resize and pad channels of the plane, (c, i, j, 1), to the frame, (c, rows, columns) float32.

        Bilinear, averaging when it shrinks; padding is ``fill``.
        """
        out = np.full((array.shape[0], self.frame[1], self.frame[0]), fill, np.float32)
        columns, rows = self.content
        for at, channel in enumerate(array[..., 0]):
            # Grey images reach three-channel models as one plane with stride 0: resize it once.
            repeated = at > 0 and array.strides[0] == 0
            out[at, :rows, :columns] = out[0, :rows, :columns] if repeated else _resize(channel.T, self.content)
        return out

    def voxels_to_frame(self, voxels: NDArray[np.integer[Any]]) -> Bools:
        """Return the frame's pixels (rows, columns) that ``voxels``, (n, 2) indices of the plane, touch."""
        touched = np.zeros(self.frame[::-1], np.bool_)
        x, y = np.floor(self.to_frame(voxels)).astype(np.int64).T
        touched[y, x] = True
        if max(self.scale) > 1:  # a voxel covers several pixels: ask of each pixel which voxel it lies in
            plane = np.zeros(self.plane[::-1], np.bool_)
            plane[voxels[:, 1], voxels[:, 0]] = True
            column, row = (
                np.minimum(((np.arange(n) + 0.5) / s).astype(np.int64), most - 1)
                for n, s, most in zip(self.content, self.scale, self.plane, strict=True)
            )
            touched[: self.content[1], : self.content[0]] |= plane[row[:, None], column[None, :]]
        return touched

    def logits_from_frame(self, logits: Floats) -> Floats:
        """Bring logits over the whole frame, (m, rows, columns) at any resolution, onto the plane: (m, i, j, 1)."""
        rows, columns = logits.shape[1:]
        width, height = self.content[0] * columns / self.frame[0], self.content[1] * rows / self.frame[1]
        # Without what lies on padding alone: interpolation would drag it over the image's right and lower border.
        on_image = logits[:, : math.ceil(height), : math.ceil(width)]
        resized = [_resize(mask, self.plane, box=(0.0, 0.0, width, height)) for mask in on_image]
        return np.stack([mask.T for mask in resized])[..., None]


def _resize(plane: NDArray[Any], size: Size, *, box: tuple[float, float, float, float] | None = None) -> Floats:
    """Resize (rows, columns) to ``size`` (columns, rows): the part within ``box`` (edge coordinates), or all."""
    source = np.ascontiguousarray(plane, np.float32)
    whole = box is None or box == (0.0, 0.0, *map(float, source.shape[::-1]))
    if whole and source.shape == size[::-1]:
        return source
    # Pillow widens the triangle filter when it shrinks (no aliasing) and takes a box of fractional pixels.
    resized = Pillow.fromarray(source).resize(size, Pillow.Resampling.BILINEAR, box=box)
    return np.asarray(resized, np.float32)
