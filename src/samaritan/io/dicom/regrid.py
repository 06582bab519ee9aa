"""Labels from one grid to another whose voxels coincide: other axis order, directions or extent, no resampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samaritan.core.errors import GeometryMismatchError
from samaritan.core.geometry import Geometry, Shape

# Positions in DICOM are decimal text, and other programs round them; a twentieth of a voxel is nothing one can see.
_TOLERANCE_VOXELS = 0.05


@dataclass(frozen=True, slots=True)
class Regrid:
    """How the voxels of ``source`` lie on ``target``: target axis ``a`` is source axis ``order[a]``, backwards where
    ``flips[a]``; the first voxel after that comes to ``start`` (it may be outside).
    """  # noqa: D205  # the first sentence needs its second line

    source: Geometry
    target: Geometry
    order: Shape
    flips: tuple[bool, bool, bool]
    start: Shape

    @classmethod
    def between(cls, source: Geometry, target: Geometry, what: str) -> Regrid:
        """Return the way from ``source``, the grid of ``what``, to ``target``.

        Raises
        ------
        GeometryMismatchError
            If the voxel centres do not coincide, to a twentieth of a voxel.
        """
        exact = np.linalg.solve(target.affine, source.affine)
        turn, shift = np.rint(exact[:3, :3]), np.rint(exact[:3, 3])
        permutes = (np.abs(turn).sum(0) == 1).all() and (np.abs(turn).sum(1) == 1).all()
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in source.shape])).reshape(3, -1).T
        off = corners @ (exact[:3, :3] - turn).T + (exact[:3, 3] - shift)
        if source.unit != target.unit or not permutes or np.abs(off).max() > _TOLERANCE_VOXELS:
            raise GeometryMismatchError(
                got=f"{what} on {source}",
                wanted=f"voxels that coincide with those of {target}",
                fix="It belongs to another image, or has to be resampled onto this one first",
            )
        order = tuple(int(a) for a in np.abs(turn).argmax(axis=1))
        flips = tuple(bool(turn[a, order[a]] < 0) for a in range(3))
        start = tuple(int(shift[a]) - (source.shape[order[a]] - 1 if flips[a] else 0) for a in range(3))
        return cls(source, target, order, flips, start)  # type: ignore[arg-type]  # each has length 3

    @property
    def is_whole(self) -> bool:
        """Whether the source covers the target exactly."""
        return self.start == (0, 0, 0) and self._moved_shape == self.target.shape

    @property
    def _moved_shape(self) -> Shape:
        a, b, c = self.order
        return self.source.shape[a], self.source.shape[b], self.source.shape[c]

    def apply(self, array: NDArray[Any], what: str) -> NDArray[Any]:
        """Return ``array`` (i, j, k) of the source on the target; 0 where the source does not reach.

        A view where the source covers the target.

        Raises
        ------
        GeometryMismatchError
            If a voxel that is not 0 lies outside the target.
        """
        backwards = tuple(a for a in range(3) if self.flips[a])
        moved: NDArray[Any] = np.flip(array.transpose(self.order), backwards)
        if self.is_whole:
            return moved
        low = [max(0, s) for s in self.start]
        high = [min(n, s + m) for n, s, m in zip(self.target.shape, self.start, moved.shape, strict=True)]
        inside = tuple(slice(a, max(a, b)) for a, b in zip(low, high, strict=True))
        taken = moved[tuple(slice(s.start - o, s.stop - o) for s, o in zip(inside, self.start, strict=True))]
        if np.count_nonzero(taken) != np.count_nonzero(moved):
            raise GeometryMismatchError(
                got=f"{what} with labels outside the image's grid, {self.target}",
                wanted="labels inside it",
                fix="Name the image that it was made on",
            )
        out = np.zeros(self.target.shape, array.dtype, order="F")
        out[inside] = taken
        return out
