"""NRRD and NHDR, with the segments of 3D Slicer (``.seg.nrrd``).

The header is checked here before SimpleITK, which would take the memory that it claims, may read it. Spaces: RAS,
LAS and LPS, by long or short name. A file that names no space is taken as LPS, as ITK does; one that names a space
without saying where the patient lies in it ("3D-left-handed", "scanner-xyz") is refused.

An axis of kind "vector" or of a colour holds channels; of kind "list" or "time", frames to select from.

Source: https://teem.sourceforge.net/nrrd/format.html
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from samaritan.core.errors import CorruptFileError, UnknownOrientationError, UnsupportedFormatError
from samaritan.core.geometry import Geometry
from samaritan.core.image import Image, LabelMap
from samaritan.io import itk
from samaritan.io.format import ReadOptions, WriteOptions
from samaritan.io.frames import as_labels, label_type
from samaritan.io.notes import Notes
from samaritan.io.segments import flatten, name_labels, parse_segments, segment_keys
from samaritan.io.streams import require_room

_READER = "NrrdImageIO"
_HEADER_BYTES = 1 << 22
_SPACES = {
    f"{name}{time}"
    for name in ("right-anterior-superior", "left-anterior-superior", "left-posterior-superior")
    for time in ("", "-time")
} | {f"{name}{time}" for name in ("ras", "las", "lps") for time in ("", "t")}
_TYPES = {
    1: "signed char, int8, int8_t, uchar, unsigned char, uint8, uint8_t",
    2: "short, short int, signed short, signed short int, int16, int16_t, "
    "ushort, unsigned short, unsigned short int, uint16, uint16_t",
    4: "int, signed int, int32, int32_t, uint, unsigned int, uint32, uint32_t, float",
    8: "longlong, long long, long long int, signed long long, signed long long int, int64, int64_t, "
    "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t, double",
}
_WIDTH = {name: width for width, names in _TYPES.items() for name in names.split(", ")}
_GZIP = ("gzip", "gz")
_TEXT = ("txt", "text", "ascii", "hex")
_ENCODINGS = ("raw", *_GZIP, *_TEXT)
_FRAMES = {"list", "time", "none", "point", "???"}
_VECTOR = re.compile(r"\(([^)]*)\)")
_FIELD = re.compile(r"^([^:]+):(?!=) ?(.*)$")  # "key:=value" is no field, "field: a:=b" is one


def read(path: Path, options: ReadOptions) -> Image:
    """Read an image; ``options.select`` picks a channel or a frame."""
    header = _check(path)
    return itk.to_image(itk.load(path, _READER), path, options, channels=not header.has_frames)


def read_labels(path: Path, _reference: Geometry | None) -> LabelMap:
    """Read a label map, with the names and colours of 3D Slicer's segments; layers are laid into one.

    Raises
    ------
    ImageError
        If segments of several layers overlap.
    """
    _check(path)
    volume = itk.load(path, _READER)
    segments = parse_segments(volume.keys, path)
    if len(volume.array) > 1 and segments:
        return flatten(volume.array[..., 0], segments, volume.geometry)
    return name_labels(as_labels(itk.labels_array(volume, path), volume.geometry, path), segments)


def write_image(image: Image, path: Path, _options: WriteOptions) -> None:
    """Write an image, compressed."""
    itk.save(image.array, image.geometry, path, notes=Notes.of(image), keys={})


def write_labels(labels: LabelMap, path: Path, _options: WriteOptions) -> None:
    """Write a label map, compressed, with 3D Slicer's keys for names and colours, whatever its name ends in."""
    array = labels.array.astype(label_type(int(labels.array.max())), copy=False)
    itk.save(array[None], labels.geometry, path, notes=Notes(unit=labels.geometry.unit), keys=segment_keys(labels))


@dataclass(frozen=True, slots=True)
class _Header:
    fields: dict[str, str]
    size: int  # bytes

    @property
    def has_frames(self) -> bool:
        """Whether an axis that is not of space holds frames rather than the components of a value."""
        kinds = self.fields.get("kinds", "").lower().split()
        return any(kind in _FRAMES for kind in kinds)


def _check(path: Path) -> _Header:
    """Refuse a header that contradicts itself, its data or the machine; return it."""
    header = _parse(path)
    fields = header.fields
    try:
        sizes = [int(n) for n in itk.numbers(fields["sizes"])]
        dimension = int(fields["dimension"])
        width = _WIDTH[" ".join(fields["type"].lower().split())]
        encoding = fields["encoding"].lower()
        spacings = _spacings(fields)
    except (KeyError, ValueError) as error:
        raise CorruptFileError(got=f"{path.name}: header without a usable {error}", fix="Repair its header") from error
    if min(sizes) < 1 or len(sizes) != dimension:
        raise CorruptFileError(got=f"{path.name} has sizes {sizes}", wanted="as many as its dimension, each at least 1")
    itk.positive_spacing(spacings, path)
    space = fields.get("space", "lps").lower()
    if space not in _SPACES:
        raise UnknownOrientationError(
            got=f"{path.name} lies in space '{space}', which does not say where the patient's left is",
            wanted="RAS, LAS or LPS",
            fix="If you know it, correct the header's 'space:' line",
        )
    if encoding not in _ENCODINGS:
        raise UnsupportedFormatError(
            got=f"{path.name} is encoded as {encoding}", wanted=f"one of {', '.join(_ENCODINGS)}"
        )
    _check_data(path, header, needed=math.prod(sizes) * (1 if encoding in _TEXT else width), encoding=encoding)
    return header


def _check_data(path: Path, header: _Header, *, needed: int, encoding: str) -> None:
    name = header.fields.get("data file", header.fields.get("datafile"))
    if name is not None and (name.split()[0].upper().startswith("LIST") or "%" in name):
        raise UnsupportedFormatError(
            got=f"{path.name} lists one file a slice", wanted="one data file", fix="Convert it with 3D Slicer"
        )
    data = path if name is None else itk.inside_folder(name, path)
    held = data.stat().st_size - (header.size if name is None else 0)
    require_room(data, needed=needed, held=None if encoding in _GZIP else held)


def _spacings(fields: dict[str, str]) -> list[float]:
    """Return the length of each spatial axis that the header states."""
    directions = fields.get("space directions")
    if directions is not None:
        return [math.hypot(*(float(x) for x in v.split(","))) for v in _VECTOR.findall(directions)]
    return [v for v in itk.numbers(fields.get("spacings", "")) if not math.isnan(v)]  # nan: no axis of space


def _parse(path: Path) -> _Header:
    fields: dict[str, str] = {}
    with path.open("rb") as content:
        for line in iter(lambda: content.readline(_HEADER_BYTES), b""):
            text = itk.header_line(line, path)
            if not text or content.tell() > _HEADER_BYTES:
                break
            match = _FIELD.match(text)
            if match and not text.startswith("#"):
                fields[match[1].strip().lower()] = match[2].strip()
        return _Header(fields, content.tell())
