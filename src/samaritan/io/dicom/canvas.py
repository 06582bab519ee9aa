"""Masks, slice by slice, into one label map."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samaritan.core.geometry import Shape
from samaritan.io.frames import LossWarning, label_type


class Canvas:
    """A label map under construction: what is painted later covers what is there, and overlaps are remembered.

    Whoever paints goes from the largest structure to the smallest: so a tumour inside an organ inside the body's
    outline stays visible, though a voxel holds one label only.

    Parameters
    ----------
    shape
        Voxels along i, j, k.
    highest
        The highest label value.
    """

    def __init__(self, shape: Shape, highest: int) -> None:
        self.array = np.zeros(shape, label_type(highest), order="F")
        self._overlaps: dict[tuple[int, int], int] = {}

    def paint(self, value: int, mask: NDArray[np.bool_], slab: tuple[int | slice, ...]) -> None:
        """Set the voxels of ``mask`` (a, b) in a plane (a, b), the array's at index ``slab``, to ``value``."""
        plane = self.array[slab]
        covered = plane[mask]
        for other, count in zip(
            *np.unique(covered[(covered != 0) & (covered != value)], return_counts=True), strict=True
        ):
            pair = (int(other), value)
            self._overlaps[pair] = self._overlaps.get(pair, 0) + int(count)
        plane[mask] = value

    def warn(self, names: Mapping[int, str], what: str) -> None:
        """Say in one warning which labels overlap, if any do."""
        if not self._overlaps:
            return
        said = [f"{names[a]} and {names[b]} ({count} voxels)" for (a, b), count in list(self._overlaps.items())[:5]]
        more = f", and {len(self._overlaps) - 5} more pairs" if len(self._overlaps) > 5 else ""
        warnings.warn(
            f"{what}: labels overlap, and a voxel holds one only: the smaller one wins. {'; '.join(said)}{more}",
            LossWarning,
            stacklevel=3,
        )


def largest_first(sizes: Mapping[int, Any]) -> list[int]:
    """Return label values in the order to paint them."""
    return sorted(sizes, key=lambda value: (-sizes[value], value))
