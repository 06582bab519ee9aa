"""DICOM headers without pixels and without the patient: what sorting, geometry and messages need."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pydicom
from pydicom.datadict import dictionary_VM
from pydicom.dataset import Dataset
from pydicom.uid import UID, RTStructureSetStorage, SegmentationStorage

from samaritan.core.errors import CorruptFileError, ReadError, SamaritanError, UnsupportedFormatError
from samaritan.io.dicom.archive import Member, members
from samaritan.io.dicom.format import begins_like_dicom

LABEL_MAP_STORAGE = UID("1.2.840.10008.5.1.4.1.1.66.7")  # of 2024 (Supplement 243): newer than pydicom's table
SEGMENTATIONS = frozenset({SegmentationStorage, LABEL_MAP_STORAGE})
LABEL_CLASSES = SEGMENTATIONS | {RTStructureSetStorage}

_MAX_FRAMES = 100_000
# No attribute of the patient is among these.
_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SeriesDescription", "SeriesNumber",
    "Modality", "ImageType", "InstanceNumber", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel",
    "PhotometricInterpretation", "BitsAllocated", "BitsStored", "PixelRepresentation", "PixelSpacing",
    "SliceThickness", "SpacingBetweenSlices", "ImagePositionPatient", "ImageOrientationPatient",
    "GridFrameOffsetVector", "DoseGridScaling", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence",
    "WindowCenter", "WindowWidth", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData", "SegmentedRedPaletteColorLookupTableData",
    "SegmentedGreenPaletteColorLookupTableData", "SegmentedBluePaletteColorLookupTableData",
    "SegmentationType", "SegmentSequence", "MaximumFractionalValue", "PixelPaddingValue",
    "EchoTime", "TemporalPositionIdentifier", "TemporalPositionIndex", "TriggerTime", "DiffusionBValue", "FlipAngle",
    "InversionTime", "NominalPercentageOfCardiacPhase", "AcquisitionNumber", "AcquisitionTime",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Header:
    """The header of one DICOM file: ``data`` (no pixels, no patient) and the ``member`` that it came from."""

    member: Member
    data: Dataset

    @property
    def frames(self) -> int:
        """Number of frames, at least 1."""
        return max(1, int(self.data.get("NumberOfFrames") or 1))

    @property
    def syntax(self) -> UID | None:
        """The transfer syntax; None for a file without the meta header that would say it."""
        return self.data.file_meta.get("TransferSyntaxUID") or None

    @property
    def is_image(self) -> bool:
        """Whether it holds pixels of an image, not a segmentation, report or plan."""
        return bool(self.data.get("Rows") and self.data.get("Columns")) and (
            self.data.get("SOPClassUID") not in SEGMENTATIONS and self.data.get("Modality") != "SEG"
        )

    @property
    def is_labels(self) -> bool:
        """Whether it is a SEG or an RTSTRUCT."""
        return self.data.get("SOPClassUID") in LABEL_CLASSES


@contextmanager
def tolerant(name: str, *, fix: str = "It may be cut short or damaged: copy or export it again") -> Iterator[None]:
    """Let pydicom work on file ``name``: silence its warnings, and name its failures.

    Clinical files break the letter of the standard daily (a value too long, a missing length); pydicom warns and
    carries on, its message may quote the patient, and whoever runs with warnings as errors must still be able to read.
    What makes the file unreadable comes as ``CorruptFileError``.
    """
    try:
        with warnings.catch_warnings():
            for library in ("pydicom", "highdicom"):
                warnings.filterwarnings("ignore", module=library)
            yield
    except (SamaritanError, OSError, MemoryError):
        raise
    except Exception as error:  # whatever bytes a stranger wrote do to a parser cannot be listed
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise CorruptFileError(got=f"{name} cannot be read: {reason}", fix=fix) from error


def parse(file: BinaryIO, name: str, *, pixels: bool, tags: list[Any] | None = None) -> Dataset:
    """Return the dataset in ``file``, all of it or some ``tags``, with or without ``pixels``.

    Raises
    ------
    CorruptFileError
        If it cannot be parsed.
    """
    with tolerant(name):
        data = pydicom.dcmread(file, stop_before_pixels=not pixels, specific_tags=tags, force=True)
        if tags:  # pydicom converts a value when it is first asked for: what is wrong must show here, and named
            _check_numbers(data)
            _take_first(data)
        return data


def _check_numbers(data: Dataset) -> None:
    """Convert every value; raise ``ValueError`` for a decimal string that is no number, which pydicom lets pass."""
    for element in data.iterall():
        if element.VR in ("DS", "IS") and isinstance(element.value, str) and element.value:
            float(element.value)


def _take_first(data: Dataset) -> None:
    """Keep the first value of attributes that may have only one: a backslash in a description makes two of it."""
    for element in data:
        if element.VM > 1 and dictionary_VM(element.tag) == "1" and element.VR != "SQ":
            element.value = element.value[0]


def read_headers(path: Path) -> list[Header]:
    """Return the headers of all DICOM files behind ``path`` (a file, a folder, a zip); other files are passed over.

    The same instance stored twice counts once. A DICOMDIR is passed over: the files themselves say more.

    Raises
    ------
    UnsupportedFormatError
        If there is no DICOM file.
    CorruptFileError
        If a file that begins like DICOM cannot be parsed.
    """
    headers: dict[str, Header] = {}
    for member in members(path):
        header = _read_header(member)
        if header is not None:
            headers.setdefault(str(header.data.get("SOPInstanceUID") or member.name), header)
    if not headers:
        raise UnsupportedFormatError(
            got=f"no DICOM object in {path}", wanted="a DICOM file, or a folder or zip of them"
        )
    return list(headers.values())


def _read_header(member: Member) -> Header | None:
    with member.open() as file:
        if not begins_like_dicom(file.read(132)):
            return None
        file.seek(0)
        data = parse(file, member.name, pixels=False, tags=list(_TAGS))
    header = Header(member, data)
    with tolerant(member.name):
        if header.frames > _MAX_FRAMES:
            raise CorruptFileError(got=f"{member.name} claims {header.frames} frames", wanted=f"at most {_MAX_FRAMES}")
    return header if data.get("SOPClassUID") or data.get("Rows") else None


def one_header(path: Path, *, wanted: str, keep: Callable[[Header], bool]) -> Header:
    """Return the only header behind ``path`` for which ``keep(header)`` holds; ``wanted`` says what that is.

    Raises
    ------
    UnsupportedFormatError
        If there is none.
    ReadError
        If there are several: the message lists them.
    """
    headers = read_headers(path)
    kept = [header for header in headers if keep(header)]
    if not kept:
        found = sorted({describe_class(header.data) for header in headers})
        raise UnsupportedFormatError(got=f"{path} holds {', '.join(found)}", wanted=wanted)
    if len(kept) > 1:
        names = ", ".join(header.member.name for header in kept[:10])
        raise ReadError(got=f"{len(kept)} candidates in {path}: {names}", wanted=wanted, fix="Name one of these files")
    return kept[0]


def describe_class(data: Dataset) -> str:
    """Return what kind of DICOM object it is, in words."""
    uid = data.get("SOPClassUID")
    if uid == LABEL_MAP_STORAGE:
        return "Label Map Segmentation Storage"
    return str(uid.name) if uid else "DICOM of unknown kind"
