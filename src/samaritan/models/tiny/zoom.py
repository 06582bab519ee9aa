"""The part of a plane around an object, as a small plane of its own: every object is seen at about the same scale.

A window is square and may reach beyond the plane. Arrays and prompts are of its *part*, what it has in common with the
plane, in that part's own indices; what it shows around it is the margin of its ``Letterbox`` and is never made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from samaritan.core.geometry import Geometry
from samaritan.core.prompts import Box, Lasso, MaskPrompt, Point, Prompt, Prompts, Scribble, extremes
from samaritan.models.letterbox import Letterbox
from samaritan.models.prompt_areas import bounds, inside

Floats = NDArray[np.float32]
Scalar = TypeVar("Scalar", bound=np.generic)

FRAME_SIDE = 192  # pixels at which the network sees a window
_FILLED = (0.5, 99.5)  # percentiles of a window's values that become 0 and 255
_LEAST_SPAN = 40.0  # levels
_SAMPLED = 20_000  # pixels are enough to find them
_SIDE_OVER_BOX = 1.7  # of the window, over the longer side of the box


@dataclass(frozen=True, slots=True)
class Zoom:
    """A square window of ``side`` pixels, from ``start`` (i, j) of the plane; it may reach beyond the plane."""

    start: tuple[int, int]
    side: int

    @classmethod
    def around(cls, box: NDArray[np.float64], prompts: Prompts, *, least: float = 0.0) -> Zoom:
        """Return the window around ``box``, ((i0, j0), (i1, j1)) half-open, and all prompts but negative marks.

        Its side is at least ``least`` pixels.
        """
        centre = box.mean(axis=0)
        half = max(least, _SIDE_OVER_BOX * float((box[1] - box[0]).max())) / 2
        for corner in _corners(prompts):
            half = max(half, float(np.abs(corner - centre).max()) + 1)
        side = int(np.ceil(2 * half))
        i, j = np.floor(centre - side / 2).astype(int)
        return cls((int(i), int(j)), side)

    def letterbox(self, shape: tuple[int, ...], *, side: int, multiple: int) -> Letterbox:
        """Return how the part of a plane of ``shape``, (i, j, ...), lies in a frame of ``side`` pixels."""
        i, j = self._part(shape)
        margin = tuple((p.start - a, a + self.side - p.stop) for a, p in zip(self.start, (i, j), strict=True))
        plane = (i.stop - i.start, j.stop - j.start)
        return Letterbox.fit(plane, side=side, multiple=multiple, margin=(margin[0], margin[1]))

    def crop(self, array: NDArray[Scalar]) -> NDArray[Scalar]:
        """Return the part (c, i, j, 1) of a plane (c, i, j, 1), not copied."""
        return array[(slice(None), *self._part(array.shape[1:]))]

    def paste(self, part: Floats, shape: tuple[int, int], *, fill: float) -> Floats:
        """Return a part (c, i, j, 1) at its place in a plane of ``shape``, (c, i, j, 1), and ``fill`` around it.

        A part that is all of the plane is returned as it is.
        """
        if part.shape[1:3] == shape:
            return part
        out = np.full((part.shape[0], *shape, 1), fill, np.float32)
        out[(slice(None), *self._part(shape))] = part
        return out

    def seen(self, plane: NDArray[np.uint8], letterbox: Letterbox) -> Floats:
        """Return the window of (c, i, j, 1) as the network sees it: (c, rows, columns), its greys stretched.

        Where there is no plane it is black.
        """
        # The plane's edges are drawn out and blackened afterwards: interpolation must not drag black into the plane.
        frame = letterbox.image_to_frame(self.crop(plane), fill=None)
        valid = np.zeros(frame.shape[1:], np.bool_)
        columns, rows = (
            slice(round(start * scale), max(round((start + n) * scale), round(start * scale) + 1))
            for start, n, scale in zip(letterbox.start, letterbox.plane, letterbox.scale, strict=True)
        )
        valid[rows, columns] = True
        last = stretched(np.moveaxis(frame, 0, -1), valid=valid)
        last[~valid] = 0.0
        return np.moveaxis(last, -1, 0)

    def cut_off(self, logits: Floats, shape: tuple[int, ...]) -> float:
        """Return the share, 0 to 1, of the window's border within a plane of ``shape`` that a mask covers.

        The mask is given as the logits (i, j) of the part.
        """
        edges = []
        for axis, part in enumerate(self._part(shape)):
            along = np.moveaxis(logits, axis, 0)
            edges += [along[0]] if part.start > 0 else []
            edges += [along[-1]] if part.stop < shape[axis] else []
        return float(np.mean(np.concatenate(edges) > 0)) if edges else 0.0

    def origin(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return the pixel (i, j) of a plane of ``shape``, (i, j, ...), that the part begins with."""
        i, j = self._part(shape)
        return i.start, j.start

    def prompts(self, prompts: Prompts) -> Prompts:
        """Return the prompts in the part's own indices, without negative marks outside it: nothing is found there.

        Of a negative lasso, its pixels in the part are left, as a negative scribble.
        """
        shape = prompts.geometry.shape[:2]
        kept = (self._kept(item, shape) for item in prompts.items)
        i, j = self._part(shape)
        moved = tuple(self._moved(item, shape) for item in kept if item is not None)
        return Prompts(Geometry.picture(i.stop - i.start, j.stop - j.start), moved)

    def _kept(self, item: Prompt, shape: tuple[int, int]) -> Prompt | None:
        """Return what of an item lies in the window, in the plane's indices; all that is not negative does."""
        if not isinstance(item, Point | Scribble | Lasso) or item.positive:
            return item
        if isinstance(item, Point):
            return item if self._holds(np.array([item.voxel])).all() else None
        voxels = item.voxels if isinstance(item, Scribble) else np.argwhere(inside(item, shape)[..., None])
        voxels = voxels[self._holds(voxels)]
        return Scribble(voxels, positive=False) if len(voxels) else None

    def _moved(self, item: Prompt, shape: tuple[int, int]) -> Prompt:
        offset = np.array((*self.origin(shape), 0))
        if isinstance(item, Point):
            i, j, k = item.index - offset
            return replace(item, index=(float(i), float(j), float(k)))
        if isinstance(item, Box):
            (i0, j0, k0), (i1, j1, k1) = item.start - offset, item.stop - offset
            return Box((int(i0), int(j0), int(k0)), (int(i1), int(j1), int(k1)))
        if isinstance(item, Scribble):
            return replace(item, voxels=item.voxels - offset)
        if isinstance(item, Lasso):
            return replace(item, vertices=item.vertices - offset)
        if isinstance(item, MaskPrompt):
            return MaskPrompt(self.crop(item.mask[None])[0])
        return item

    def _holds(self, voxels: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell which voxels (n, 3) of the plane lie in the window."""
        places = voxels[:, :2] - self.start
        return np.asarray(((places >= 0) & (places < self.side)).all(axis=1))

    def _part(self, shape: tuple[int, ...]) -> tuple[slice, slice]:
        """Return what the window has in common with a plane of ``shape``, (i, j, ...)."""
        i, j = (slice(max(0, a), min(n, a + self.side)) for a, n in zip(self.start, shape, strict=False))
        return i, j


def stretched(image: Floats, *, valid: NDArray[np.bool_] | None = None) -> Floats:
    """Return an image with values in [0, 255] scaled so that its own greys, or colours, fill that range.

    All channels alike, so colours keep their hue. A window on something faint is as clear as one on something bright;
    what spans fewer than ``_LEAST_SPAN`` levels is noise more than contrast and is stretched as if it spanned those.
    ``valid`` (of the image's shape without channels, which come last) says what is not padding.
    """
    seen = image if valid is None else image[valid]
    if not seen.size:
        return image
    low, high = np.percentile(seen[:: max(1, len(seen) // _SAMPLED)], _FILLED)
    middle, span = (low + high) / 2, max(float(high - low), _LEAST_SPAN)
    scaled = (image - np.float32(middle)) * np.float32(255.0 / span) + np.float32(127.5)
    return np.clip(scaled, 0.0, 255.0, out=np.asarray(scaled, np.float32))


def _corners(prompts: Prompts) -> Iterator[NDArray[np.float64]]:
    """Yield positions (n, 2), in edge coordinates, between which each prompt lies; negative ones may lie outside."""
    for item in prompts.items:
        if not getattr(item, "positive", True):
            continue
        if isinstance(item, MaskPrompt):
            span = bounds(item.mask[..., 0])
        else:
            places = extremes(item)
            span = np.stack([places.min(axis=0), places.max(axis=0) + 1])[:, :2] if len(places) else None
        if span is not None:
            yield span.astype(np.float64)
