"""The records of the formats that are read and written here, and how each is known by its content."""

from __future__ import annotations

import re
import struct
from pathlib import Path

from samaritan.io.format import Format, lazy, partner
from samaritan.io.streams import head as head_of

_METAIMAGE = re.compile(rb"\s*(ObjectType|NDims|Comment|ObjectSubType)\s*=")
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PICTURE_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM")
_MGH_TYPES = (0, 1, 3, 4, 10)
_GIPL_MAGIC = (b"\xef\xff\xe9\xb0", b"\x2a\xe3\x89\xb8")


def is_nifti(path: Path, head: bytes) -> bool:
    """Tell a NIfTI-1 or -2 file, single or pair, from its magic; of a pair, the .img has it in its header file."""
    if path.suffix.lower() == ".img" and partner(path, ".hdr").is_file():
        head = head_of(partner(path, ".hdr"), 352)
    return head[344:348] in (b"n+1\0", b"ni1\0") or head[4:8] in (b"n+2\0", b"ni2\0")


def is_nrrd(_path: Path, head: bytes) -> bool:
    """Tell a NRRD file or header."""
    return head.startswith(b"NRRD000")


def is_metaimage(_path: Path, head: bytes) -> bool:
    """Tell a MetaImage: it opens with one of the first fields, and counts its dimensions."""
    return bool(_METAIMAGE.match(head)) and b"NDims" in head


def is_mgh(_path: Path, head: bytes) -> bool:
    """Tell a FreeSurfer MGH file: version 1, positive sizes, a known type of voxel."""
    if len(head) < 24:
        return False
    version, *sizes, kind = struct.unpack(">6i", head[:24])
    return version == 1 and min(sizes) >= 1 and kind in _MGH_TYPES


def is_gipl(_path: Path, head: bytes) -> bool:
    """Tell a GIPL file from the number that ends its header."""
    return head[252:256] in _GIPL_MAGIC


def is_picture(_path: Path, head: bytes) -> bool:
    """Tell PNG, JPEG and BMP."""
    return head.startswith(_PICTURE_MAGIC)


def is_tiff(_path: Path, head: bytes) -> bool:
    """Tell TIFF and BigTIFF, of either byte order."""
    return head.startswith(_TIFF_MAGIC)


def is_npz(path: Path, head: bytes) -> bool:
    """Tell a NumPy archive: a zip whose first member is an array."""
    length = int.from_bytes(head[26:28], "little")
    return head.startswith(b"PK\x03\x04") and (
        head[30 : 30 + length].endswith(b".npy") or path.suffix.lower() == ".npz"
    )


NIFTI = Format(
    name="nifti",
    suffixes=(".nii", ".nii.gz", ".hdr", ".img"),
    sniff=is_nifti,
    read=lazy("samaritan.io.nifti:read"),
    read_labels=lazy("samaritan.io.nifti:read_labels"),
    write_image=lazy("samaritan.io.nifti:write_image"),
    write_labels=lazy("samaritan.io.nifti:write_labels"),
)
NRRD = Format(
    name="nrrd",
    suffixes=(".nrrd", ".nhdr"),
    sniff=is_nrrd,
    read=lazy("samaritan.io.nrrd:read"),
    read_labels=lazy("samaritan.io.nrrd:read_labels"),
    write_image=lazy("samaritan.io.nrrd:write_image"),
    write_labels=lazy("samaritan.io.nrrd:write_labels"),
)
METAIMAGE = Format(
    name="metaimage",
    suffixes=(".mha", ".mhd"),
    sniff=is_metaimage,
    read=lazy("samaritan.io.metaimage:read"),
    read_labels=lazy("samaritan.io.metaimage:read_labels"),
    write_image=lazy("samaritan.io.metaimage:write_image"),
    write_labels=lazy("samaritan.io.metaimage:write_labels"),
)
MGH = Format(
    name="mgh",
    suffixes=(".mgh", ".mgz", ".mgh.gz"),
    sniff=is_mgh,
    read=lazy("samaritan.io.mgh:read"),
    read_labels=lazy("samaritan.io.mgh:read_labels"),
)
GIPL = Format(
    name="gipl",
    suffixes=(".gipl", ".gipl.gz"),
    sniff=is_gipl,
    read=lazy("samaritan.io.gipl:read"),
    read_labels=lazy("samaritan.io.gipl:read_labels"),
)
PICTURE = Format(
    name="picture",
    suffixes=(".png", ".jpg", ".jpeg", ".bmp"),
    sniff=is_picture,
    read=lazy("samaritan.io.picture:read"),
    read_labels=lazy("samaritan.io.picture:read_labels"),
    write_image=lazy("samaritan.io.picture:write_image"),
    write_labels=lazy("samaritan.io.picture:write_labels"),
)
TIFF = Format(
    name="tiff",
    suffixes=(".tif", ".tiff"),
    sniff=is_tiff,
    read=lazy("samaritan.io.tiff:read"),
    read_labels=lazy("samaritan.io.tiff:read_labels"),
)
NPZ = Format(
    name="npz",
    suffixes=(".npz",),
    sniff=is_npz,
    read=lazy("samaritan.io.npz:read"),
    read_labels=lazy("samaritan.io.npz:read_labels"),
)
