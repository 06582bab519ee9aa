"""Which format reads or writes a path, and errors that name the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from samaritan.core.errors import (
    CorruptFileError,
    ReadError,
    ResourceError,
    SamaritanError,
    UnsupportedFormatError,
    WriteError,
)
from samaritan.core.geometry import Geometry
from samaritan.core.image import Image, LabelMap
from samaritan.io.atomic import atomic_path
from samaritan.io.format import FORMATS, HEAD_BYTES, Format, ReadOptions, WriteOptions
from samaritan.io.streams import head as head_of
from samaritan.io.verify import verify

PathLike = str | Path


def read(
    path: PathLike,
    *,
    series: str | int | None = None,
    select: str | int | None = None,
    volume: bool = False,
    as_channels: bool = False,
) -> Image:
    """Read an image of any supported format, found by its content; the name of the file only breaks ties.

    Parameters
    ----------
    path
        A file, or a folder of DICOM files.
    series
        Which DICOM series, where there are several.
    select
        Which channel, time point or sequence to read, by name or index from 0: needed where a file holds several
        volumes. Without it, files of colour and vector channels give all their channels.
    volume
        Whether the pages of a TIFF are the slices of one volume.
    as_channels
        Whether volumes along a fourth axis are channels of one image (sequences of an MR), and no time points.

    Raises
    ------
    ReadError
        If the file is missing, unreadable, of no supported format (``UnsupportedFormatError``) or damaged
        (``CorruptFileError``).
    GeometryError
        If its spacing or affine is impossible.
    ImageError
        If its voxels are not finite, or it holds several volumes and none is selected.
    ResourceError
        If it is larger than the machine's memory.
    UnknownNameError
        If ``series`` or ``select`` names nothing.
    """
    path = Path(path)
    form = find_format(path)
    with _naming(path):
        return form.read(path, ReadOptions(series=series, select=select, volume=volume, as_channels=as_channels))


def read_labels(path: PathLike, *, reference: Geometry | None = None) -> LabelMap:
    """Read a label map of any supported format, with the names and colours that travel with it.

    Parameters
    ----------
    path
        A file.
    reference
        The grid that the labels must lie on. A DICOM SEG or RTSTRUCT is drawn on it; a picture, which has no place
        of its own, takes it over if it has the same shape.

    Raises
    ------
    GeometryMismatchError
        If the labels lie on another grid than ``reference``.
    ReadError, GeometryError, ImageError, ResourceError
        As ``read``; ``ImageError`` also if the values are no labels.
    """
    path = Path(path)
    form = find_format(path)
    if form.read_labels is None:
        raise UnsupportedFormatError(got=f"{path.name} is a {form.name} file, which holds no labels")
    with _naming(path):
        labels = form.read_labels(path, reference)
    if reference is None:
        return labels
    if labels.geometry.unit == "pixel" and labels.geometry.shape == reference.shape:
        return replace(labels, geometry=reference)
    reference.require_match(labels.geometry, path.name)
    return labels


def write(
    value: Image | LabelMap,
    path: PathLike,
    *,
    source: PathLike | None = None,
    encoding: str | None = None,
) -> Path:
    """Write an image or a label map; the name of the file gives the format.

    The file appears whole or not at all, with the files that belong to it, and is read back before it takes the place
    of an older one.

    Parameters
    ----------
    value
        What to write.
    path
        Where to; its folder must exist.
    source
        File or folder that the image was read from; DICOM SEG refers to it. It is never overwritten.
    encoding
        ``"binary"`` or ``"labelmap"`` for DICOM SEG.

    Returns
    -------
    pathlib.Path
        ``path``.

    Raises
    ------
    WriteError
        If the format is unknown or cannot hold this value, ``path`` is ``source``, the file system refuses, or the
        file does not read back as it was written.
    """
    path = Path(path)
    form = _format_to_write(path)
    origin = Path(source) if source is not None else None
    _require_other(path, origin)
    if encoding is not None and encoding.lower() not in form.encodings:
        choices = " or ".join(form.encodings) or f"no encoding: {form.name} has one way to write"
        raise WriteError(got=f"encoding '{encoding}' for {path.name}", wanted=choices)
    options = WriteOptions(source=origin, encoding=encoding.lower() if encoding else None)
    with atomic_path(path) as staged:
        if isinstance(value, Image) and form.write_image:
            form.write_image(value, staged, options)
        elif isinstance(value, LabelMap) and form.write_labels:
            form.write_labels(value, staged, options)
        else:
            what = "images" if isinstance(value, Image) else "label maps"
            raise WriteError(got=f"{what} cannot be written as {path.name}", wanted=_endings(type(value)))
        for written in staged.parent.iterdir():  # of a pair, the other file may be the source
            _require_other(path.with_name(written.name), origin)
        verify(value, staged, form)
    return path


def find_format(path: Path) -> Format:
    """Return the format of an existing file or folder, by its content; its name breaks ties.

    Raises
    ------
    ReadError
        If there is no such file, or it cannot be opened.
    CorruptFileError
        If it is empty.
    UnsupportedFormatError
        If no format knows it.
    """
    if not path.exists():
        raise ReadError(got=f"no file {path}", wanted="an image file, or a folder of DICOM files", fix="Check the path")
    if not path.is_dir() and path.stat().st_size == 0:
        raise CorruptFileError(got=f"{path} is empty (0 bytes)", fix="Copy or download it again")
    with _naming(path):
        head = b"" if path.is_dir() else head_of(path, HEAD_BYTES)
        known = [form for form in map(FORMATS.get, FORMATS) if form.sniff(path, head)]
    if not known:
        raise _unknown(path)
    return next((form for form in known if form.claims(path)), known[0])


def _unknown(path: Path) -> UnsupportedFormatError:
    wanted = ", ".join(f"{form.name} ({' '.join(form.suffixes)})" for form in map(FORMATS.get, FORMATS))
    if path.is_dir():
        return UnsupportedFormatError(got=f"no DICOM image in folder {path}", wanted=f"a file of: {wanted}")
    headers = [path.with_suffix(suffix).name for suffix in (".mhd", ".nhdr", ".hdr")]
    header = next((name for name in headers if path.with_name(name).is_file()), None)
    fix = f"It seems to be the data file of {header}: open that" if header else ""
    return UnsupportedFormatError(got=f"the content of {path} is of no known format", wanted=wanted, fix=fix)


def _format_to_write(path: Path) -> Format:
    for form in map(FORMATS.get, FORMATS):
        if form.claims(path) and (form.write_image or form.write_labels):
            return form
    raise WriteError(got=f"no format to write is known by the name {path.name}", wanted=_endings(LabelMap))


def _require_other(target: Path, origin: Path | None) -> None:
    """Raise ``WriteError`` if ``target`` is the file that was read."""
    if origin is not None and target.exists() and origin.exists() and target.samefile(origin):
        raise WriteError(got=f"{target} is the file that was read", fix="Give the output another name")


def _endings(kind: type[Image | LabelMap]) -> str:
    forms = map(FORMATS.get, FORMATS)
    able = [f for f in forms if (f.write_image if issubclass(kind, Image) else f.write_labels)]
    return "a name that ends in " + ", ".join(suffix for form in able for suffix in form.suffixes)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn what the system and the decoders raise into errors that name ``path``."""
    try:
        yield
    except SamaritanError:
        raise
    except PermissionError as error:
        raise ReadError(got=f"no permission to read {path}", fix="Ask its owner, or copy it") from error
    except MemoryError as error:
        raise ResourceError(got=f"{path} does not fit in memory", fix="Crop it, or take a larger machine") from error
    except OSError as error:
        raise ReadError(got=f"cannot read {path}: {error.strerror or error}") from error
