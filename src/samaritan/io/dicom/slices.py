"""Slices in space: read where each frame lies, and stack frames into one grid or say why they do not make one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from samaritan.core.errors import CorruptFileError, InconsistentSeriesError
from samaritan.core.geometry import Floats, Geometry
from samaritan.io.dicom.headers import Header

# Positions are decimal text, often rounded to hundredths of a millimetre, which moves a gap by up to two of them; above
# that, one per cent of the slice spacing.
_TOLERANCE_MM = 0.02
_TOLERANCE = 0.01
_ANGLE = 1e-3
_DUPLICATE_MM = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """One frame of one file, with its place in LPS+ millimetres where the file tells it.

    ``position`` (3,) is the centre of the first pixel; ``axes`` (3, 2) are the steps from column to column (along a
    row) and from row to row in mm. Both are None for a picture that has no place. ``thickness`` is the distance to
    the next slice that the file claims, in mm; 0 where it claims none.
    """

    header: Header
    frame: int
    position: Floats | None = None
    axes: Floats | None = None
    thickness: float = 0.0

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        return int(self.header.data.Columns), int(self.header.data.Rows)


def slices_of(header: Header) -> list[Slice]:
    """Return the frames of one file, with their places.

    Raises
    ------
    CorruptFileError
        If a place is given but makes no sense: cosines that are no unit vectors, a pixel spacing that is not positive.
    """
    data = header.data
    if data.get("GridFrameOffsetVector") is not None and header.frames > 1:
        return _dose_slices(header)
    shared = _first(data, "SharedFunctionalGroupsSequence")
    per_frame = data.get("PerFrameFunctionalGroupsSequence") or []
    if per_frame and len(per_frame) < header.frames:
        raise CorruptFileError(got=f"{header.member.name} places {len(per_frame)} of its {header.frames} frames")
    slices = []
    for frame in range(header.frames):
        groups = [per_frame[frame]] if per_frame else []
        places = [*groups, *([shared] if shared is not None else []), data]
        slices.append(_placed(header, frame, places))
    return slices


def group_value(places: Sequence[Dataset], sequence: str, name: str) -> Any:  # noqa: ANN401  # a DICOM value
    """Return an attribute that a frame's functional groups, the shared ones or the header itself hold; or None."""
    for place in places:
        item = _first(place, sequence)
        for holder in (item, place):
            if holder is not None and holder.get(name) not in (None, ""):
                return holder.get(name)
    return None


def _first(data: Dataset, sequence: str) -> Dataset | None:
    items = data.get(sequence)
    return items[0] if items else None


def _placed(header: Header, frame: int, places: Sequence[Dataset]) -> Slice:
    position = group_value(places, "PlanePositionSequence", "ImagePositionPatient")
    cosines = group_value(places, "PlaneOrientationSequence", "ImageOrientationPatient")
    spacing = group_value(places, "PixelMeasuresSequence", "PixelSpacing")
    # A multi-frame file of the old kind has one position for all of its frames: the others have no known place.
    if position is None or cosines is None or spacing is None:
        return Slice(header, frame)
    if header.frames > 1 and "PerFrameFunctionalGroupsSequence" not in header.data:
        return Slice(header, frame)
    gap = group_value(places, "PixelMeasuresSequence", "SpacingBetweenSlices")
    thick = group_value(places, "PixelMeasuresSequence", "SliceThickness")
    place, axes = _vectors(header.member.name, position, cosines, spacing)
    return Slice(header, frame, place, axes, abs(float(gap or thick or 0)))


def _vectors(name: str, position: Any, cosines: Any, spacing: Any) -> tuple[Floats, Floats]:  # noqa: ANN401  # DICOM values
    place, angles, steps = (np.array(list(v), dtype=np.float64) for v in (position, cosines, spacing))
    if place.shape != (3,) or angles.shape != (6,) or steps.shape != (2,) or not np.isfinite([*place, *angles]).all():
        raise CorruptFileError(got=f"{name} has an incomplete position, orientation or pixel spacing")
    row, column = angles[:3], angles[3:]
    if np.abs(np.linalg.norm([row, column], axis=1) - 1).max() > 0.01 or abs(row @ column) > 0.01:
        raise CorruptFileError(
            got=f"{name} has the orientation {angles.tolist()}", wanted="two orthogonal unit vectors"
        )
    if not (np.isfinite(steps).all() and steps.min() > 0):
        raise CorruptFileError(got=f"{name} has the pixel spacing {steps.tolist()} mm", wanted="two positive numbers")
    # PixelSpacing is (row to row, column to column): PS3.3 10.7.1.1.
    return place, np.stack([row / np.linalg.norm(row) * steps[1], column / np.linalg.norm(column) * steps[0]], axis=1)


def _dose_slices(header: Header) -> list[Slice]:
    """Place the planes of an RTDOSE: offsets along the normal from the first plane (PS3.3 C.8.8.3.2)."""
    data = header.data
    offsets = np.array(list(data.GridFrameOffsetVector), dtype=np.float64)
    if len(offsets) != header.frames or not all(
        data.get(n) for n in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    ):
        raise CorruptFileError(got=f"{header.member.name} does not place its {header.frames} dose planes")
    place, axes = _vectors(
        header.member.name, data.ImagePositionPatient, data.ImageOrientationPatient, data.PixelSpacing
    )
    # Offsets are relative to the first plane, or (its first value not 0) already the coordinate along the normal.
    away = np.outer(offsets - offsets[0], normal_of(axes))
    return [Slice(header, frame, place + away[frame], axes) for frame in range(header.frames)]


def normal_of(axes: Floats) -> Floats:
    """Return the unit normal (3,), row × column, of a slice with these ``axes`` (3, 2)."""
    normal = np.cross(axes[:, 0], axes[:, 1])
    unit: Floats = normal / np.linalg.norm(normal)
    return unit


def require_alike(slices: Sequence[Slice], what: str) -> None:
    """Raise ``InconsistentSeriesError`` unless all slices have one size, orientation and pixel spacing."""
    first = slices[0]
    for other in slices[1:]:
        if other.size != first.size:
            problem = f"sizes {first.size[0]}×{first.size[1]} and {other.size[0]}×{other.size[1]}"
        elif first.axes is None or other.axes is None:
            problem = "" if first.axes is other.axes else "slices with and without a position"
        else:
            problem = _unlike(first.axes, other.axes)
        if problem:
            raise InconsistentSeriesError(
                got=f"{what} mixes {problem} ({first.header.member.name} and {other.header.member.name})",
                wanted="slices of one size, orientation and pixel spacing",
                fix="Put the slices of one scan into a folder of their own",
            )


def _unlike(one: Floats, two: Floats) -> str:
    spacing_1, spacing_2 = np.linalg.norm(one, axis=0), np.linalg.norm(two, axis=0)
    if np.abs(spacing_1 - spacing_2).max() > _ANGLE * spacing_1.min():
        return f"pixel spacings {spacing_1.round(4).tolist()} and {spacing_2.round(4).tolist()} mm"
    turned = np.abs(one / spacing_1 - two / spacing_2).max()
    return "orientations" if turned > _ANGLE else ""


def sort_slices(slices: Sequence[Slice]) -> tuple[list[Slice], Floats]:
    """Return placed slices in order along their normal (row × column), and their distances along it in mm."""
    axes = slices[0].axes
    if axes is None:
        raise InconsistentSeriesError(got="slices without a position", wanted="ImagePositionPatient in each")
    along = np.array([s.position for s in slices]) @ normal_of(axes)
    order = np.argsort(along, kind="stable")
    return [slices[n] for n in order], along[order]


def has_duplicates(slices: Sequence[Slice]) -> bool:
    """Whether two slices lie at the same place along the normal."""
    _, along = sort_slices(slices)
    return bool((np.diff(along) < _DUPLICATE_MM).any())


def stack(slices: Sequence[Slice], what: str) -> Geometry:
    """Return the grid of sorted slices: i the column, j the row, k the slice.

    A single slice takes its thickness from the header, or 1 mm where the header has none.

    Raises
    ------
    InconsistentSeriesError
        If slices are missing, unevenly spaced, doubled, or shifted against each other (gantry tilt): by more than
        0.02 mm or 1% of the slice spacing, whichever is more.
    """
    require_alike(slices, what)
    axes = slices[0].axes
    positions = np.array([s.position for s in slices], dtype=np.float64)
    if axes is None:
        raise InconsistentSeriesError(got=f"{what} has no position", wanted="ImagePositionPatient")
    normal = normal_of(axes)
    step = normal * (slices[0].thickness or 1.0)
    if len(slices) > 1:
        _require_even(slices, positions @ normal, what)
        step = (positions[-1] - positions[0]) / (len(slices) - 1)
        _require_straight(positions, step, normal, what)
    affine = np.eye(4)
    affine[:3, :2], affine[:3, 2], affine[:3, 3] = axes, step, positions[0]
    return Geometry.from_lps((*slices[0].size, len(slices)), affine)


def _tolerance(spacing: float) -> float:
    return max(_TOLERANCE_MM, _TOLERANCE * spacing)


def _require_even(slices: Sequence[Slice], along: Floats, what: str) -> None:
    gaps = np.diff(along)
    usual = float(np.median(gaps))
    at = int(np.argmax(np.abs(gaps - usual)))
    if gaps.min() < _DUPLICATE_MM:
        at = int(np.argmin(gaps))
        raise InconsistentSeriesError(
            got=f"{what} has two slices at {along[at]:.2f} mm along the normal "
            f"({slices[at].header.member.name} and {slices[at + 1].header.member.name})",
            wanted="one slice at each position",
        )
    if abs(gaps[at] - usual) <= _tolerance(usual):
        return
    missing = round(gaps[at] / usual) - 1
    lost = missing > 0 and abs(gaps[at] - (missing + 1) * usual) <= _tolerance(usual)
    reason = f"{missing} missing" if lost else "unevenly spaced"
    raise InconsistentSeriesError(
        got=f"{what} has a gap of {gaps[at]:.3f} mm between slices {at} and {at + 1} (at {along[at]:.2f} mm and "
        f"{along[at + 1]:.2f} mm along the normal), where {usual:.3f} mm is usual: {reason}",
        wanted=f"slices evenly spaced to {_tolerance(usual):.3g} mm",
        fix="Export the whole series again" if lost else "Resample it to even slices with a tool that you trust",
    )


def _require_straight(positions: Floats, step: Floats, normal: Floats, what: str) -> None:
    rise = float(step @ normal)
    shift = float(np.linalg.norm(step - rise * normal))
    if shift > _tolerance(rise):
        raise InconsistentSeriesError(
            got=f"{what} is sheared: each slice lies {shift:.3f} mm aside of the one before "
            f"(a gantry tilt of {np.degrees(np.arctan2(shift, rise)):.1f}°)",
            wanted="slices stacked along their normal",
            fix="Correct the tilt first, for example with dcm2niix",
        )
    steps = np.arange(len(positions))[:, None] * step
    off = np.linalg.norm(positions - positions[0] - steps, axis=1)
    if off.max() > _tolerance(rise):
        raise InconsistentSeriesError(
            got=f"slice {int(off.argmax())} of {what} lies {off.max():.3f} mm from where even steps put it",
            wanted="slices stacked in a straight line, evenly",
        )
