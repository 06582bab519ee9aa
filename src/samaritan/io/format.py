"""What a file format is to Samaritan: a small record, and the table of them.

A format is one record that is cheap to import and one ``register`` line. What needs a heavy library stands in a module
of its own and is named with ``lazy``, so that reading a PNG does not import SimpleITK.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from samaritan.core.geometry import Geometry
from samaritan.core.image import Image, LabelMap
from samaritan.core.registry import Registry

HEAD_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """What a file leaves open and the caller decides.

    Parameters
    ----------
    series
        Which DICOM series: its UID, the beginning of its UID, its description, or its number in the list.
    select
        Which channel or time point of a file that holds several: a name, or an index from 0.
    volume
        Whether the pages of a multi-page file are the slices of a volume.
    as_channels
        Whether several volumes along a fourth axis are channels of one image, such as the sequences of an MR.
    """

    series: str | int | None = None
    select: str | int | None = None
    volume: bool = False
    as_channels: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """What the caller decides about a file to be written.

    Parameters
    ----------
    source
        File or folder that the image was read from, where the format refers to it (DICOM SEG).
    encoding
        One of the format's own ways to write: ``"binary"`` or ``"labelmap"`` for DICOM SEG.
    """

    source: Path | None = None
    encoding: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One file format.

    Parameters
    ----------
    name
        As registered: ``"nifti"``.
    suffixes
        Endings of file names in lower case, with their dots: ``(".nii", ".nii.gz")``.
    sniff
        Tells from the path and the first ``HEAD_BYTES`` of content (after gunzip where the file is gzipped; empty for
        a folder) whether this is the format. It decides; the name of a file only breaks ties.
    read
        Reads an image.
    read_labels
        Reads a label map; the geometry is the grid that the caller works on, or None, for formats that hold no grid
        of their own. None where the format holds no labels.
    write_image, write_labels
        Write into the given path, whose folder is empty and private to this one call: other files that the format
        needs are written beside it. None where the format cannot be written.
    encodings
        What ``WriteOptions.encoding`` may be; empty where there is one way only.

    Notes
    -----
    The functions raise ``SamaritanError`` for what they foresee. An ``OSError`` or ``MemoryError`` may pass: the
    caller names the file.
    """

    name: str
    suffixes: tuple[str, ...]
    sniff: Callable[[Path, bytes], bool]
    read: Callable[[Path, ReadOptions], Image]
    read_labels: Callable[[Path, Geometry | None], LabelMap] | None = None
    write_image: Callable[[Image, Path, WriteOptions], None] | None = None
    write_labels: Callable[[LabelMap, Path, WriteOptions], None] | None = None
    encodings: tuple[str, ...] = ()

    def claims(self, path: Path) -> bool:
        """Whether the name of ``path`` ends like this format's files."""
        return path.name.lower().endswith(self.suffixes)


def partner(path: Path, suffix: str) -> Path:
    """Return the other file of a pair; ``suffix`` becomes capital where that of ``path`` is (``A.IMG``, ``A.HDR``)."""
    return path.with_suffix(suffix.upper() if path.suffix.isupper() else suffix)


def lazy(target: str) -> Callable[..., Any]:
    """Return a function that stands for ``"package.module:function"`` and imports it when first called."""

    def call(*args: object, **kwargs: object) -> object:
        module, _, attribute = target.partition(":")
        return getattr(import_module(module), attribute)(*args, **kwargs)

    return call


FORMATS: Registry[Format] = Registry("format", "samaritan.formats")
FORMATS.register("dicom", "samaritan.io.dicom.format:DICOM")
FORMATS.register("gipl", "samaritan.io.catalog:GIPL")
FORMATS.register("metaimage", "samaritan.io.catalog:METAIMAGE")
FORMATS.register("mgh", "samaritan.io.catalog:MGH")
FORMATS.register("nifti", "samaritan.io.catalog:NIFTI")
FORMATS.register("npz", "samaritan.io.catalog:NPZ")
FORMATS.register("nrrd", "samaritan.io.catalog:NRRD")
FORMATS.register("picture", "samaritan.io.catalog:PICTURE")
FORMATS.register("tiff", "samaritan.io.catalog:TIFF")


def split_name(name: str) -> tuple[str, str]:
    """Return the name of a file without and with only the ending of a known format: ``("ct", ".nii.gz")``.

    The ending is as it is written, and empty where it is no format's.
    """
    known = sorted((suffix for form in map(FORMATS.get, FORMATS) for suffix in form.suffixes), key=len, reverse=True)
    length = next((len(suffix) for suffix in known if name.lower().endswith(suffix) and len(name) > len(suffix)), 0)
    return name[: len(name) - length], name[len(name) - length :]
