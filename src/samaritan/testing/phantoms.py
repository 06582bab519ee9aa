"""Synthetic images whose true masks are known by construction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samaritan.core.geometry import Geometry, Shape
from samaritan.core.image import RGB, Image, LabelMap
from samaritan.core.prompts import Box

# Hounsfield units of the CT phantoms, near those of real tissue.
AIR_HU, FAT_HU, LIVER_HU, KIDNEY_HU = -1000, -100, 60, 180


@dataclass(frozen=True, eq=False, slots=True)
class Phantom:
    """An image and the labels that are true of it, on the same grid."""

    image: Image
    truth: LabelMap

    def mask(self, value: int = 1) -> NDArray[np.bool_]:
        """Return the true mask (i, j, k) of one label."""
        return self.truth.mask(value)

    def box(self, value: int = 1, *, margin: int = 0) -> Box:
        """Return the tight box of one label; see ``box_of``."""
        return box_of(self.mask(value), margin=margin)


def box_of(mask: NDArray[np.bool_], *, margin: int = 0) -> Box:
    """Return the smallest box around the true voxels of ``mask`` (i, j, k), widened by ``margin``, within the grid."""
    where = np.argwhere(mask)
    start = np.maximum(where.min(axis=0) - margin, 0)
    stop = np.minimum(where.max(axis=0) + 1 + margin, mask.shape)
    return Box((int(start[0]), int(start[1]), int(start[2])), (int(stop[0]), int(stop[1]), int(stop[2])))


def _ball(shape: Shape, centre: ArrayLike, radii: ArrayLike) -> NDArray[np.bool_]:
    """Return the voxels of the ellipsoid; centre and radii in voxels, a radius of inf ignores its axis."""
    grid = np.ogrid[tuple(slice(0, n) for n in shape)]
    away = sum(
        ((axis - c) / r) ** 2
        for axis, c, r in zip(grid, np.asarray(centre, float), np.asarray(radii, float), strict=True)
    )
    return np.broadcast_to(away <= 1, shape)


def ct_volume(
    shape: Shape = (48, 40, 24),
    *,
    affine: ArrayLike | None = None,
    noise_hu: float = 0.0,
    rng: np.random.Generator | None = None,
) -> Phantom:
    """Return a CT-like volume: an ellipsoid of liver (label 1) and one of kidney (label 2) in fat.

    Parameters
    ----------
    shape
        Voxels along i, j, k.
    affine
        (4, 4) of any orientation; by default 1 x 1 x 2 mm, RAS.
    noise_hu
        Standard deviation of Gaussian noise; ``rng`` draws it (a fixed seed if None).
    """
    geometry = Geometry.from_spacing(shape, (1, 1, 2)) if affine is None else Geometry(shape, np.asarray(affine))
    size = np.array(shape, dtype=float)
    labels = np.zeros(shape, np.uint8)
    labels[_ball(shape, 0.36 * size, np.maximum(0.22 * size, 0.6))] = 1
    labels[_ball(shape, 0.75 * size, np.maximum(0.13 * size, 0.6))] = 2
    values = np.array([FAT_HU, LIVER_HU, KIDNEY_HU], np.float32)[labels]
    if noise_hu:
        values += (rng or np.random.default_rng(0)).normal(0, noise_hu, shape).astype(np.float32)
    image = Image(values.astype(np.int16)[None], geometry, modality="CT", window=(40.0, 400.0))
    return Phantom(image, LabelMap(labels, geometry, {1: "liver", 2: "kidney"}))


def picture(width: int = 96, height: int = 64, *, colour: bool = False) -> Phantom:
    """Return an 8-bit picture with a bright disk (label 1) and a grey ellipse (label 2) on dark ground."""
    shape = (width, height, 1)
    short = min(width, height)
    labels = np.zeros(shape, np.uint8)
    labels[_ball(shape, (0.3 * width, 0.4 * height, 0), (max(0.22 * short, 0.6), max(0.22 * short, 0.6), 1))] = 1
    labels[_ball(shape, (0.75 * width, 0.65 * height, 0), (max(0.15 * width, 0.6), max(0.2 * height, 0.6), 1))] = 2
    palette = np.array([(20, 30, 40), (220, 200, 180), (120, 130, 140)], np.uint8)
    channels = palette.T[:, labels]
    array = channels if colour else channels[:1]
    image = Image(array, Geometry.picture(width, height), channels=RGB if colour else ("intensity",))
    return Phantom(image, LabelMap(labels, image.geometry, {1: "disk", 2: "ellipse"}))


def many_objects(rows: int = 3, columns: int = 4, *, cell: int = 24) -> Phantom:
    """Return an 8-bit picture with ``rows`` x ``columns`` disks, each its own label and grey level."""
    width, height = columns * cell, rows * cell
    labels = np.zeros((width, height, 1), np.uint16)
    for value in range(1, rows * columns + 1):
        row, column = divmod(value - 1, columns)
        centre = ((column + 0.5) * cell - 0.5, (row + 0.5) * cell - 0.5, 0)
        labels[_ball(labels.shape, centre, (0.35 * cell, 0.35 * cell, 1))] = value
    grey = np.where(labels > 0, 100 + labels * (150 // (rows * columns)), 20).astype(np.uint8)
    image = Image(grey[None], Geometry.picture(width, height))
    return Phantom(image, LabelMap(labels, image.geometry, {v: f"disk {v}" for v in range(1, rows * columns + 1)}))
