"""Voxels and grids through SimpleITK, for NRRD and MetaImage.

ITK speaks LPS; ``samaritan.core.geometry`` turns it. Its arrays are ``(k, j, i[, c])``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from samaritan.core.errors import (
    CorruptFileError,
    GeometryError,
    ImageError,
    ReadError,
    UnsupportedFormatError,
    WriteError,
)
from samaritan.core.geometry import Geometry, Shape
from samaritan.core.image import RGB, Image
from samaritan.io.format import ReadOptions
from samaritan.io.frames import absent_as_zeros, channel_names, choose_frames, drop_alpha, pick_channel
from samaritan.io.notes import Notes

_NOTES_KEY = "samaritan_notes"
_IMAGE_IO = {".mha": "MetaImageIO", ".mhd": "MetaImageIO", ".nrrd": "NrrdImageIO", ".nhdr": "NrrdImageIO"}


@dataclass(frozen=True, slots=True)
class Volume:
    """What a file held: ``array`` of (c, i, j, k, frames), its grid, and the text keys of its header."""

    array: NDArray[Any]
    geometry: Geometry
    keys: Mapping[str, str]
    notes: Notes | None


def load(path: Path, image_io: str) -> Volume:
    """Read a file whose header has been checked; a two-dimensional one gets a third axis of one voxel.

    Raises
    ------
    CorruptFileError
        If ITK cannot decode it.
    GeometryError
        If its axes are not independent.
    """
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO(image_io)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        if "Bad direction" in str(error):
            raise GeometryError(
                got=f"{path.name} has axes that depend on each other", fix="Repair its header"
            ) from error
        raise CorruptFileError(
            got=f"{path.name} cannot be decoded: {_last_line(error)}", fix="Copy it again"
        ) from error
    if image.GetDimension() not in (2, 3, 4) or "complex" in image.GetPixelIDTypeAsString():
        raise UnsupportedFormatError(
            got=f"{path.name} has {image.GetDimension()} dimensions of {image.GetPixelIDTypeAsString()}",
            wanted="2 to 4 dimensions of real numbers",
        )
    array = SimpleITK.GetArrayFromImage(image)
    if image.GetNumberOfComponentsPerPixel() == 1:
        array = array[..., np.newaxis]
    array = array.T  # (c, i, j[, k[, frames]])
    array = array.reshape(array.shape + (1,) * (5 - array.ndim))
    keys = {key: _text(image.GetMetaData(key)) for key in image.GetMetaDataKeys() if _text(key) == key}
    notes = Notes.from_json(keys.get(_NOTES_KEY, ""), where=path.name)
    return Volume(array, _geometry(image, cast("Shape", array.shape[1:4]), notes), keys, notes)


def _geometry(image: Any, shape: Shape, notes: Notes | None) -> Geometry:  # noqa: ANN401  # SimpleITK is untyped
    count = image.GetDimension()
    affine = np.eye(4)
    spatial = min(count, 3)
    direction = np.array(image.GetDirection()).reshape(count, count)[:spatial, :spatial]
    affine[:spatial, :spatial] = direction * np.array(image.GetSpacing())[:spatial]
    affine[:spatial, 3] = np.array(image.GetOrigin())[:spatial]
    flat = count == 2 and image.GetSpacing() == (1.0, 1.0) and image.GetOrigin() == (0.0, 0.0)
    if notes.unit == "pixel" if notes else flat:
        return Geometry(shape, affine, "pixel")  # a picture's rows and columns are no L and P
    return Geometry.from_lps(shape, affine)


def to_image(volume: Volume, path: Path, options: ReadOptions, *, channels: bool) -> Image:
    """Return what was read as an image.

    Parameters
    ----------
    volume
        What was read.
    path
        Where from.
    options
        ``select`` picks a frame, or a channel; ``as_channels`` takes frames for channels.
    channels
        Whether the values of a voxel belong together (a vector, a colour); otherwise they are frames.
    """
    array = volume.array
    if not channels:  # what ITK took for the components of a value are frames
        array = np.moveaxis(array, 0, -2).reshape(1, *array.shape[1:4], -1)
    if array.shape[0] == 1:
        frames = choose_frames(array.shape[4], options, path)
        array, select = np.moveaxis(array[0, ..., frames.start : frames.stop], -1, 0), None
        names = channel_names(len(array))
    else:
        array, select = array[..., choose_frames(array.shape[4], ReadOptions(), path).start], options.select
        if array.dtype == np.uint8 and array.shape[0] == 4:
            array = drop_alpha(array, path)
        names = RGB if array.dtype == np.uint8 and array.shape[0] == 3 else channel_names(len(array))
    if volume.notes and len(volume.notes.channels) == len(array):
        names = volume.notes.channels
    image = Image(absent_as_zeros(array, path), volume.geometry, channels=names, source=str(path))
    return pick_channel(image, select, path)


def save(array: NDArray[Any], geometry: Geometry, path: Path, *, notes: Notes, keys: Mapping[str, str]) -> None:
    """Write (c, i, j, k) on ``geometry``, compressed fast, with ``notes`` and text ``keys`` in the header.

    Raises
    ------
    WriteError
        If ITK refuses.
    """
    array = array.astype(np.float32 if array.dtype == np.float16 else array.dtype.newbyteorder("="), copy=False)
    planar = np.moveaxis(array, 0, -1).transpose(2, 1, 0, 3) if len(array) > 1 else array[0].T
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(planar), isVector=len(array) > 1)
    affine = geometry.affine if geometry.unit == "pixel" else geometry.affine_lps
    spacing = np.array(geometry.spacing)
    image.SetSpacing([float(s) for s in spacing])
    image.SetOrigin([float(x) for x in affine[:3, 3]])
    for key, value in {_NOTES_KEY: notes.to_json(), **keys}.items():
        image.SetMetaData(key, value)
    writer = SimpleITK.ImageFileWriter()
    known = path.with_suffix(path.suffix.lower())  # MetaIO knows no other, and would write under another name
    writer.SetFileName(str(known))
    writer.SetImageIO(_IMAGE_IO[path.suffix.lower()])
    writer.UseCompressionOn()
    writer.SetCompressionLevel(1)
    try:
        image.SetDirection([float(x) for x in (affine[:3, :3] / spacing).ravel()])
        writer.Execute(image)
        known.rename(path)
    except RuntimeError as error:
        raise WriteError(
            got=f"cannot write {path.name}: {_last_line(error)}",
            fix="Check the space on the disk and the name of the file, or write another format",
        ) from error


def positive_spacing(values: list[float], path: Path) -> None:
    """Raise ``GeometryError`` unless every spacing that a header states is finite and above 0."""
    if not all(np.isfinite(v) and v > 0 for v in values):
        raise GeometryError(got=f"{path.name} has spacing {values}", wanted="positive numbers", fix="Repair its header")


def inside_folder(name: str, header: Path) -> Path:
    """Return the data file that ``header`` names, which must lie in its folder or below: a header is no passport.

    Raises
    ------
    ReadError
        If it lies elsewhere or does not exist.
    """
    folder = header.parent.resolve()
    data = (folder / name).resolve()
    if not data.is_relative_to(folder):
        raise ReadError(
            got=f"{header.name} refers to a file outside its folder: {name}",
            wanted="a data file beside its header",
            fix="If you trust it, move the data file beside the header and correct the name there",
        )
    if not data.is_file():
        raise ReadError(got=f"{header.name} refers to {name}, which does not exist", fix="Copy it beside the header")
    return data


def labels_array(volume: Volume, path: Path) -> NDArray[Any]:
    """Return (i, j, k) of a file that must hold one value a voxel.

    Raises
    ------
    ImageError
        If it holds several.
    """
    if volume.array.shape[0] * volume.array.shape[4] > 1:
        raise ImageError(got=f"{path.name} holds several values a voxel", wanted="one label a voxel")
    return volume.array[0, ..., 0]


def header_line(line: bytes, path: Path) -> str:
    """Return a line of a header as text, without its end.

    Raises
    ------
    CorruptFileError
        If it holds control characters: ITK's parsers stop at some of them, and would then read something else than
        what was checked here.
    """
    text = line.decode("latin-1").rstrip("\r\n")
    if any(char < " " and char != "\t" for char in text):
        raise CorruptFileError(got=f"{path.name} has control characters in its header", fix="Repair its header")
    return text


def numbers(text: str) -> list[float]:
    """Return the numbers in a header's text.

    Raises
    ------
    ValueError
        If something else is among them.
    """
    return [float(word) for word in text.split()]


def _text(text: str) -> str:
    """Return ``text`` with marks for what was not UTF-8 in the file (ITK passes bytes through)."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _last_line(error: RuntimeError) -> str:
    """Return what ITK says at the end of its report, without the addresses before it."""
    return str(error).strip().splitlines()[-1].split("): ", 1)[-1]
