"""One object, looked for in as many windows as it takes.

The first window lies around the prompts. Where the object reaches a face of what was seen, and the volume goes on, the
next window is laid around that place, with what was found so far as its earlier mask and a click where the object was
cut. So objects larger than a window come out whole. To zoom out instead would take one window, but show the network
organs at a size at which it has never seen them, with masks of twice as coarse cells.

``MOST_WINDOWS`` bounds the time. Beyond them nothing is looked at: the object ends there, and a warning is logged.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from samaritan.core.model import Step
from samaritan.models.growing import Features, PartEncoder
from samaritan.models.sam_med3d.clicks import POSITIVE, SURE, Clicks
from samaritan.models.sam_med3d.lattice import RATIO, Floats, Ints, Lattice, Places, centre_of, pooled
from samaritan.models.sam_med3d.mosaic import Mosaic, middle

MOST_WINDOWS = 27
# Windows begin at multiples of this many cubes, so that a click near another finds its window encoded. In cubes of the
# lattice it is 12 mm at most between a window's middle and what it is laid around.
STRIDE = 16

logger = logging.getLogger(__name__)


class Network(PartEncoder, Protocol):
    """What encodes windows (side, side, side) of normalised values, and answers for them."""

    @property
    def side(self) -> int:
        """Cubes along each side of a window; a multiple of ``STRIDE``, and at least twice it."""
        ...

    def decode(self, features: Features, places: Floats, labels: Ints, mask: Floats) -> Floats:
        """Return the logits of cells (side / 4, ...).

        ``places`` (p, 3) and ``labels`` (p,) are clicks in cubes of the window; ``mask`` are logits found before, or
        zeros.
        """
        ...


class Windows(Protocol):
    """A volume of which windows can be encoded."""

    @property
    def lattice(self) -> Lattice:
        """Its cubes."""
        ...

    def window(self, network: Network, origin: Ints) -> Features:
        """Return the features of the window whose first cube is ``origin``."""
        ...


@dataclass(frozen=True, slots=True)
class Route:
    """Where to look whatever is found: around ``first``, then around ``others`` and amid ``cells`` not yet seen."""

    first: Places
    others: Places
    cells: NDArray[np.bool_]

    @classmethod
    def of(cls, clicks: Clicks, start: NDArray[Any] | None, lattice: Lattice, *, side: int, drawn: bool) -> Route:
        """Plan for clicks and the logits ``start`` (i, j, k) there are; of a mask that was ``drawn``, all is looked at.

        What fits a window gets one around it all. Of what does not, the clicks that change something are looked at.
        """
        nothing = np.zeros(lattice.cells, np.bool_)
        extent = _extent(clicks.places, start, lattice)
        if _fits(extent, side):
            return cls(extent.mean(axis=0), np.zeros((0, 3)), nothing)
        known = nothing if start is None else np.asarray(lattice.nearest(start) > 0)
        places = clicks.places[clicks.labels == POSITIVE] if start is None else clicks.against(start)
        if len(places):
            around = np.stack([places.min(axis=0), places.max(axis=0)])
            first = around.mean(axis=0) if _fits(around, side) else places[0]
        else:
            cell = middle(known)
            first = extent.mean(axis=0) if cell is None else centre_of(cell)
        return cls(first, places, known if drawn else nothing)


class Search:
    """Looks for one object of a volume.

    Parameters
    ----------
    network, volume
        Who answers, and about what.
    clicks
        What is asked.
    start
        Logits (i, j, k) to start from, or None.
    step
        Called after each window.
    """

    def __init__(
        self, network: Network, volume: Windows, clicks: Clicks, start: NDArray[Any] | None, step: Step
    ) -> None:
        self._network, self._volume, self._clicks, self._start = network, volume, clicks, start
        self._step = step
        self._lattice = volume.lattice
        self.mosaic = Mosaic(self._lattice.cells)

    def run(self, route: Route) -> Mosaic:
        """Look along the route, then wherever the object goes on."""
        self._look(route.first)
        for place in route.others:
            if self._has_room and not self.mosaic.seen[self._lattice.cell_of(place)]:
                self._look(place)
        while self._has_room and (cell := middle(route.cells & ~self.mosaic.seen)) is not None:
            self._look(centre_of(cell))
        while (cell := self.mosaic.goes_on()) is not None:
            if not self._has_room:
                logger.warning("the object goes on beyond %d windows: it is cut off there", MOST_WINDOWS)
                break
            self._look(centre_of(cell), cut=True)
        return self.mosaic

    @property
    def _has_room(self) -> bool:
        return len(self.mosaic.windows) < MOST_WINDOWS

    def _look(self, centre: Places, *, cut: bool = False) -> None:
        """Look at a window around a place; with ``cut``, the object was found there and goes on."""
        side = self._network.side
        origin = (np.rint((centre + 0.5 - side / 2) / STRIDE) * STRIDE).astype(np.int64)
        cell, cells = origin // RATIO, side // RATIO
        self._start_from(cell, cells)
        places, labels = self._clicks.within(origin, side)
        if cut:
            places = np.concatenate([places, (centre - origin)[None].astype(np.float32)])
            labels = np.append(labels, POSITIVE)
        mask = self.mosaic.part(cell, cells)
        features = self._volume.window(self._network, origin)
        # Each click is told with those before it and the mask that they gave, as in the published evaluation; with an
        # earlier mask the clicks before are in it.
        first = len(labels) if mask.any() else min(1, len(labels))
        for count in range(first, len(labels) + 1):
            mask = self._network.decode(features, places[:count], labels[:count], mask)
        self.mosaic.add(cell, mask)
        self._step(len(self.mosaic.windows), MOST_WINDOWS)

    def _start_from(self, cell: Ints, cells: int) -> None:
        """Take into the mosaic what was known of a window, and of the cells next to it."""
        if self._start is not None:
            low, high = cell - 1, cell + cells + 1
            cubes = self._lattice.read(self._start, low * RATIO, high * RATIO, fill=-SURE)
            self.mosaic.start_from(low, pooled(cubes))


def _extent(places: Places, start: NDArray[Any] | None, lattice: Lattice) -> Places:
    """Return ((3,), (3,)), in cubes, around clicks and around the object so far."""
    corners = [places]
    if start is not None:
        mask = start > 0
        along = [np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
        if along[0].size:
            ends = np.array([[hits[0] - 0.5, hits[-1] + 0.5] for hits in along], np.float64).T
            corners.append(lattice.of_voxels(ends))
    every = np.concatenate(corners)
    return np.stack([every.min(axis=0), every.max(axis=0)])


def _fits(extent: Places, side: int) -> bool:
    return bool((extent[1] - extent[0] <= side - STRIDE).all())
