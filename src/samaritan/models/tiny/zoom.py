"""The part of a plane around a boxed object, as a small plane of its own: small objects are seen large.

An object with a box is decoded from a square window around it, whatever its size in the plane, so that the network
sees every object at about the same scale. A window has its own indices: what is at ``start`` of the plane is at 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from samaritan.core.geometry import Geometry
from samaritan.core.prompts import Box, Lasso, MaskPrompt, Point, Prompt, Prompts, Scribble, extremes

Floats = NDArray[np.float32]

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
        """Return the window around ``box``, ((i0, j0), (i1, j1)) half-open, that holds all ``prompts`` as well.

        Its side is at least ``least`` pixels.
        """
        centre = box.mean(axis=0)
        half = max(least, _SIDE_OVER_BOX * float((box[1] - box[0]).max())) / 2
        for corner in _corners(prompts):
            half = max(half, float(np.abs(corner - centre).max()) + 1)
        side = int(np.ceil(2 * half))
        i, j = np.floor(centre - side / 2).astype(int)
        return cls((int(i), int(j)), side)

    def crop(self, array: NDArray[np.generic], *, fill: float) -> Floats:
        """Return the window of (c, i, j, 1) as (c, side, side, 1) float32; ``fill`` where there is no plane."""
        out = np.full((array.shape[0], self.side, self.side, 1), fill, np.float32)
        inside, there = self._overlap(array.shape[1:3])
        out[(slice(None), *inside)] = array[(slice(None), *there)]
        return out

    def paste(self, window: Floats, shape: tuple[int, int], *, fill: float) -> Floats:
        """Return (c, side, side, 1) at its place in a plane of ``shape``, (c, i, j, 1), and ``fill`` around it."""
        out = np.full((window.shape[0], *shape, 1), fill, np.float32)
        inside, there = self._overlap(shape)
        out[(slice(None), *there)] = window[(slice(None), *inside)]
        return out

    def stretch(self, window: Floats, shape: tuple[int, ...]) -> Floats:
        """Return a crop (c, side, side, 1) of a plane of ``shape`` with its greys stretched; see ``stretched``."""
        there, _ = self._overlap(shape[:2])
        valid = np.zeros((self.side, self.side), np.bool_)
        valid[there] = True
        last = stretched(np.moveaxis(window[..., 0], 0, -1), valid=valid)
        last[~valid] = 0.0
        return np.moveaxis(last, -1, 0)[..., None]

    def prompts(self, prompts: Prompts) -> Prompts:
        """Return the prompts in the window's own indices."""
        return Prompts(Geometry.picture(self.side, self.side), tuple(self._move(item) for item in prompts.items))

    def _move(self, item: Prompt) -> Prompt:
        offset = np.array((*self.start, 0))
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
            return MaskPrompt(self.crop(item.mask[None], fill=0.0)[0] > 0)
        return item

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


def _corners(prompts: Prompts) -> Iterator[NDArray[np.float64]]:
    """Yield positions (n, 2), in edge coordinates, between which each prompt lies."""
    for item in prompts.items:
        places = np.argwhere(item.mask) if isinstance(item, MaskPrompt) else extremes(item)
        if not len(places):
            continue
        indices = places[:, :2].astype(np.float64)
        yield np.stack([indices.min(axis=0), indices.max(axis=0) + 1])
