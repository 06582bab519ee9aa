from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.data import get_testdata_file

import samaritan.io.dispatch as io
from samaritan.core.errors import SamaritanError, WriteError
from samaritan.core.image import LabelMap
from samaritan.io.dicom.format import DICOM


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (bytes(128) + b"DICM", True),
        (b"\x08\x00\x05\x00CS", True),
        (b"\x00\x08\x00\x05CS", True),
        (b"\x02\x00\x00\x00UL", True),
        (b"PK\x03\x04" + bytes(200), False),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), False),
        (b"", False),
        (b"II*\0" + bytes(200), False),
    ],
)
def test_content_decides(tmp_path, head, expected):
    assert DICOM.sniff(tmp_path / "a.dcm", head) is expected


def test_zips_and_folders_may_hold_dicom(tmp_path):
    assert DICOM.sniff(tmp_path, b"")
    assert DICOM.sniff(tmp_path / "a.zip", b"PK\x03\x04")


def test_the_whole_way_round(series, tmp_path):
    folder = series().write(tmp_path / "ct")
    image = io.read(folder)
    labels = LabelMap((image.array[0] > 100).astype(np.uint8), image.geometry, {1: "liver"}, {1: (1, 200, 3)})
    io.write(labels, tmp_path / "seg.dcm", source=folder)
    assert io.read_labels(tmp_path / "seg.dcm", reference=image.geometry).name(1) == "liver"
    with pytest.raises(WriteError, match="source"):
        io.write(labels, tmp_path / "other.dcm")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ct", "seg.dcm"]


def test_no_header_before_the_data_set():
    for name in ("ExplVR_LitEndNoMeta.dcm", "no_meta.dcm", "rtstruct.dcm"):
        with pytest.raises(
            SamaritanError
        ):  # a plan, a stub and contours: found to be DICOM, and named as what they are
            io.read(Path(get_testdata_file(name, download=False)))
