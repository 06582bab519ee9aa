"""From an image plane into a network's frame and back: the one place where planes are resized, padded, transposed.

Three frames meet here, and a point is at the same place of the picture in all of them:

* **voxel indices** ``(i, j)`` of the plane, voxel *centres* at whole numbers;
* **edge coordinates** ``(x, y)`` of the plane: ``x = i + 0.5``, so 0 is the left edge of the first pixel and
  ``width`` the right edge of the last;
* **frame coordinates**: edge coordinates times ``scale``; the frame's arrays are (rows, columns), so a plane's
  ``i`` becomes the column and its ``j`` the row.

The plane keeps its aspect to within a pixel: each side is scaled by exactly the ratio of whole numbers of pixels that
it has afterwards, so that edges meet edges and nothing is off by a fraction of a pixel.

A plane may have a **margin**: the frame then shows more than there is an array of, and nobody has to make a larger one.
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
Margin = tuple[Size, Size]
_NO_MARGIN: Margin = ((0, 0), (0, 0))


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How a plane of ``plane`` pixels and the margin around it lie in the upper left of a network's frame.

    Parameters
    ----------
    plane
        Width (along i) and height (along j) of the image plane.
    content
        Width and height of the plane when it is resized together with its margin.
    frame
        Width and height of the frame; what ``content`` leaves over at the right and the bottom is padding.
    margin
        Pixels, of the plane's size, that are missing before and after the plane: along i, and along j.
    """

    plane: Size
    content: Size
    frame: Size
    margin: Margin = _NO_MARGIN

    @classmethod
    def fit(cls, plane: Size, *, side: int, multiple: int, margin: Margin = _NO_MARGIN) -> Self:
        """Return the letterbox that brings the longer side of ``plane`` and its margin to ``side`` pixels.

        The frame is the content rounded up to a ``multiple`` of pixels; ``multiple=side`` gives a square.
        """
        whole = _whole(plane, margin)
        longest = max(whole)
        # In whole numbers, to nearest, so that no two machines round differently; nothing may shrink to nothing.
        width, height = (max(1, (2 * n * side + longest) // (2 * longest)) for n in whole)
        frame = (-(-width // multiple) * multiple, -(-height // multiple) * multiple)
        return cls(plane, (width, height), frame, margin)

    @property
    def whole(self) -> Size:
        """Width and height of the plane with its margin."""
        return _whole(self.plane, self.margin)

    @property
    def scale(self) -> tuple[float, float]:
        """Frame pixels per plane pixel along x and y."""
        return self.content[0] / self.whole[0], self.content[1] / self.whole[1]

    @property
    def start(self) -> Size:
        """Where the plane begins in ``whole``."""
        return self.margin[0][0], self.margin[1][0]

    # -- positions ----------------------------------------------------------------------------------------------

    def to_frame(self, indices: ArrayLike) -> NDArray[np.float64]:
        """Map voxel indices (..., 2) of the plane to frame coordinates (..., 2), x and y."""
        return (np.asarray(indices, np.float64) + self.start + 0.5) * self.scale

    # -- arrays -------------------------------------------------------------------------------------------------

    def image_to_frame(self, array: NDArray[Any], *, fill: float | None = 0.0) -> Floats:
        """Resize and pad channels of the plane, (c, i, j, 1), to the frame, (c, rows, columns) float32.

        Bilinear, averaging when it shrinks. Margin and padding are ``fill``. With None, what lies in the margin next to
        the plane is as the plane's edges, so that nothing else is dragged into the plane; the rest is 0.
        """
        out = np.full((array.shape[0], *self.frame[::-1]), fill or 0.0, np.float32)
        x, y = self._reached(0), self._reached(1)
        for at, channel in enumerate(array[..., 0]):
            # Grey images reach three-channel models as one plane with stride 0: resize it once.
            repeated = at > 0 and array.strides[0] == 0
            # One side at a time: no margin is ever as long and as wide as the plane.
            drawn = out[0, y.pixels, x.pixels] if repeated else x.resize(y.resize(channel, fill).T, fill)
            out[at, y.pixels, x.pixels] = drawn
        return out

    def voxels_to_frame(self, voxels: NDArray[np.integer[Any]]) -> Bools:
        """Return the frame's pixels (rows, columns) that ``voxels``, (n, 2) indices of the plane, touch."""
        touched = np.zeros(self.frame[::-1], np.bool_)
        x, y = np.floor(self.to_frame(voxels)).astype(np.int64).T
        touched[y, x] = True
        if max(self.scale) > 1:  # a voxel covers several pixels: ask of each pixel which voxel it lies in
            whole = np.zeros(self.whole[::-1], np.bool_)
            whole[tuple((voxels + self.start).T[::-1])] = True
            column, row = (
                np.minimum(((np.arange(n) + 0.5) / s).astype(np.int64), most - 1)
                for n, s, most in zip(self.content, self.scale, self.whole, strict=True)
            )
            touched[: self.content[1], : self.content[0]] |= whole[row[:, None], column[None, :]]
        return touched

    def logits_to_frame(self, logits: Floats, *, side: int) -> Floats:
        """Bring logits (i, j) of the plane onto a grid of ``side`` x ``side`` cells over a square frame.

        What is not of the plane is as its lowest. The plane may end within a cell. Cells lie where they lie all the
        same, for a decoder looks at them together with the features below: those whose centres are on the plane are of
        it, and the last may reach beyond.
        """
        beside, frame = float(logits.min()), self.frame[0]
        cells = [max(1, (2 * n * side + frame) // (2 * frame)) for n in self.content]
        # Where the last of them ends, in pixels of plane and margin. One division: what fits ends exactly there.
        sizes = zip(cells, self.whole, self.content, strict=True)
        ends = [n * frame * whole / (side * content) for n, whole, content in sizes]
        lines = np.pad(logits, self.margin, constant_values=beside)
        beyond = [max(0, math.ceil(end) - n) for end, n in zip(ends, lines.shape, strict=True)]
        lines = np.pad(lines, [(0, n) for n in beyond], "edge")
        grid = np.full((side, side), beside, np.float32)
        # j along the rows of what is resized: it is turned when it is small.
        grid[: cells[1], : cells[0]] = _resize(lines, (cells[1], cells[0]), box=(0.0, 0.0, ends[1], ends[0])).T
        return grid

    def logits_from_frame(self, logits: Floats) -> Floats:
        """Bring logits over the whole frame, (m, rows, columns) at any resolution, onto the plane: (m, i, j, 1)."""
        rows, columns = logits.shape[1:]
        width, height = self.content[0] * columns / self.frame[0], self.content[1] * rows / self.frame[1]
        # Without what lies on padding alone: interpolation would drag it over the image's right and lower border.
        on_image = logits[:, : math.ceil(height), : math.ceil(width)]
        (x0, x1), (y0, y1) = (
            (start * n / whole, (start + size) * n / whole)
            for start, size, whole, n in zip(self.start, self.plane, self.whole, (width, height), strict=True)
        )
        size, small = self.plane[::-1], on_image.transpose(0, 2, 1)  # while they are small
        if size[0] > y1 - y0 and size[1] > x1 - x0:
            return _enlarge(small, size, box=(y0, x0, y1, x1))[..., None]
        return np.stack([_resize(mask, size, box=(y0, x0, y1, x1)) for mask in small])[..., None]

    def _reached(self, axis: int) -> _Span:
        """Return what of the frame the plane has a part in, along x or y."""
        before, pixels, whole, content = self.start[axis], self.plane[axis], self.whole[axis], self.content[axis]
        # The filter's reach in frame pixels, twice: pixels farther away see nothing of the plane, and the pixels that
        # do see it see as much of the margin as they would of all of it.
        blur = 2 * max(1.0, self.scale[axis])
        first = max(0, math.floor(before * content / whole - blur))
        last = min(content, math.ceil((before + pixels) * content / whole + blur))
        start, stop = first * whole // content, -(-last * whole // content)
        return _Span(
            slice(first, last),
            (before - start, stop - before - pixels),
            (first * whole / content - start, last * whole / content - start),
        )


@dataclass(frozen=True, slots=True)
class _Span:
    """Along one side, the ``pixels`` of the frame that a plane has a part in, and what they show.

    That is the plane and ``margin`` pixels before and after it, from ``box[0]`` to ``box[1]`` (edge coordinates).
    """

    pixels: slice
    margin: Size
    box: tuple[float, float]

    def resize(self, lines: NDArray[Any], fill: float | None) -> Floats:
        """Resize (n, pixels of the plane) to (n, pixels of the frame); the margin is ``fill`` or, if None, the ends."""
        around = ((0, 0), self.margin)
        if not any(self.margin):  # padding by nothing would copy all the same
            lines = np.asarray(lines, np.float32)
        elif fill is None:
            lines = np.pad(lines, around, "edge")
        else:
            lines = np.pad(np.asarray(lines, np.float32), around, constant_values=fill)
        size = (self.pixels.stop - self.pixels.start, len(lines))
        return _resize(lines, size, box=(self.box[0], 0.0, self.box[1], float(len(lines))))


def _whole(plane: Size, margin: Margin) -> Size:
    return plane[0] + sum(margin[0]), plane[1] + sum(margin[1])


def _resize(plane: NDArray[Any], size: Size, *, box: tuple[float, float, float, float]) -> Floats:
    """Resize the part of (rows, columns) within ``box`` (edge coordinates) to ``size`` (columns, rows)."""
    source = np.ascontiguousarray(plane, np.float32)
    if source.shape == size[::-1] and box == (0.0, 0.0, *map(float, size)):
        return source
    # Pillow widens the triangle filter when it shrinks (no aliasing) and takes a box of fractional pixels.
    resized = Pillow.fromarray(source).resize(size, Pillow.Resampling.BILINEAR, box=box)
    return np.asarray(resized, np.float32)


def _enlarge(planes: Floats, size: Size, *, box: tuple[float, float, float, float]) -> Floats:
    """Resize (n, rows, columns) as ``_resize`` does, where both sides grow: in half the time.

    Each pixel lies between two along either side, so that this is some sums of whole arrays; Pillow goes from pixel to
    pixel, in double precision.
    """
    for axis, count, start, stop in ((2, size[0], box[0], box[2]), (1, size[1], box[1], box[3])):
        at = start + (np.arange(count) + 0.5) * ((stop - start) / count) - 0.5
        before = np.floor(at).astype(np.int64)
        share = np.expand_dims((at - before).astype(np.float32), tuple(range(1, planes.ndim - axis)))
        last = planes.shape[axis] - 1
        resized = np.take(planes, np.clip(before, 0, last), axis=axis)
        step = np.take(planes, np.clip(before + 1, 0, last), axis=axis)
        step -= resized
        step *= share
        resized += step
        planes = resized
    return planes
