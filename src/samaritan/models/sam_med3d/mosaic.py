"""What windows say of the cells of a volume, put together, and where the object goes on beyond them."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from samaritan.core.geometry import Shape
from samaritan.models.sam_med3d.lattice import Floats, Ints

Bools = NDArray[np.bool_]

_TOUCHING = np.ones((3, 3, 3), np.bool_)


class Mosaic:
    """Logits of the cells of a volume, from overlapping windows.

    Where windows overlap, each counts the more the farther its own faces are: near a face it saw half as much.

    Parameters
    ----------
    shape
        Cells of the volume.
    """

    def __init__(self, shape: Shape) -> None:
        self._start = np.zeros(shape, np.float32)
        self._sums = np.zeros(shape, np.float32)
        self._weights = np.zeros(shape, np.float32)
        self.windows: list[tuple[Ints, Ints]] = []  # from, to (half-open), of what was seen

    @property
    def seen(self) -> Bools:
        """The cells that were in a window."""
        return self._weights > 0

    @property
    def logits(self) -> Floats:
        """The logits of all cells: as seen, else as started from, else 0, for nothing is known."""
        return np.divide(self._sums, self._weights, out=self._start.copy(), where=self.seen)

    def start_from(self, origin: Ints, logits: Floats) -> None:
        """Say what was known of the cells at ``origin`` before any window was looked at."""
        here, there = self._overlap(origin, logits.shape)
        self._start[here] = logits[there]

    def add(self, origin: Ints, logits: Floats) -> None:
        """Take in what a window at ``origin`` says; it may reach beyond the volume."""
        here, there = self._overlap(origin, logits.shape)
        ramps = [np.minimum(np.arange(1, n + 1), np.arange(n, 0, -1)).astype(np.float32) for n in logits.shape]
        weights = ramps[0][:, None, None] * ramps[1][:, None] * ramps[2]
        self._sums[here] += (weights * logits)[there]
        self._weights[here] += weights[there]
        low = np.maximum(origin, 0)
        self.windows.append((low, np.minimum(origin + np.array(logits.shape), self._sums.shape)))

    def part(self, origin: Ints, side: int) -> Floats:
        """Return what is known in a window; if there is anything, then beyond the volume there is no object."""
        here, there = self._overlap(origin, (side, side, side))
        known = self.logits[here]
        part = np.full((side, side, side), min(0.0, float(known.min(initial=0.0))), np.float32)
        part[there] = known
        return part

    def goes_on(self) -> Shape | None:
        """Return a cell of the object beside cells that nobody has looked at: amid the most that hang together.

        None if there is none. What the object was known to be before needs no look; nor does a neighbour of that, for
        the object may have grown by a cell all along its surface.
        """
        known = ndimage.binary_dilation(self._start > 0, _TOUCHING)
        open_ = ~self.seen & ~known
        return middle(self.seen & (self.logits > 0) & ndimage.binary_dilation(open_))

    def _overlap(self, origin: Ints, shape: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Return where a block at ``origin`` lies in the volume, and which part of it does."""
        low, high = np.maximum(origin, 0), np.minimum(origin + np.array(shape), self._sums.shape)
        high = np.maximum(low, high)
        here = tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))
        there = tuple(slice(a, b) for a, b in zip((low - origin).tolist(), (high - origin).tolist(), strict=True))
        return here, there


def middle(area: NDArray[Any]) -> Shape | None:
    """Return the cell next to the middle of the largest part of ``area`` that hangs together; None if it is empty."""
    parts, count = ndimage.label(area, structure=_TOUCHING)
    if not count:
        return None
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    cells = np.argwhere(parts == sizes.argmax())
    nearest = np.square(cells - cells.mean(axis=0)).sum(axis=1).argmin()
    return cast("Shape", tuple(cells[nearest].tolist()))
