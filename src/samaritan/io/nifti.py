"""NIfTI-1 and NIfTI-2: ``.nii``, ``.nii.gz`` and the pair ``.hdr``/``.img``.

World coordinates: the sform where its code is above 0, else the qform where its code is, else "method 1" of the
standard: the spacing alone, first voxel at the origin, axes taken as R, A, S. Metres and micrometres become
millimetres; an unknown unit is taken as millimetres, as everybody does. One exception: a single plane whose header
states no form, no unit and a spacing of exactly 1 is a picture of unknown scale.

A fourth axis holds time points or sequences, and the file does not say which, so one must be chosen, or all be declared
channels. A fifth axis, or a fourth of intent code "vector", holds channels.

Label names, colours and channel names travel as JSON in a header extension of code 6 (plain comment): code 44, which
also holds JSON, belongs to spectroscopy.

Source: https://nifti.nimh.nih.gov/nifti-1 and the header file nifti1.h.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
from nibabel.nifti1 import Nifti1Extension
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from samaritan.core.errors import CorruptFileError, GeometryError, UnsupportedFormatError, WriteError
from samaritan.core.geometry import Geometry, Shape, Unit
from samaritan.core.image import RGB, Image, LabelMap
from samaritan.io.format import ReadOptions, WriteOptions, partner
from samaritan.io.frames import (
    absent_as_zeros,
    as_labels,
    channel_names,
    choose_frames,
    drop_alpha,
    label_type,
    pick_channel,
)
from samaritan.io.notes import Notes
from samaritan.io.streams import create_content, open_content, read_array, require_room, write_slabs

_MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
_COMMENT = 6
_SCANNER = 1
_VECTOR = 1007
_NIFTI1_LARGEST_AXIS = 32767
_MAX_OFFSET = 64 << 20
_ORTHOGONAL = 1e-5
_COLOUR_CHANNELS = {128: 3, 2304: 4}


@dataclass(frozen=True, slots=True)
class _Header:
    """What a header says, checked."""

    header: Any  # nibabel's
    data_path: Path
    sizes: tuple[int, ...]  # five: i, j, k, frames, channels
    samples: int  # values interleaved in a voxel: 3 and 4 for colour
    dtype: np.dtype[Any]  # of one value
    notes: Notes | None
    is_vector: bool

    @property
    def shape(self) -> Shape:
        return cast("Shape", self.sizes[:3])


def read(path: Path, options: ReadOptions) -> Image:
    """Read an image; ``options.select`` picks one volume of a fourth axis, or one channel."""
    header = _read_header(path)
    geometry = _geometry(header)
    if header.is_vector:
        array = absent_as_zeros(_read_voxels(header, path, None), path)
        image = Image(array, geometry, channels=_channels(header, len(array)), source=str(path))
        return pick_channel(image, options.select, path)
    array = absent_as_zeros(_read_voxels(header, path, choose_frames(header.sizes[3], options, path)), path)
    return Image(array, geometry, channels=_channels(header, len(array)), source=str(path))


def read_labels(path: Path, _reference: Geometry | None) -> LabelMap:
    """Read a label map, with the names and colours that its extension holds."""
    header = _read_header(path)
    if header.samples > 1:
        raise UnsupportedFormatError(got=f"{path.name} holds colours", wanted="one label a voxel")
    array = _read_voxels(header, path, choose_frames(header.sizes[3] * header.sizes[4], ReadOptions(), path))
    labels = as_labels(array[0], _geometry(header), path)
    return labels if header.notes is None else header.notes.label(labels)


def write_image(image: Image, path: Path, _options: WriteOptions) -> None:
    """Write an image: 8-bit colour as RGB24, other channels along a fifth axis of intent "vector"."""
    array = image.array
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    if image.is_colour and array.dtype == np.uint8:
        header = _new_header(image.geometry, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
        slabs = _colour_slabs(array)
    else:
        header = _new_header(image.geometry, array.dtype, channels=len(array))
        slabs = _slabs(array)
    _write(header, slabs, path, Notes.of(image))


def write_labels(labels: LabelMap, path: Path, _options: WriteOptions) -> None:
    """Write a label map in the smallest unsigned type, with its names and colours in an extension."""
    array = labels.array.astype(label_type(int(labels.array.max())), copy=False)
    _write(_new_header(labels.geometry, array.dtype), _slabs(array[None]), path, Notes.of(labels))


# -- reading ----------------------------------------------------------------------------------------------------


def _read_header(path: Path) -> _Header:
    header_path = partner(path, ".hdr") if path.suffix.lower() == ".img" else path
    header, is_pair = _parse_header(header_path)
    dim = [int(n) for n in header["dim"]]
    if not 1 <= dim[0] <= 7 or min(dim[1 : dim[0] + 1]) < 1:
        raise CorruptFileError(got=f"{path.name} has dimensions {dim}", wanted="1 to 7 sizes of at least 1")
    sizes = [*dim[1 : dim[0] + 1], 1, 1, 1, 1][: max(dim[0], 5)]
    if int(header["intent_code"]) == _VECTOR and sizes[4] == 1:
        sizes[3:5] = [1, sizes[3]]  # some programs write a vector along the fourth axis
    if math.prod(sizes[5:]) > 1 or min(sizes[3:5]) > 1:
        raise UnsupportedFormatError(got=f"{path.name} has axes {sizes}", wanted="a volume, and one axis more at most")
    samples, dtype = _dtype(header, path)
    return _Header(
        header,
        _data_path(path) if is_pair else path,
        tuple(sizes[:5]),
        samples,
        dtype,
        _notes(header, path),
        is_vector=samples > 1 or sizes[4] > 1,
    )


def _parse_header(path: Path) -> tuple[Any, bool]:
    """Return nibabel's header of a file, unchecked, and whether its voxels lie in another file."""
    with open_content(path) as content:
        raw = content.read(540)
        second = raw[4:8] in (b"n+2\0", b"ni2\0")
        is_pair = (raw[4:8] if second else raw[344:348]) in (b"ni1\0", b"ni2\0")
        classes = (
            (nib.Nifti1Header, nib.nifti1.Nifti1PairHeader),
            (nib.Nifti2Header, nib.nifti2.Nifti2PairHeader),
        )
        cls = classes[second][is_pair]
        if len(raw) < (540 if second else 348):
            raise CorruptFileError(got=f"{path.name} ends within its header", fix="Copy or download it again")
        bare = cls.from_fileobj(io.BytesIO(raw[: 540 if second else 348]), check=False)
        if not 0 <= float(bare["vox_offset"]) <= _MAX_OFFSET:
            raise CorruptFileError(got=f"{path.name} puts its voxels at byte {float(bare['vox_offset']):g}")
        content.seek(0)
        # Read no further than the voxels, so that an extension cannot claim more than the limit above.
        size = max(int(bare["vox_offset"]), 352) if not is_pair else _MAX_OFFSET
        try:
            return cls.from_fileobj(io.BytesIO(content.read(size)), check=False), is_pair
        except (HeaderDataError, ValueError, OSError) as error:
            raise CorruptFileError(got=f"{path.name} has a damaged header ({error})") from error


def _data_path(path: Path) -> Path:
    data = partner(path, ".img")
    if not data.is_file():
        raise CorruptFileError(got=f"{path.name} without its voxels", wanted=f"{data.name} beside it")
    return data


def _dtype(header: Any, path: Path) -> tuple[int, np.dtype[Any]]:  # noqa: ANN401  # nibabel is untyped
    code = int(header["datatype"])
    if code in _COLOUR_CHANNELS:
        return _COLOUR_CHANNELS[code], np.dtype(np.uint8)
    try:
        dtype = np.dtype(header.get_data_dtype())
    except (HeaderDataError, KeyError) as error:
        raise CorruptFileError(got=f"{path.name} has voxels of unknown type {code}") from error
    if dtype.kind not in "uif" or dtype.itemsize > 8:
        raise UnsupportedFormatError(got=f"{path.name} holds {dtype} voxels", wanted="integers or floats up to 64 bits")
    return 1, dtype


def _notes(header: Any, path: Path) -> Notes | None:  # noqa: ANN401  # nibabel is untyped
    for extension in header.extensions:
        if extension.get_code() == _COMMENT:
            text = bytes(extension.get_content()).rstrip(b"\0")
            notes = Notes.from_json(text, where=path.name) if text.isascii() else None
            if notes is not None:
                return notes
    return None


def _geometry(header: _Header) -> Geometry:
    """Return the grid, in millimetres, or in pixels where the file says or shows that it has no scale."""
    raw = header.header
    units = int(raw["xyzt_units"]) & 7
    if units not in _MM_PER_UNIT:
        raise GeometryError(got=f"spatial unit of code {units}", wanted="0 unknown, 1 m, 2 mm or 3 micrometres")
    formless = int(raw["sform_code"]) <= 0 and int(raw["qform_code"]) <= 0
    affine = _affine(raw)
    plain = formless and units == 0 and header.shape[2] == 1 and bool(np.array_equal(affine, np.eye(4)))
    unit: Unit = header.notes.unit if header.notes else "pixel" if plain else "mm"
    affine[:3] *= _MM_PER_UNIT[units]
    return Geometry(header.shape, affine, unit)


def _affine(raw: Any) -> NDArray[np.float64]:  # noqa: ANN401  # nibabel is untyped
    if int(raw["sform_code"]) > 0:
        return np.array(raw.get_sform(), dtype=np.float64)
    pixdim = np.array(raw["pixdim"][1:4], dtype=np.float64)
    pixdim[int(raw["dim"][0]) :] = 1.0  # spacing along axes that the file does not have
    if not (np.isfinite(pixdim).all() and pixdim.min() > 0):
        raise GeometryError(
            got=f"spacing {pixdim.tolist()}",
            wanted="positive numbers",
            fix="Repair the header's pixdim, or set a sform",
        )
    if int(raw["qform_code"]) <= 0:
        return np.diag([*pixdim, 1.0])
    whole = raw.copy()
    whole["pixdim"][1:4] = pixdim
    try:
        return np.array(whole.get_qform(), dtype=np.float64)
    except (HeaderDataError, ValueError) as error:
        raise GeometryError(got=f"a damaged qform ({error})", fix="Repair the header, or set a sform") from error


def _read_voxels(header: _Header, path: Path, frames: range | None) -> NDArray[Any]:
    """Return (c, i, j, k): ``frames`` of a fourth axis, or where that is None all channels."""
    sizes = (*header.sizes[:3], len(frames)) if frames else header.sizes
    shape = (header.samples, *sizes) if header.samples > 1 else sizes
    needed = math.prod(shape) * header.dtype.itemsize
    start = int(header.header["vox_offset"]) + (frames.start * (needed // len(frames)) if frames else 0)
    with open_content(header.data_path) as content:
        zipped = not isinstance(content, io.BufferedReader)
        held = None if zipped else max(header.data_path.stat().st_size - start, 0)
        require_room(header.data_path, needed=needed, held=held)
        content.seek(start)
        array = read_array(content, shape, header.dtype, path)
    if header.samples > 1:
        colours = array.reshape(header.samples, *header.shape, order="F")
        return colours if header.samples == 3 else drop_alpha(colours, path)
    array = array.reshape(*header.shape, -1, order="F")
    return np.moveaxis(_scaled(array, header.header), -1, 0)


def _scaled(array: NDArray[Any], raw: Any) -> NDArray[Any]:  # noqa: ANN401  # nibabel is untyped
    """Apply slope and intercept, where they change anything, in the smallest float that keeps every value apart."""
    slope, intercept = float(raw["scl_slope"]), float(raw["scl_inter"])
    if not (math.isfinite(slope) and math.isfinite(intercept)) or slope == 0 or (slope, intercept) == (1.0, 0.0):
        return array
    small = array.dtype.itemsize <= 2 or array.dtype == np.float32
    scaled = array.astype(np.float32 if small else np.float64)
    np.multiply(scaled, slope, out=scaled)
    np.add(scaled, intercept, out=scaled)
    return scaled


def _channels(header: _Header, count: int) -> tuple[str, ...]:
    if header.notes and len(header.notes.channels) == count:
        return header.notes.channels
    return RGB if header.samples > 1 else channel_names(count)


# -- writing ----------------------------------------------------------------------------------------------------


def _new_header(geometry: Geometry, dtype: np.dtype[Any], *, channels: int = 1) -> Any:  # noqa: ANN401  # nibabel
    large = max(*geometry.shape, channels) > _NIFTI1_LARGEST_AXIS
    header = nib.Nifti2Header() if large else nib.Nifti1Header()
    header.set_data_dtype(dtype)
    header.set_data_shape(geometry.shape if channels == 1 else (*geometry.shape, 1, channels))
    if channels > 1:
        header.set_intent("vector")
    header["pixdim"][1:4] = geometry.spacing
    header.set_sform(geometry.affine, code=_SCANNER)
    cosines = geometry.affine[:3, :3] / geometry.spacing
    if np.abs(cosines.T @ cosines - np.eye(3)).max() < _ORTHOGONAL:  # a qform is a rotation: it cannot hold a shear
        header.set_qform(geometry.affine, code=_SCANNER)
    header["xyzt_units"] = 2 if geometry.unit == "mm" else 0
    header["scl_slope"], header["scl_inter"] = 1.0, 0.0
    return header


def _slabs(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield (c, i, j, k) in the order of the file, a plane at a time."""
    for channel in array:
        for k in range(channel.shape[2]):
            yield channel[:, :, k].T


def _colour_slabs(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield (c, i, j, k) in the order of the file, a plane at a time, the colours of a voxel together."""
    for k in range(array.shape[3]):
        yield array[:, :, :, k].T


def _write(header: Any, slabs: Iterator[NDArray[Any]], path: Path, notes: Notes) -> None:  # noqa: ANN401  # nibabel
    if notes not in (Notes(), Notes(channels=channel_names(1)), Notes(channels=RGB)):
        header.extensions.append(Nifti1Extension("comment", notes.to_json().encode("ascii")))
    if path.suffix.lower() not in (".hdr", ".img"):
        with create_content(path) as content:
            header.write_to(content)
            write_slabs(content, slabs)
        return
    pair = nib.nifti2.Nifti2PairHeader if isinstance(header, nib.Nifti2Header) else nib.nifti1.Nifti1PairHeader
    try:
        split = pair.from_header(header)
    except HeaderDataError as error:  # pragma: no cover  # both kinds hold the same fields
        raise WriteError(got=f"cannot write {path.name} as a pair ({error})") from error
    split.extensions = header.extensions
    with create_content(partner(path, ".hdr")) as content:
        split.write_to(content)
    with create_content(partner(path, ".img")) as content:
        write_slabs(content, slabs)
