"""How far the surfaces of two masks are from each other, in millimetres.

``surface_distances`` does the work once; what it returns answers for all metrics of surfaces, and the functions beside
it do both steps for one metric. Masks are of two or three dimensions, with any spacing. A picture's mask is (i, j): as
(i, j, 1) it would be a sheet whose two faces are surface, too.

Definitions are those of DeepMind's ``surface-distance`` (Nikolov et al. 2021, doi:10.2196/26151): each piece of surface
counts by its size (``surface_elements``), and its distance is that to the nearest cell that the other surface runs
through. MONAI counts voxels at the border instead, so that figures differ: docs/guides/metrics.md.

The empty case: with both masks empty every metric is nan; with one of them empty distances are infinite, and the share
within a tolerance is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from samaritan.core.parallel import allowed_threads
from samaritan.metrics.masks import (
    Bools,
    bounds,
    require_drawable,
    require_length,
    require_mask,
    require_pair,
    require_spacing,
)
from samaritan.metrics.surface_elements import codes, sizes

Floats = NDArray[np.float64]
Cells = NDArray[np.intp]

_LEAF = 24  # of the tree: on surfaces quicker than the default
_LARGE = 2**15  # voxels of a block from which two threads are quicker than one


@dataclass(frozen=True, eq=False, slots=True)
class Surface:
    """A surface: the ``distances`` (n,) of its pieces to the other one, in mm, ascending, and their ``sizes`` (n,)."""

    distances: Floats
    sizes: Floats

    @classmethod
    def of(cls, distances: Floats, sizes: Floats) -> Self:
        """Return a surface of pieces in any order."""
        order = np.argsort(distances, kind="stable")
        return cls(distances[order], sizes[order])

    def within(self, tolerance_mm: float) -> float:
        """Return the size of what is no farther away than that."""
        return float(self.sizes[: np.searchsorted(self.distances, tolerance_mm, side="right")].sum())

    def percentile(self, percent: float) -> float:
        """Return the distance, in mm, that so much of the surface does not exceed."""
        share = np.cumsum(self.sizes) / self.sizes.sum()
        return float(self.distances[min(int(np.searchsorted(share, percent / 100)), len(share) - 1)])


@dataclass(frozen=True, eq=False, slots=True)
class SurfaceDistances:
    """The surfaces of a reference and of a prediction, each with its distances to the other; see the module."""

    reference: Surface
    prediction: Surface

    def nsd(self, *, tolerance_mm: float) -> float:
        """Return the share of both surfaces that is within a tolerance of the other, in [0, 1].

        The normalised surface Dice of Nikolov et al. 2021, doi:10.2196/26151.

        Raises
        ------
        GeometryError
            If the tolerance is negative or not a number.
        """
        require_length("tolerance_mm", tolerance_mm)
        whole = self.reference.sizes.sum() + self.prediction.sizes.sum()
        near = self.reference.within(tolerance_mm) + self.prediction.within(tolerance_mm)
        return near / float(whole) if whole else float("nan")

    def hausdorff(self, *, percent: float = 100) -> float:
        """Return the larger of the two directed distances, in mm, that ``percent`` of each surface does not exceed.

        At 100 it is Hausdorff's; Huttenlocher et al. 1993, doi:10.1109/34.232073, for less.
        """
        without = self._without()
        if without is not None:
            return without
        return max(self.reference.percentile(percent), self.prediction.percentile(percent))

    def assd(self) -> float:
        """Return the mean distance over both surfaces, in mm: the average symmetric surface distance."""
        without = self._without()
        if without is not None:
            return without
        whole = self.reference.sizes.sum() + self.prediction.sizes.sum()
        summed = sum(float(side.distances @ side.sizes) for side in (self.reference, self.prediction))
        return summed / float(whole)

    def _without(self) -> float | None:
        """Return what a distance is where a surface is missing; None where both are there."""
        empty = [not len(side.sizes) for side in (self.reference, self.prediction)]
        if not any(empty):
            return None
        return float("nan") if all(empty) else float("inf")


def surface_distances(reference: Bools, prediction: Bools, *, spacing_mm: Sequence[float]) -> SurfaceDistances:
    """Return the surfaces of two masks, of two or three dimensions, with their distances.

    Raises
    ------
    ImageError, GeometryMismatchError
        As ``require_pair`` and ``require_spacing``; for masks of other dimensions.
    """
    require_pair(reference, prediction)
    spacing = require_spacing(spacing_mm, reference.ndim)
    require_drawable(reference)
    areas = sizes(spacing)
    # What takes its time does so without Python's lock, but a pool takes some of its own.
    pays = reference.size >= _LARGE and allowed_threads() != 1
    with ThreadPoolExecutor(2) if pays else nullcontext() as pool:
        apply = pool.map if pool else map
        (one, one_codes), (other, other_codes) = apply(_cells, (reference, prediction))
        there, back = apply(
            _surface, (one, other), (other, one), (areas[one_codes], areas[other_codes]), (spacing, spacing)
        )
        return SurfaceDistances(there, back)


def _cells(mask: Bools) -> tuple[Cells, NDArray[np.uint8]]:
    return codes(mask, bounds(mask))


def _surface(cells: Cells, others: Cells, sizes: Floats, spacing: tuple[float, ...]) -> Surface:
    return Surface.of(_distances(cells, others, spacing), sizes)


def _distances(cells: Cells, others: Cells, spacing: tuple[float, ...]) -> Floats:
    """Return the distance of each cell (n, d) to the nearest of others (m, d), in mm; infinite if there is none."""
    if not len(others):
        return np.full(len(cells), np.inf)
    if not len(cells):
        return np.zeros(0)
    tree = KDTree(others * spacing, leafsize=_LEAF, balanced_tree=False)
    _, nearest = tree.query(cells * spacing)
    # By the difference of indices: where a tolerance is a multiple of the spacing, the last bit decides.
    apart = (cells - others[nearest]) * np.array(spacing)
    return np.asarray(np.sqrt((apart**2).sum(axis=1)))


def surface_size(mask: Bools, *, spacing_mm: Sequence[float]) -> float:
    """Return the area of a mask's surface in mm2, or of a plane mask the length of its outline in mm; 0 if empty.

    Raises
    ------
    ImageError, GeometryMismatchError
        If the mask is not boolean, or of other dimensions than two or three; see ``require_spacing``.
    """
    require_mask("mask", mask)
    require_drawable(mask)
    _, found = _cells(mask)
    return float(sizes(require_spacing(spacing_mm, mask.ndim))[found].sum())


def nsd(reference: Bools, prediction: Bools, *, spacing_mm: Sequence[float], tolerance_mm: float) -> float:
    """Return ``SurfaceDistances.nsd`` of two masks."""
    require_length("tolerance_mm", tolerance_mm)  # before what takes time
    return surface_distances(reference, prediction, spacing_mm=spacing_mm).nsd(tolerance_mm=tolerance_mm)


def hd(reference: Bools, prediction: Bools, *, spacing_mm: Sequence[float]) -> float:
    """Return Hausdorff's distance of two masks' surfaces, in mm; see ``SurfaceDistances.hausdorff``."""
    return surface_distances(reference, prediction, spacing_mm=spacing_mm).hausdorff()


def hd95(reference: Bools, prediction: Bools, *, spacing_mm: Sequence[float]) -> float:
    """Return Hausdorff's distance less the farthest 5% of each surface, in mm; see ``SurfaceDistances.hausdorff``."""
    return surface_distances(reference, prediction, spacing_mm=spacing_mm).hausdorff(percent=95)


def assd(reference: Bools, prediction: Bools, *, spacing_mm: Sequence[float]) -> float:
    """Return the average symmetric surface distance of two masks, in mm; see ``SurfaceDistances.assd``."""
    return surface_distances(reference, prediction, spacing_mm=spacing_mm).assd()
