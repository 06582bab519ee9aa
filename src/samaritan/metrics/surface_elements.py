"""Where the surface of a mask is, and how large each piece of it: marching cubes, as tables.

A *cell* lies between the centres of 2 x 2 x 2 voxels (2 x 2 pixels), and a *code* tells which of these are in the mask.
The surface that marching cubes (Lorensen and Cline 1987, doi:10.1145/37402.37422) would put into the cell has an area
that depends on nothing but code and spacing. Of a cell and its complement, which have the same surface, the one with
fewer corners in the mask is looked at. That is the surface that DeepMind's ``surface-distance`` measures (Nikolov et
al. 2021, doi:10.2196/26151), whose figures the literature has.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from skimage.measure import marching_cubes

from samaritan.metrics.masks import Block, Bools

Floats = NDArray[np.float64]


def codes(mask: Bools, block: Block) -> tuple[NDArray[np.intp], NDArray[np.uint8]]:
    """Return the cells (n, d) with surface of what ``block`` holds of a mask, and their codes (n,).

    A cell has the indices of its last voxel; those behind the array's end are as far out as its beginning.
    """
    code, bits = np.pad(mask[block], 1).view(np.uint8), 1
    # Two voxels along the last axis make two bits, two such pairs along the axis before that four, and so on.
    for axis in reversed(range(mask.ndim)):
        along = np.moveaxis(code, axis, 0)
        code = np.moveaxis(along[:-1] | along[1:] << np.uint8(bits), 0, axis)
        bits *= 2
    flat = code.ravel()
    at = np.flatnonzero((flat != 0) & (flat != (1 << bits) - 1))
    first = np.array([span.start for span in block])
    return np.stack(np.unravel_index(at, code.shape), axis=-1) + first, flat[at]


def sizes(spacing_mm: tuple[float, ...]) -> Floats:
    """Return the size of the surface in a cell of each code: areas in mm2, or of 2 x 2 pixels lengths in mm."""
    return _lengths(spacing_mm) if len(spacing_mm) == 2 else _areas(spacing_mm)


def _lengths(spacing_mm: tuple[float, ...]) -> Floats:
    rows, columns = spacing_mm
    corner = np.hypot(rows, columns) / 2
    found = np.zeros(16)
    for code in range(1, 15):
        a, b, c, d = _corners(code, 2).ravel()
        if a == d and b == c:  # two opposite corners: the line is cut twice
            found[code] = 2 * corner
        elif a == b and c == d:  # along the columns
            found[code] = columns
        else:
            found[code] = rows if a == c and b == d else corner
    return found


def _areas(spacing_mm: tuple[float, ...]) -> Floats:
    x, y, z = spacing_mm
    scale = np.array([y * z, x * z, x * y])  # of a triangle's normal, whose length is its area
    return np.array([np.linalg.norm(normals * scale, axis=1).sum() for normals in _normals()])


@cache
def _normals() -> tuple[Floats, ...]:
    """Return the normals (n, 3) of the triangles in a cell of unit size, as long as these are large, by code."""
    found = [np.zeros((0, 3))] * 256
    for code in range(1, 255):
        inside = _corners(code, 3)
        if inside.sum() > 4:
            inside = ~inside
        points, triangles, _, _ = marching_cubes(inside.astype(np.float32), 0.5, method="lorensen")
        a, b, c = points[triangles.T].astype(np.float64)
        found[code] = np.cross(b - a, c - a) / 2
    return tuple(found)


def _corners(code: int, dimensions: int) -> Bools:
    """Return which voxels of a cell are in the mask, (2, 2) or (2, 2, 2)."""
    bits = np.arange(2**dimensions)
    return np.asarray((code >> bits & 1).astype(np.bool_).reshape((2,) * dimensions))
