"""DICOM SEG to a label map."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from highdicom.color import CIELabColor
from numpy.typing import NDArray

from samaritan.core.errors import (
    CorruptFileError,
    GeometryMismatchError,
    InconsistentSeriesError,
    UnsupportedFormatError,
)
from samaritan.core.geometry import Floats, Geometry
from samaritan.core.image import Colour, LabelMap
from samaritan.io.dicom.canvas import Canvas, largest_first
from samaritan.io.dicom.headers import LABEL_MAP_STORAGE, Header, tolerant
from samaritan.io.dicom.pixels import decode, places_of
from samaritan.io.dicom.regrid import Regrid
from samaritan.io.dicom.slices import Slice, group_value, normal_of, require_alike, slices_of, sort_slices
from samaritan.io.frames import LossWarning
from samaritan.io.streams import require_room

_OFF_SLICE = 0.05


def read_seg(header: Header, path: Path, reference: Geometry | None) -> LabelMap:
    """Return the label map of a SEG (BINARY, FRACTIONAL or LABELMAP) on the ``reference`` grid.

    Without a reference, on the grid that its frames span. Label values are segment numbers. FRACTIONAL segments are
    cut at one half, with a warning; where segments overlap the smaller one wins, with a warning.

    Raises
    ------
    GeometryMismatchError
        If its voxels do not coincide with those of the reference, or labels lie outside it.
    CorruptFileError
        If frames are unplaced, or name segments that are not described.
    """
    name = header.member.name
    with tolerant(name):
        slices = slices_of(header)
        kind = str(header.data.get("SegmentationType") or "BINARY")
        names, colours = _segments(header)
    if any(s.position is None for s in slices):
        raise UnsupportedFormatError(got=f"the frames of {name} have no position", wanted="a SEG of a volume")
    geometry, index = frame_grid(slices, reference, name)
    with tolerant(name):
        numbers = {} if kind == "LABELMAP" else _segment_numbers(slices, names, name)
    highest = max([*names, *numbers.values(), 1])
    size = int(np.prod(geometry.shape, dtype=object)) * (1 if highest < 2**8 else 2)
    require_room(path, needed=size, held=size)
    if kind == "LABELMAP" or header.data.get("SOPClassUID") == LABEL_MAP_STORAGE:
        array = _label_frames(header, geometry, index, highest)
    else:
        array = _mask_frames(header, geometry, index, (numbers, names))
    if reference is not None:
        array = Regrid.between(geometry, reference, f"the segmentation {name}").apply(array, f"the segmentation {name}")
        geometry = reference
    return LabelMap(array, geometry, names, colours)


def _segments(header: Header) -> tuple[dict[int, str], dict[int, Colour]]:
    names: dict[int, str] = {}
    colours: dict[int, Colour] = {}
    for segment in header.data.get("SegmentSequence") or []:
        number = int(segment.SegmentNumber)
        if number < 1:
            continue  # LABELMAP may describe its background as segment 0
        names[number] = str(segment.get("SegmentLabel") or f"segment {number}")
        lab = segment.get("RecommendedDisplayCIELabValue")
        if lab is not None and len(lab) == 3:
            red, green, blue = CIELabColor.from_dicom_value(tuple(int(v) for v in lab)).to_rgb()
            colours[number] = (int(red), int(green), int(blue))
    return names, colours


def _segment_numbers(slices: Sequence[Slice], names: Mapping[int, str], file: str) -> dict[int, int]:
    """Return the segment number of each frame."""
    numbers: dict[int, int] = {}
    for item in slices:
        number = group_value(places_of(item), "SegmentIdentificationSequence", "ReferencedSegmentNumber")
        if number is None or int(number) not in names:
            raise CorruptFileError(
                got=f"frame {item.frame} of {file} belongs to segment {number}, which is not described"
            )
        numbers[item.frame] = int(number)
    return numbers


def frame_grid(slices: Sequence[Slice], reference: Geometry | None, name: str) -> tuple[Geometry, dict[int, int]]:
    """Return the grid that frames span, and the slice of it that each frame is; empty slices have no frame.

    The step between slices is that of the reference along the frames' normal; without one, the spacing that the file
    claims, or else the smallest distance between two frames.

    Raises
    ------
    GeometryMismatchError
        If the frames lie along no axis of the reference.
    InconsistentSeriesError
        If the frames do not lie on evenly spaced slices.
    """
    require_alike(slices, name)
    ordered, along = sort_slices(slices)
    first = ordered[0]
    axes = first.axes
    if axes is None or first.position is None:  # sort_slices has refused these; this tells the type checker
        raise InconsistentSeriesError(got=f"{name} has frames without a position")
    normal = normal_of(axes)
    away = along - along[0]
    candidates = _claimed_steps(first, away) if reference is None else [_reference_step(normal, reference, name)]
    step = next((s for s in candidates if _is_even(away / s)), None)
    if step is None:
        raise InconsistentSeriesError(
            got=f"the frames of {name} lie at {away[:8].round(3).tolist()} mm along their normal",
            wanted=f"multiples of {candidates[0]:.4g} mm",
        )
    at = np.rint(away / step).astype(np.int64)
    positions = np.array([s.position for s in ordered])
    off = np.linalg.norm(positions - first.position - np.outer(at * step, normal), axis=1).max()
    if off > max(0.01, _OFF_SLICE * float(np.linalg.norm(axes, axis=0).min())):
        raise InconsistentSeriesError(
            got=f"the frames of {name} are shifted by {off:.3f} mm", wanted="a straight stack"
        )
    affine = np.eye(4)
    affine[:3, :2], affine[:3, 2], affine[:3, 3] = axes, normal * step, first.position
    geometry = Geometry.from_lps((*first.size, int(at[-1]) + 1), affine)
    return geometry, {item.frame: int(k) for item, k in zip(ordered, at, strict=True)}


def _is_even(steps: Floats) -> bool:
    return bool(np.abs(steps - np.rint(steps)).max() <= _OFF_SLICE)


def _claimed_steps(first: Slice, away: Floats) -> list[float]:
    gaps = np.diff(away)
    gaps = gaps[gaps > 0.01]
    smallest = float(gaps.min()) if gaps.size else 0.0
    return [step for step in (first.thickness, smallest) if step > 0] or [1.0]


def _reference_step(normal: Floats, reference: Geometry, name: str) -> float:
    spacing = np.linalg.norm(reference.affine_lps[:3, :3], axis=0)
    along = np.abs(normal @ (reference.affine_lps[:3, :3] / spacing))
    if reference.unit != "mm" or along.max() < 0.999:
        raise GeometryMismatchError(
            got=f"the segmentation {name}, whose frames cut the image at an angle",
            wanted=f"frames along an axis of {reference}",
            fix="Resample it onto the image first",
        )
    return float(spacing[along.argmax()])


def _label_frames(header: Header, geometry: Geometry, index: Mapping[int, int], highest: int) -> NDArray[Any]:
    allocated = 2 ** int(header.data.get("BitsAllocated") or 8) - 1
    array = Canvas(geometry.shape, max(highest, min(allocated, 2**16 - 1))).array
    padding = int(header.data.get("PixelPaddingValue") or 0)
    for frame, stored in zip(index, decode(header, list(index)), strict=True):
        array[:, :, index[frame]] = np.where(stored == padding, 0, stored).T if padding else stored.T
    return array


def _mask_frames(
    header: Header,
    geometry: Geometry,
    index: Mapping[int, int],
    segments: tuple[Mapping[int, int], Mapping[int, str]],
) -> NDArray[Any]:
    """Paint the frames of each segment; ``segments`` are the segment number of each frame, and their names."""
    numbers, names = segments
    half = 1.0
    if header.data.get("SegmentationType") == "FRACTIONAL":
        half = int(header.data.get("MaximumFractionalValue") or 255) / 2
        warnings.warn(
            f"{header.member.name} holds fractions: voxels from one half up become labels", LossWarning, stacklevel=2
        )
    sizes = dict.fromkeys(numbers.values(), 0)
    if len(sizes) > 1:
        for frame, stored in zip(index, decode(header, list(index)), strict=True):
            sizes[numbers[frame]] += int(np.count_nonzero(stored >= half))
    rank = {value: n for n, value in enumerate(largest_first(sizes))}
    frames = sorted(index, key=lambda frame: (rank[numbers[frame]], frame))
    canvas = Canvas(geometry.shape, max([*names, 1]))
    for frame, stored in zip(frames, decode(header, frames), strict=True):
        canvas.paint(numbers[frame], np.greater_equal(stored.T, half), (slice(None), slice(None), index[frame]))
    canvas.warn(names, header.member.name)
    return canvas.array
