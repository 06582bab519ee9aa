"""The part of a plane around an object, as a small plane of its own: every object is seen at about the same scale.

A window is square and has its own indices: what is at ``start`` of the plane is at 0.
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

    def crop(self, array: NDArray[Scalar], *, fill: float) -> NDArray[Scalar]:
        """Return the window of (c, i, j, 1) as (c, side, side, 1); ``fill`` where there is no plane."""
        out = np.full((array.shape[0], self.side, self.side, 1), fill, array.dtype)
        inside, there = self._overlap(array.shape[1:3])
        out[(slice(None), *inside)] = array[(slice(None), *there)]
        return out

    def paste(self, window: Floats, shape: tuple[int, int], *, fill: float) -> Floats:
        """Return (c, side, side, 1) at its place in a plane of ``shape``, (c, i, j, 1), and ``fill`` around it."""
        out = np.full((window.shape[0], *shape, 1), fill, np.float32)
        inside, there = self._overlap(shape)
        out[(slice(None), *there)] = window[(slice(None), *inside)]
        return out

    def seen(self, plane: NDArray[np.uint8], letterbox: Letterbox) -> Floats:
        """Return the window of (c, i, j, 1) as the network sees it: (c, rows, columns), its greys stretched.

        Where there is no plane it is black.
        """
        # The plane's edges are drawn out and blackened afterwards: interpolation must not drag black into the plane.
        i, j = (
            np.clip(np.arange(a, a + self.side), 0, n - 1) for a, n in zip(self.start, plane.shape[1:3], strict=True)
        )
        frame = letterbox.image_to_frame(plane[:, i[:, None], j])
        valid = np.zeros(frame.shape[1:], np.bool_)
        inside, _ = self._overlap(plane.shape[1:3])
        columns, rows = (
            slice(round(part.start * scale), max(round(part.stop * scale), round(part.start * scale) + 1))
            for part, scale in zip(inside, letterbox.scale, strict=True)
        )
        valid[rows, columns] = True
        last = stretched(np.moveaxis(frame, 0, -1), valid=valid)
        last[~valid] = 0.0
        return np.moveaxis(last, -1, 0)

    def cut_off(self, logits: Floats, shape: tuple[int, ...]) -> float:
        """Return the share, 0 to 1, of the window's border within a plane of ``shape`` that a mask (i, j) covers."""
        inside, there = self._overlap(shape[:2])
        edges = []
        for axis in (0, 1):
            along = np.moveaxis(logits, axis, 0)[:, inside[1 - axis]]
            edges += [along[0]] if there[axis].start > 0 else []
            edges += [along[-1]] if there[axis].stop < shape[axis] else []
        return float(np.mean(np.concatenate(edges) > 0)) if edges else 0.0

    def prompts(self, prompts: Prompts) -> Prompts:
        """Return the prompts in the window's own indices, without negative marks outside it: nothing is found there."""
        moved = (self._move(item) for item in prompts.items)
        return Prompts(Geometry.picture(self.side, self.side), tuple(item for item in moved if item is not None))

    def _move(self, item: Prompt) -> Prompt | None:
        offset = np.array((*self.start, 0))
        if isinstance(item, Point):
            i, j, k = item.index - offset
            moved = replace(item, index=(float(i), float(j), float(k)))
            return moved if item.positive or self._holds(np.array([moved.voxel])).all() else None
        if isinstance(item, Box):
            (i0, j0, k0), (i1, j1, k1) = item.start - offset, item.stop - offset
            return Box((int(i0), int(j0), int(k0)), (int(i1), int(j1), int(k1)))
        if isinstance(item, Scribble):
            voxels = item.voxels - offset
            voxels = voxels if item.positive else voxels[self._holds(voxels)]
            return replace(item, voxels=voxels) if len(voxels) else None
        if isinstance(item, Lasso):
            return replace(item, vertices=item.vertices - offset)
        if isinstance(item, MaskPrompt):
            return MaskPrompt(self.crop(item.mask[None], fill=0)[0])
        return item

    def _holds(self, voxels: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell which voxels (n, 3), in the window's own indices, lie in it."""
        return np.asarray(((voxels[:, :2] >= 0) & (voxels[:, :2] < self.side)).all(axis=1))

    def _overlap(self, shape: tuple[int, ...]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Return the pixels that window and plane have in common, as slices of the one and of the other."""
        spans = [(max(0, a), min(n, a + self.side), a) for a, n in zip(self.start, shape, strict=False)]
        (a0, a1, a), (b0, b1, b) = spans
        return (slice(a0 - a, a1 - a), slice(b0 - b, b1 - b)), (slice(a0, a1), slice(b0, b1))


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


def bounds(area: NDArray[np.bool_]) -> NDArray[np.int64] | None:
    """Return ((i0, j0), (i1, j1)), half-open, around what is set in ``area`` (i, j), or None if nothing is."""
    along = [np.flatnonzero(area.any(axis=axis)) for axis in (1, 0)]
    return np.array([[hits[0] for hits in along], [hits[-1] + 1 for hits in along]]) if along[0].size else None


def _corners(prompts: Prompts) -> Iterator[NDArray[np.float64]]:
    """Yield positions (n, 2), in edge coordinates, between which each prompt lies; negative marks may lie outside."""
    for item in prompts.items:
        if isinstance(item, Point | Scribble) and not item.positive:
            continue
        if isinstance(item, MaskPrompt):
            span = bounds(item.mask[..., 0])
        else:
            places = extremes(item)
            span = np.stack([places.min(axis=0), places.max(axis=0) + 1])[:, :2] if len(places) else None
        if span is not None:
            yield span.astype(np.float64)
