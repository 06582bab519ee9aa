"""Where voxels are: the grid of an image in world space, and the only place where axes are flipped.

World coordinates are millimetres in RAS+, as in NIfTI: x grows to the patient's Right, y to Anterior, z to Superior.
DICOM, ITK and most NRRD files speak LPS+; they convert here.
Voxel indices are ``(i, j, k)`` in the file's own order, voxel *centres* at whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any, Literal, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samaritan.core.errors import GeometryError, GeometryMismatchError, UnknownOrientationError

Floats = NDArray[np.float64]
Shape = tuple[int, int, int]
Unit = Literal["mm", "pixel"]
Axis = Literal["i", "j", "k"]

AXES: tuple[Axis, Axis, Axis] = ("i", "j", "k")
_LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
# The affine of a file is often rounded to float32; a hundredth of a voxel is far below what that costs, and far
# below what anyone can click.
_TOLERANCE_VOXELS = 0.01
_SINGULAR = 1e-6


def axis_number(axis: str) -> int:
    """Return 0, 1 or 2 for ``"i"``, ``"j"`` or ``"k"``; anything else raises ``GeometryError``."""
    if axis not in AXES:
        raise GeometryError(got=f"axis '{axis}'", wanted="i, j or k")
    return AXES.index(axis)


@dataclass(frozen=True, eq=False, slots=True)
class Geometry:
    """The grid of an image: its shape, and the affine from voxel indices to world millimetres (RAS+).

    Parameters
    ----------
    shape
        Voxels along i, j, k; each at least 1.
    affine
        (4, 4); maps ``(i, j, k, 1)`` of a voxel centre to ``(x, y, z, 1)``. Columns may be oblique and mirrored, but
        not singular.
    unit
        ``"mm"``, or ``"pixel"`` for a picture of unknown scale (a PNG): then nothing may be said in millimetres.

    Raises
    ------
    GeometryError
        If the shape is empty or the affine is not finite, not affine, or singular (a zero spacing).
    """

    shape: Shape
    affine: Floats
    unit: Unit = "mm"

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise GeometryError(got=f"shape {tuple(self.shape)}", wanted="three sizes of at least 1")
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or np.any(affine[3] != (0, 0, 0, 1)):
            raise GeometryError(got=f"affine {affine.tolist()}", wanted="a finite (4, 4) matrix ending in 0, 0, 0, 1")
        if self.unit not in ("mm", "pixel"):
            raise GeometryError(got=f"unit '{self.unit}'", wanted="mm or pixel")
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        if spacing.min() <= 0 or abs(np.linalg.det(affine[:3, :3] / spacing)) < _SINGULAR:
            raise GeometryError(
                got=f"an affine that flattens space, with spacing {spacing.tolist()}",
                wanted="three independent axes of positive spacing",
                fix="Repair the file's header: without it nobody can say where a voxel lies",
            )
        affine.flags.writeable = False
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    # -- other ways to make one ---------------------------------------------------------------------------------

    @classmethod
    def from_spacing(cls, shape: Shape, spacing_mm: ArrayLike = (1.0, 1.0, 1.0)) -> Self:
        """Return an axis-aligned RAS grid with its first voxel at the origin; ``spacing_mm`` is (3,), positive."""
        spacing = np.asarray(spacing_mm, dtype=np.float64)
        if spacing.shape != (3,) or not (spacing > 0).all():
            raise GeometryError(got=f"spacing {spacing.tolist()} mm", wanted="three positive numbers")
        return cls(shape, np.diag([*spacing, 1.0]))

    @classmethod
    def from_lps(cls, shape: Shape, affine_lps: ArrayLike) -> Self:
        """Return the grid whose affine is given in LPS+ (DICOM, ITK), (4, 4)."""
        return cls(shape, _LPS_TO_RAS @ np.asarray(affine_lps, dtype=np.float64))

    @classmethod
    def picture(cls, width: int, height: int) -> Self:
        """Return the grid of a picture of unknown scale: i is the column, j the row, k is 1."""
        return cls((width, height, 1), np.eye(4), "pixel")

    # -- what follows from shape and affine ---------------------------------------------------------------------

    @property
    def affine_lps(self) -> Floats:
        """The affine to world millimetres in LPS+ (DICOM, ITK), (4, 4)."""
        return cast("Floats", _LPS_TO_RAS @ self.affine)

    @property
    def is_2d(self) -> bool:
        """Whether there is one plane only (k == 1)."""
        return self.shape[2] == 1

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between voxel centres along i, j, k in ``unit``; 1 pixel where the scale is unknown."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return (float(i), float(j), float(k))

    @property
    def spacing_mm(self) -> tuple[float, float, float] | None:
        """Distance between voxel centres along i, j, k in mm; None where the scale is unknown."""
        return self.spacing if self.unit == "mm" else None

    @property
    def voxel_volume_mm3(self) -> float | None:
        """Volume of a voxel in cubic millimetres; None where the scale is unknown."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) if self.unit == "mm" else None

    @property
    def orientation(self) -> str | None:
        """Nearest anatomical direction of i, j, k, such as ``"RAS"`` or ``"LPS"``; None for a picture."""
        if self.unit != "mm":
            return None
        world_axes, signs = _nearest_axes(self.affine)
        return "".join(_LETTERS[w][int(s > 0)] for w, s in zip(world_axes, signs, strict=True))

    # -- index <-> world ----------------------------------------------------------------------------------------

    def index_to_world(self, index: ArrayLike) -> Floats:
        """Map voxel indices (..., 3) to world coordinates (..., 3), RAS+ mm (pixels for a picture)."""
        points = np.asarray(index, dtype=np.float64)
        return points @ self.affine[:3, :3].T + self.affine[:3, 3]

    def world_to_index(self, world: ArrayLike) -> Floats:
        """Map world coordinates (..., 3), RAS+ mm, to fractional voxel indices (..., 3)."""
        points = np.asarray(world, dtype=np.float64) - self.affine[:3, 3]
        return cast("Floats", np.linalg.solve(self.affine[:3, :3], points.reshape(-1, 3).T).T.reshape(points.shape))

    def contains(self, index: ArrayLike) -> NDArray[np.bool_]:
        """Tell for voxel indices (..., 3) whether each lies within a voxel of the grid; (...)."""
        points = np.asarray(index, dtype=np.float64)
        return np.asarray(((points >= -0.5) & (points < np.array(self.shape) - 0.5)).all(axis=-1))

    # -- comparing ----------------------------------------------------------------------------------------------

    def matches(self, other: Geometry) -> bool:
        """Whether both grids put every voxel at the same place, to a hundredth of a voxel."""
        if self.shape != other.shape or self.unit != other.unit:
            return False
        corners = np.array(np.meshgrid(*[(0, n) for n in self.shape])).reshape(3, -1).T
        apart = np.linalg.norm(self.index_to_world(corners) - other.index_to_world(corners), axis=1)
        return bool(apart.max() <= _TOLERANCE_VOXELS * min(self.spacing))

    def require_match(self, other: Geometry, what: str) -> None:
        """Raise ``GeometryMismatchError`` unless ``other``, the grid of ``what``, matches this one."""
        if not self.matches(other):
            raise GeometryMismatchError(
                got=f"{what} on {other}",
                wanted=f"the image's own grid, {self}",
                fix="Resample it onto the image first",
            )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Geometry):
            return NotImplemented
        same = self.shape == other.shape and self.unit == other.unit
        return same and bool(np.array_equal(self.affine, other.affine))

    def __hash__(self) -> int:
        return hash((self.shape, self.unit, self.affine.tobytes()))

    def __str__(self) -> str:
        size = "×".join(str(n) for n in self.shape[: 2 if self.is_2d and self.unit == "pixel" else 3])
        if self.unit == "pixel":
            return f"{size} pixels"
        spacing = " × ".join(f"{s:.4g}" for s in self.spacing)
        origin = ", ".join(f"{x:.4g}" for x in self.affine[:3, 3])
        return f"{size} voxels of {spacing} mm, {self.orientation}, origin ({origin})"

    # -- new grids ----------------------------------------------------------------------------------------------

    def plane(self, axis: Axis, index: int) -> Geometry:
        """Return the grid of one plane: the two other axes in order become i and j, ``axis`` becomes k (of size 1).

        Raises
        ------
        GeometryError
            If ``axis`` has no slice ``index``.
        """
        normal = axis_number(axis)
        if not 0 <= index < self.shape[normal]:
            raise GeometryError(
                got=f"slice {index} along {axis}",
                wanted=f"0 to {self.shape[normal] - 1} (shape {self.shape})",
            )
        order = [*(a for a in range(3) if a != normal), normal]
        affine = self.affine[:, [*order, 3]].copy()
        affine[:, 3] += index * self.affine[:, normal]
        return Geometry((self.shape[order[0]], self.shape[order[1]], 1), affine, self.unit)

    def crop(self, start: Shape, stop: Shape) -> Geometry:
        """Return the grid of the half-open block of voxels from ``start`` to ``stop``."""
        if not all(0 <= a < b <= n for a, b, n in zip(start, stop, self.shape, strict=True)):
            raise GeometryError(got=f"crop {start} to {stop}", wanted=f"a block within shape {self.shape}")
        affine = self.affine.copy()
        affine[:3, 3] = self.index_to_world(start)
        shape = cast("Shape", tuple(b - a for a, b in zip(start, stop, strict=True)))
        return Geometry(shape, affine, self.unit)

    def reorientation(self, orientation: str) -> Reorientation:
        """Return the change of axis order and direction that brings this grid nearest to ``orientation`` ("RAS").

        Raises
        ------
        UnknownOrientationError
            If the code names no orientation, or this is a picture.
        """
        wanted = _parse_orientation(orientation)
        if self.unit != "mm":
            raise UnknownOrientationError(got="a picture without orientation", wanted="an image in millimetres")
        world_axes, signs = _nearest_axes(self.affine)
        order = tuple(world_axes.index(world) for world, _ in wanted)
        flips = tuple(signs[a] != sign for a, (_, sign) in zip(order, wanted, strict=True))
        return Reorientation(self, cast("Shape", order), cast("tuple[bool, bool, bool]", flips))


@dataclass(frozen=True, slots=True)
class Reorientation:
    """A change of axis order and direction, without resampling: output axis ``a`` is input axis ``order[a]``.

    ``source`` is the grid before, ``target`` the grid after; ``flips[a]`` says that output axis ``a`` runs backwards.
    """

    source: Geometry
    order: Shape
    flips: tuple[bool, bool, bool]

    @property
    def target(self) -> Geometry:
        """The grid after the change: every voxel stays where it is in the world."""
        affine = self.source.affine[:, [*self.order, 3]].copy()
        shape = cast("Shape", tuple(self.source.shape[a] for a in self.order))
        for a, flip in enumerate(self.flips):
            if flip:
                affine[:, 3] += affine[:, a] * (shape[a] - 1)
                affine[:, a] *= -1
        return Geometry(shape, affine, self.source.unit)

    def apply(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return ``array`` (..., i, j, k) of the source grid on the target grid, as a view."""
        lead = array.ndim - 3
        moved: NDArray[Any] = array.transpose(*range(lead), *(lead + a for a in self.order))
        return np.flip(moved, tuple(lead + a for a, flip in enumerate(self.flips) if flip))

    def undo(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return ``array`` (..., i, j, k) of the target grid on the source grid, as a view."""
        lead = array.ndim - 3
        unflipped: NDArray[Any] = np.flip(array, tuple(lead + a for a, flip in enumerate(self.flips) if flip))
        restored: NDArray[Any] = unflipped.transpose(*range(lead), *(lead + self.order.index(a) for a in range(3)))
        return restored


def _nearest_axes(affine: Floats) -> tuple[list[int], list[float]]:
    """Return, for i, j, k, the world axis (0, 1, 2) that each is nearest to, one each, and the sign."""
    cosines = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    best = max(permutations(range(3)), key=lambda p: sum(abs(cosines[w, a]) for a, w in enumerate(p)))
    return list(best), [1.0 if cosines[w, a] >= 0 else -1.0 for a, w in enumerate(best)]


def _parse_orientation(code: str) -> list[tuple[int, float]]:
    """Return (world axis, sign) for each letter of a code such as ``"RAS"``."""
    table = {letter: (w, s) for w, pair in enumerate(_LETTERS) for letter, s in zip(pair, (-1.0, 1.0), strict=True)}
    parsed = [table[letter] for letter in code.upper() if letter in table]
    if len(code) != 3 or sorted(w for w, _ in parsed) != [0, 1, 2]:
        raise UnknownOrientationError(got=f"orientation '{code}'", wanted="three letters such as RAS or LPS")
    return parsed
