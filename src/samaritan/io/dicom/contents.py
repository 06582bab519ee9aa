"""What lies in a folder of DICOM files: image series, and the segmentations with the series that they are of."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import RTStructureSetStorage

from samaritan.core.errors import CorruptFileError
from samaritan.io.dicom.format import begins_like_dicom
from samaritan.io.dicom.headers import LABEL_CLASSES, parse, tolerant

_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID", "PatientID",
    "Modality", "Rows", "Columns", "SeriesDescription", "ReferencedSeriesSequence",
    "ReferencedFrameOfReferenceSequence",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class ImageSeries:
    """One series of images: its folder, what DICOM says, and a ``patient`` that does not tell who it is."""

    folder: Path
    uid: str
    modality: str
    description: str
    patient: str
    frame_of_reference: str


@dataclass(frozen=True, slots=True)
class LabelFile:
    """One SEG or RTSTRUCT: its file, and the series and the frame of reference that it was drawn in."""

    path: Path
    series: tuple[str, ...]
    frame_of_reference: str


def contents(folder: Path) -> tuple[list[ImageSeries], list[LabelFile], list[str]]:
    """Return the image series and the segmentations in a folder and those in it, and notes on damaged files.

    The patient's identifier is not kept: ``patient`` is a digest of it, the same for the same patient.
    """
    files: dict[str, list[Path]] = {}
    first: dict[str, Dataset] = {}
    labels: dict[str, LabelFile] = {}
    notes: list[str] = []
    for path in _candidates(folder):
        try:
            with path.open("rb") as file:
                data = parse(file, path.name, pixels=False, tags=list(_TAGS))
        except CorruptFileError as error:
            notes.append(error.got)
            continue
        if data.get("SOPClassUID") in LABEL_CLASSES:
            with tolerant(path.name):
                labels.setdefault(str(data.get("SOPInstanceUID") or path), _label_file(path, data))
        elif data.get("Rows") and data.get("Columns"):
            uid = str(data.get("SeriesInstanceUID") or path.name)
            files.setdefault(uid, []).append(path)
            first.setdefault(uid, data)
    return [_series(uid, paths, first[uid]) for uid, paths in files.items()], list(labels.values()), notes


def holds_dicom(folder: Path) -> bool:
    """Tell whether there is any DICOM file in a folder or those in it."""
    return next(_candidates(folder), None) is not None


def _candidates(folder: Path) -> Iterator[Path]:
    for base, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(base, name)
            with path.open("rb") as file:
                if not name.startswith(".") and begins_like_dicom(file.read(132)) and name != "DICOMDIR":
                    yield path


def _series(uid: str, paths: list[Path], data: Dataset) -> ImageSeries:
    who = str(data.get("PatientID") or data.get("StudyInstanceUID") or uid)
    return ImageSeries(
        folder=Path(os.path.commonpath([path.parent for path in paths])),
        uid=uid,
        modality=str(data.get("Modality") or ""),
        description=str(data.get("SeriesDescription") or "").strip(),
        patient="p" + hashlib.sha256(who.encode()).hexdigest()[:12],
        frame_of_reference=str(data.get("FrameOfReferenceUID") or ""),
    )


def _label_file(path: Path, data: Dataset) -> LabelFile:
    found = list(data.get("ReferencedSeriesSequence") or ())
    frame = str(data.get("FrameOfReferenceUID") or "")
    if data.get("SOPClassUID") == RTStructureSetStorage:
        for reference in data.get("ReferencedFrameOfReferenceSequence") or ():
            frame = frame or str(reference.get("FrameOfReferenceUID") or "")
            for study in reference.get("RTReferencedStudySequence") or ():
                found += list(study.get("RTReferencedSeriesSequence") or ())
    return LabelFile(path, tuple(str(item.get("SeriesInstanceUID")) for item in found), frame)
