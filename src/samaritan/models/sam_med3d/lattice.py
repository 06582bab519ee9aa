"""The grid that SAM-Med3D sees a volume on: cubes of 1.5 mm, in axes that run to Right, Anterior and Superior.

The published pipeline resamples to 1.5 mm along the file's own axes and brings these into the order and direction
nearest to RAS, without turning them any further; so does this. Its windows are cut from that grid, and its masks have
one value for a *cell* of ``RATIO`` cubes along each side.

Nothing is resampled as a whole: windows are read from the volume when they are needed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from samaritan.core.geometry import Geometry, Reorientation, Shape

Floats = NDArray[np.float32]
Places = NDArray[np.float64]
Ints = NDArray[np.int64]

SPACING_MM = 1.5
RATIO = 4
_EXACT = 1e-6  # of a cube: what rounding may add to a size


@dataclass(frozen=True, slots=True)
class Lattice:
    """The cubes of a volume, and the way between them and its voxels.

    Pictures have no scale: a pixel is a cube.

    Parameters
    ----------
    geometry
        Of the volume.
    """

    geometry: Geometry
    turn: Reorientation = field(init=False)
    step: Places = field(init=False)  # (3,) voxels that a cube is long, along the turned axes
    shape: Shape = field(init=False)  # cubes that have a part of the volume in them

    def __post_init__(self) -> None:
        is_scaled = self.geometry.unit == "mm"
        turn = self.geometry.reorientation("RAS") if is_scaled else _as_it_is(self.geometry)
        spacing = np.array(turn.target.spacing)
        step = SPACING_MM / spacing if is_scaled else np.ones(3)
        cubes = np.maximum(1, np.ceil(np.array(turn.target.shape) / step - _EXACT)).astype(int)
        object.__setattr__(self, "turn", turn)
        object.__setattr__(self, "step", step)
        object.__setattr__(self, "shape", cast("Shape", tuple(cubes.tolist())))

    @property
    def cells(self) -> Shape:
        """Cells that have a part of the volume in them."""
        return cast("Shape", tuple(-(-cubes // RATIO) for cubes in self.shape))

    def of_voxels(self, index: Places) -> Places:
        """Map voxel indices (n, 3) of the volume to cubes, centres at whole numbers."""
        turned = self.turn.target.world_to_index(self.geometry.index_to_world(index))
        return (turned + 0.5) / self.step - 0.5

    def read(self, array: NDArray[Any], start: Ints, stop: Ints, *, fill: float) -> Floats:
        """Return the cubes from ``start`` to ``stop`` (half-open) of voxels (i, j, k), between voxels by interpolation.

        As in training, nothing is smoothed before. Cubes beyond the volume have the value ``fill``.
        """
        turned = self.turn.apply(array)
        part = np.full(stop - start, fill, np.float32)
        low, high = np.maximum(start, 0), np.minimum(stop, self.shape)
        if (low >= high).any():
            return part
        places = [
            np.clip((np.arange(a, b) + 0.5) * step - 0.5, 0, voxels - 1)
            for a, b, step, voxels in zip(low, high, self.step, turned.shape, strict=True)
        ]
        near = [(int(p[0]), int(np.ceil(p[-1])) + 1) for p in places]
        found = turned[tuple(slice(a, b) for a, b in near)]
        for axis in np.argsort(-self.step, kind="stable").tolist():  # first where most becomes least
            found = _interpolate(found, axis, places[axis] - near[axis][0])
        part[tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))] = found
        return part

    def write(self, cells: Floats, start: Ints, stop: Ints, out: Floats) -> None:
        """Set the voxels of ``out`` (i, j, k) that lie in the cells from ``start`` to ``stop``, between their centres.

        ``cells`` are those of the whole volume.
        """
        turned = self.turn.apply(out)  # a view: what is set in it is set in ``out``
        long = self.step * RATIO  # voxels that a cell is long
        bounds = [
            (int(np.ceil(a * n - 0.5)), min(int(np.ceil(b * n - 0.5)), voxels))
            for a, b, n, voxels in zip(start, stop, long, turned.shape, strict=True)
        ]
        found = cells
        for axis, ((a, b), n) in enumerate(zip(bounds, long, strict=True)):
            places = np.clip((np.arange(a, b) + 0.5) / n - 0.5, 0, cells.shape[axis] - 1)
            found = _interpolate(found, axis, places)
        turned[tuple(slice(a, b) for a, b in bounds)] = found

    def nearest(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return for each cell the voxel of ``array`` (i, j, k) that is nearest to its centre."""
        turned = self.turn.apply(array)
        places = [
            np.clip(((np.arange(cells) + 0.5) * step * RATIO).astype(int), 0, voxels - 1)
            for cells, step, voxels in zip(self.cells, self.step, turned.shape, strict=True)
        ]
        found: NDArray[Any] = turned[np.ix_(*places)]
        return found

    def cell_of(self, place: Places) -> Shape:
        """Return the cell that a place (3,) in cubes lies in, or the nearest one of the volume."""
        cell = np.clip(np.floor((place + 0.5) / RATIO), 0, np.array(self.cells) - 1).astype(int)
        return cast("Shape", tuple(cell.tolist()))


def centre_of(cell: Shape) -> Places:
    """Return the centre (3,) of a cell in cubes."""
    return (np.array(cell) + 0.5) * RATIO - 0.5


def pooled(cubes: Floats) -> Floats:
    """Return the mean of each cell's cubes."""
    a, b, c = (n // RATIO for n in cubes.shape)
    means: Floats = cubes.reshape(a, RATIO, b, RATIO, c, RATIO).mean(axis=(1, 3, 5))
    return means


def _as_it_is(geometry: Geometry) -> Reorientation:
    return Reorientation(geometry, (0, 1, 2), (False, False, False))


def _interpolate(array: NDArray[Any], axis: int, places: Places) -> Floats:
    """Return the values at ``places`` (n,) along an axis, linearly between neighbours."""
    low = np.minimum(places.astype(np.int64), array.shape[axis] - 1)
    high = np.minimum(low + 1, array.shape[axis] - 1)
    share = (places - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
    # Not np.take, which would copy the whole of an array that is not contiguous.
    below, above = (array[(slice(None),) * axis + (at,)].astype(np.float32) for at in (low, high))
    return np.asarray(below + share * (above - below))
