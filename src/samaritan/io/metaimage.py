"""MetaImage: ``.mha``, and ``.mhd`` with ``.raw`` or ``.zraw`` beside it.

The header is checked here before SimpleITK, which would take the memory that it claims, may read it. World
coordinates are LPS in the file, whatever its ``AnatomicalOrientation`` says (ITK ignores it as well). Label names go
into a JSON sidecar.

Source: https://itk.org/Wiki/ITK/MetaIO/Documentation
"""

from __future__ import annotations

import math
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

from samaritan.core.errors import CorruptFileError, UnsupportedFormatError
from samaritan.core.geometry import Geometry
from samaritan.core.image import Image, LabelMap
from samaritan.io import itk
from samaritan.io.format import ReadOptions, WriteOptions
from samaritan.io.frames import as_labels, label_type
from samaritan.io.notes import Notes, with_sidecar, write_sidecar
from samaritan.io.streams import require_room

_READER = "MetaImageIO"
_HEADER_BYTES = 1 << 16
_CHUNK = 1 << 20
_FIELD = re.compile(r"([^=:]*)[=:](.*)")  # MetaIO ends a key at either sign, whichever comes first
_BYTES = {
    **dict.fromkeys(("MET_CHAR", "MET_UCHAR"), 1),
    **dict.fromkeys(("MET_SHORT", "MET_USHORT"), 2),
    **dict.fromkeys(("MET_INT", "MET_UINT", "MET_LONG", "MET_ULONG", "MET_FLOAT"), 4),
    **dict.fromkeys(("MET_LONG_LONG", "MET_ULONG_LONG", "MET_DOUBLE"), 8),
}


def read(path: Path, options: ReadOptions) -> Image:
    """Read an image; several values a voxel are channels, a fourth dimension is frames to select from."""
    _check(path)
    return itk.to_image(itk.load(path, _READER), path, options, channels=True)


def read_labels(path: Path, _reference: Geometry | None) -> LabelMap:
    """Read a label map, with the names and colours of the sidecar."""
    _check(path)
    volume = itk.load(path, _READER)
    return with_sidecar(as_labels(itk.labels_array(volume, path), volume.geometry, path), path)


def write_image(image: Image, path: Path, _options: WriteOptions) -> None:
    """Write an image."""
    itk.save(image.array, image.geometry, path, notes=Notes.of(image), keys={})


def write_labels(labels: LabelMap, path: Path, _options: WriteOptions) -> None:
    """Write a label map, and its names and colours as a sidecar."""
    array = labels.array.astype(label_type(int(labels.array.max())), copy=False)
    itk.save(array[None], labels.geometry, path, notes=Notes(unit=labels.geometry.unit), keys={})
    write_sidecar(path, Notes.of(labels))


@dataclass(frozen=True, slots=True)
class _Fields:
    fields: dict[str, str]
    size: int  # bytes of the header


def _check(path: Path) -> None:
    """Refuse a header that contradicts itself, its data or the machine."""
    header = _fields(path)
    fields = header.fields
    try:
        sizes = [int(n) for n in itk.numbers(fields["DimSize"])]
        dimensions = int(fields.get("NDims", len(sizes)))
        channels = int(fields.get("ElementNumberOfChannels", "1"))
        spacing = itk.numbers(fields.get("ElementSpacing", fields.get("ElementSize", "1")))
        width = _BYTES[fields["ElementType"].removesuffix("_ARRAY")]
    except (KeyError, ValueError) as error:
        raise CorruptFileError(got=f"{path.name}: header without a usable {error}", fix="Repair its header") from error
    if min(sizes) < 1 or channels < 1 or len(sizes) != dimensions:
        raise CorruptFileError(got=f"{path.name} has sizes {sizes}", wanted="as many as NDims, each at least 1")
    itk.positive_spacing(spacing, path)
    name = fields["ElementDataFile"]
    if name.split()[0] == "LIST" or "%" in name:
        raise UnsupportedFormatError(
            got=f"{path.name} lists one file a slice", wanted="one data file", fix="Convert it with 3D Slicer or ITK"
        )
    inline = name.upper() == "LOCAL"
    data = path if inline else itk.inside_folder(name, path)
    start = header.size if inline else 0
    text = fields.get("BinaryData", "True").lower() != "true"
    needed = math.prod(sizes) * channels * (1 if text else width)
    zipped = fields.get("CompressedData", "False").lower() == "true"
    require_room(data, needed=needed, held=None if zipped else data.stat().st_size - start)
    if zipped:
        _check_zlib(data, start, needed=needed, stated=fields.get("CompressedDataSize", ""))


def _check_zlib(path: Path, start: int, *, needed: int, stated: str) -> None:
    """Refuse a compressed stream that is damaged or not as long as stated.

    MetaIO would hand out what it got so far, or memory that was never written.
    """
    unpack, count, taken = zlib.decompressobj(), 0, 0
    try:
        with path.open("rb") as content:
            content.seek(start)
            while count <= needed and not unpack.eof and (part := unpack.unconsumed_tail or content.read(_CHUNK)):
                count += len(unpack.decompress(part, _CHUNK))
            count += len(unpack.flush())
            taken = content.tell() - start - len(unpack.unused_data)
    except zlib.error as error:
        raise CorruptFileError(got=f"{path.name} is damaged ({error})", fix="Copy or download it again") from error
    if count != needed or not unpack.eof or stated != str(taken):
        raise CorruptFileError(
            got=f"{path.name} holds {count} bytes of voxels in {taken}, stated as '{stated}'",
            wanted=f"{needed} bytes of voxels",
            fix="Copy or download it again",
        )


def _fields(path: Path) -> _Fields:
    fields: dict[str, str] = {}
    with path.open("rb") as content:
        for line in iter(lambda: content.readline(_HEADER_BYTES), b""):
            match = _FIELD.match(itk.header_line(line, path))
            if not match or content.tell() > _HEADER_BYTES:
                break
            key, value = match[1].strip(), match[2].strip()
            fields[key] = value
            if key == "ElementDataFile" and value:
                return _Fields(fields, content.tell())
    raise CorruptFileError(got=f"{path.name} has no ElementDataFile in its header", fix="Copy or download it again")
