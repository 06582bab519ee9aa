"""The record of DICOM among the formats."""

from __future__ import annotations

import struct
from pathlib import Path

from samaritan.io.format import Format, lazy

# How a file without the preamble begins: the tag (0008, 0000, 0001, 0005 or 0008) or (0002, 0000), either byte order.
_FIRST_TAGS = frozenset(
    struct.pack(order, group, element)
    for group, element in ((8, 0), (8, 1), (8, 5), (8, 8), (2, 0))
    for order in ("<HH", ">HH")
)


def begins_like_dicom(head: bytes) -> bool:
    """Tell by its first bytes: the magic "DICM", or (old files have none) a first element of group 2 or 8."""
    return head[128:132] == b"DICM" or head[:4] in _FIRST_TAGS


def is_dicom(path: Path, head: bytes) -> bool:
    """Tell a DICOM file; any folder, and any zip that is called one, may hold some."""
    return (
        path.is_dir() or begins_like_dicom(head) or (head.startswith(b"PK\x03\x04") and path.suffix.lower() == ".zip")
    )


DICOM = Format(
    name="dicom",
    suffixes=(".dcm", ".dicom"),
    sniff=is_dicom,
    read=lazy("samaritan.io.dicom.image:read"),
    read_labels=lazy("samaritan.io.dicom.labels:read_labels"),
    write_labels=lazy("samaritan.io.dicom.seg_write:write_labels"),
    encodings=("binary", "labelmap"),
)
