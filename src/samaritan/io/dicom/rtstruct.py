"""Contours of an RTSTRUCT to a label map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from samaritan.core.errors import CorruptFileError, GeometryMismatchError
from samaritan.core.geometry import AXES, Floats, Geometry
from samaritan.core.image import Colour, LabelMap
from samaritan.io.dicom.canvas import Canvas, largest_first
from samaritan.io.dicom.headers import Header, parse, tolerant

Slab = tuple[int | slice, ...]

_TAGS = ["StructureSetROISequence", "ROIContourSequence"]
_OUT_OF_PLANE_VOXELS = 0.1
_SAME_PLANE_VOXELS = 0.02
_EDGES = 4096  # of a contour at once: each may cross every line of the image


@dataclass(frozen=True, slots=True)
class _Structure:
    """One region: its name, colour, and closed contours, each (n, 3) in voxel indices of the image."""

    name: str
    colour: Colour | None
    contours: list[Floats]


def read_rtstruct(header: Header, reference: Geometry) -> LabelMap:
    """Return the regions of an RTSTRUCT on the ``reference`` grid, numbered from 1 in the file's order.

    A voxel belongs to a region if its centre lies within an odd number of the region's closed contours in its slice
    (so an inner contour, or a keyhole, cuts a hole). A contour belongs to the slice nearest to its plane. Regions
    without closed contours keep their number and name. Where regions overlap the smaller wins, with a warning.

    Raises
    ------
    GeometryMismatchError
        If contours are not parallel to the image's slices, lie outside them, or are closer together than they are.
    CorruptFileError
        If contour data is incomplete.
    """
    with header.member.open() as file:
        data = parse(file, header.member.name, pixels=False, tags=list(_TAGS))
    with tolerant(header.member.name):
        structures = _structures(data, reference, header.member.name)
    axis = _normal_axis([c for s in structures for c in s.contours], header.member.name)
    canvas = Canvas(reference.shape, len(structures))
    masks = {n: _masks(s, axis, reference) for n, s in enumerate(structures, start=1)}
    sizes = {n: sum(int(mask.sum()) for _, mask in planes) for n, planes in masks.items()}
    for value in largest_first(sizes):
        for slab, mask in masks[value]:
            canvas.paint(value, mask, slab)
    names = {n: s.name for n, s in enumerate(structures, start=1)}
    canvas.warn(names, header.member.name)
    colours = {n: s.colour for n, s in enumerate(structures, start=1) if s.colour is not None}
    return LabelMap(canvas.array, reference, names, colours)


def _structures(data: Dataset, reference: Geometry, file: str) -> list[_Structure]:
    drawn = {int(item.ReferencedROINumber): item for item in data.get("ROIContourSequence") or []}
    structures = []
    for n, roi in enumerate(data.get("StructureSetROISequence") or [], start=1):
        item = drawn.get(int(roi.ROINumber), Dataset())
        shown = item.get("ROIDisplayColor")
        colour = (_byte(shown[0]), _byte(shown[1]), _byte(shown[2])) if shown is not None and len(shown) == 3 else None
        closed = [c for c in item.get("ContourSequence") or [] if "CLOSED_PLANAR" in str(c.get("ContourGeometricType"))]
        contours = [_indices(contour, reference, file) for contour in closed]
        structures.append(_Structure(str(roi.get("ROIName") or f"region {n}"), colour, contours))
    return structures


def _byte(part: int) -> int:
    return min(max(int(part), 0), 255)


def _indices(contour: Dataset, reference: Geometry, file: str) -> Floats:
    values = np.array(list(contour.get("ContourData") or []), dtype=np.float64)
    if values.size % 3 or not values.size or not np.isfinite(values).all():
        raise CorruptFileError(got=f"{file} has a contour of {values.size} coordinates", wanted="triples")
    points = np.column_stack([values.reshape(-1, 3), np.ones(values.size // 3)])
    return np.asarray(np.linalg.solve(reference.affine_lps, points.T)[:3].T, dtype=np.float64)


def _normal_axis(contours: Sequence[Floats], file: str) -> int:
    """Return the axis of the image that all contours are perpendicular to."""
    if not contours:
        return 2
    spreads = np.max([np.ptp(c, axis=0) for c in contours], axis=0)
    axis = int(spreads.argmin())
    if spreads[axis] > _OUT_OF_PLANE_VOXELS:
        raise GeometryMismatchError(
            got=f"contours in {file} that cut the image's slices at an angle (by {spreads[axis]:.2f} voxels)",
            wanted="contours parallel to the slices",
            fix="Name the image that they were drawn on",
        )
    return axis


def _masks(structure: _Structure, axis: int, reference: Geometry) -> list[tuple[Slab, NDArray[np.bool_]]]:
    """Return for each slice in which the region is drawn the block around it, and its mask there."""
    places: dict[int, list[Floats]] = {}
    for contour in structure.contours:
        places.setdefault(int(np.floor(contour[:, axis].mean() + 0.5)), []).append(contour)
    size = reference.shape[axis]
    outside = [index for index in places if not 0 <= index < size]
    if outside:
        raise GeometryMismatchError(
            got=f"'{structure.name}' is drawn in slice {outside[0]} along {AXES[axis]}",
            wanted=f"slices 0 to {size - 1} of {reference}",
            fix="Name the image that it was drawn on",
        )
    planes: list[tuple[Slab, NDArray[np.bool_]]] = []
    others = [a for a in range(3) if a != axis]
    shape = (reference.shape[others[0]], reference.shape[others[1]])
    for index, contours in places.items():
        depths = [float(c[:, axis].mean()) for c in contours]
        if max(depths) - min(depths) > _SAME_PLANE_VOXELS:
            raise GeometryMismatchError(
                got=f"'{structure.name}' is drawn {len(contours)} times within slice {index}, at different depths",
                wanted=f"one plane of contours in each slice of {reference}",
                fix="Name the image that it was drawn on",
            )
        window, mask = fill([c[:, others] for c in contours], shape)
        slab: list[int | slice] = list(window)
        slab.insert(axis, index)
        planes.append((tuple(slab), mask))
    return planes


def fill(polygons: Sequence[Floats], shape: tuple[int, int]) -> tuple[tuple[slice, slice], NDArray[np.bool_]]:
    """Return the pixels (a, b) whose centre lies within an odd number of ``polygons``, each (n, 2).

    They come as a window into ``shape`` and the mask in that window. Along each line of pixels, every edge that
    crosses it switches inside and outside from there on. An edge reaches from its lower end up to, but not including,
    its upper end, so polygons that share an edge share no pixel.
    """
    points = np.concatenate(polygons)
    low = np.clip(np.floor(points.min(axis=0)), 0, shape).astype(np.int64)
    high = np.clip(np.ceil(points.max(axis=0)) + 1, low, shape).astype(np.int64)
    width, height = (int(n) for n in high - low)
    switches = np.zeros((width + 1, height), np.int32)
    for polygon in polygons:
        start, stop = polygon - low, np.roll(polygon, -1, axis=0) - low
        for at in range(0, len(polygon), _EDGES):
            crossing, line = _crossings(start[at : at + _EDGES], stop[at : at + _EDGES], height)
            np.add.at(switches, (np.clip(np.ceil(crossing), 0, width).astype(np.int64), line), 1)
    inside = np.asarray(np.cumsum(switches[:-1], axis=0) % 2 == 1)
    return (slice(low[0], high[0]), slice(low[1], high[1])), inside


def _crossings(start: Floats, stop: Floats, height: int) -> tuple[Floats, NDArray[np.int64]]:
    """Return where edges from ``start`` to ``stop`` (n, 2) cross lines b < ``height``: (m,) places a, (m,) lines b."""
    upward = (start[:, 1] <= stop[:, 1])[:, None]
    low, high = np.where(upward, start, stop), np.where(upward, stop, start)
    first = np.clip(np.ceil(low[:, 1]), 0, height).astype(np.int64)
    counts = np.clip(np.ceil(high[:, 1]), 0, height).astype(np.int64) - first
    edge = np.repeat(np.arange(len(start)), counts)
    line = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts) + first[edge]
    # The part of the edge below the line is at most 1, however flat the edge; a slope could overflow.
    below = (line - low[edge, 1]) / (high[edge, 1] - low[edge, 1])
    return low[edge, 0] + below * (high[edge, 0] - low[edge, 0]), line
