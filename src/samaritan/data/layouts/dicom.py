"""DICOM: folders of image series with the SEG and RTSTRUCT objects that were drawn on them.

A segmentation belongs to the series that it refers to; where it refers to none, to the one of its frame of reference.
Patients are told apart by a digest of their identifier, which is not kept.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from samaritan.data.case import Case, DataSet, Reference
from samaritan.data.layouts.files import relative
from samaritan.data.layouts.layout import Layout

if TYPE_CHECKING:
    from samaritan.io.dicom.contents import ImageSeries, LabelFile


def recognise(path: Path) -> bool:
    """Tell the layout by a first DICOM file."""
    from samaritan.io.dicom.contents import holds_dicom  # noqa: PLC0415 - pydicom is slow to load, and any data ask here

    return path.is_dir() and holds_dicom(path)


def read(path: Path) -> DataSet:
    """Read all image series; those with a segmentation have a reference."""
    from samaritan.io.dicom.contents import contents  # noqa: PLC0415 - as above

    found, labels, notes = contents(path)
    drawn: dict[str, list[LabelFile]] = {}
    for label in labels:
        series = _series_of(label, found)
        if series is None:
            notes.append(f"{relative(label.path, path)} refers to no series in the folder")
        else:
            drawn.setdefault(series.uid, []).append(label)
    cases = []
    for series in found:
        files = tuple(relative(label.path, path) for label in drawn.get(series.uid, ()))
        cases.append(
            Case(
                id=_id(series, path, several=sum(s.folder == series.folder for s in found) > 1),
                images=(relative(series.folder, path),),
                series=series.uid,
                reference=Reference("labels", files) if files else None,
                patient=series.patient,
                modality=series.modality,
            )
        )
    return DataSet(path, "dicom", tuple(cases), path.resolve().name, tuple(notes))


def _series_of(label: LabelFile, found: list[ImageSeries]) -> ImageSeries | None:
    told = next((series for series in found if series.uid in label.series), None)
    if told or label.series:
        return told
    alike = [
        series for series in found if label.frame_of_reference and series.frame_of_reference == label.frame_of_reference
    ]
    return alike[0] if len(alike) == 1 else None


def _id(series: ImageSeries, path: Path, *, several: bool) -> str:
    """Return the folder of a series, with the end of its UID where several lie in one."""
    place = relative(series.folder, path)
    tail = re.sub(r"\W", "", series.uid)[-8:]
    name = path.resolve().name if place == "." else place
    return f"{name}/{tail}" if several else name


DICOM = Layout(
    name="dicom",
    title="DICOM series with SEG or RTSTRUCT",
    recognise=recognise,
    read=read,
    declared=False,
)
