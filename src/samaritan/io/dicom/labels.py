"""A DICOM SEG or RTSTRUCT to a label map."""

from __future__ import annotations

from pathlib import Path

from pydicom.uid import RTStructureSetStorage

from samaritan.core.errors import UnsupportedFormatError
from samaritan.core.geometry import Geometry
from samaritan.core.image import LabelMap
from samaritan.io.dicom.headers import one_header
from samaritan.io.dicom.rtstruct import read_rtstruct
from samaritan.io.dicom.seg_read import read_seg


def read_labels(path: Path, reference: Geometry | None) -> LabelMap:
    """Return the label map in a SEG or RTSTRUCT file, or in the only such file of a folder or zip.

    Raises
    ------
    UnsupportedFormatError
        If there is none; or for an RTSTRUCT without ``reference``: contours have no grid of their own.
    GeometryMismatchError
        If it does not fit the reference grid.
    """
    header = one_header(path, wanted="a DICOM SEG or RTSTRUCT", keep=lambda h: h.is_labels)
    if header.data.get("SOPClassUID") != RTStructureSetStorage:
        return read_seg(header, path, reference)
    if reference is None:
        raise UnsupportedFormatError(
            got=f"{header.member.name} holds contours (RTSTRUCT), which have no voxels of their own",
            wanted="the grid of the image that they were drawn on",
            fix="Name it: read_labels(path, reference=samaritan.read(image).geometry), or --reference IMAGE",
        )
    return read_rtstruct(header, reference)
