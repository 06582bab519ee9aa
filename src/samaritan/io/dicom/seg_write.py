"""A label map to DICOM SEG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from samaritan._version import __version__
from samaritan.core.errors import (
    CorruptFileError,
    GeometryError,
    GeometryMismatchError,
    InconsistentSeriesError,
    WriteError,
)
from samaritan.core.image import LabelMap
from samaritan.io.dicom.codes import concept_of
from samaritan.io.dicom.headers import Header, parse, tolerant
from samaritan.io.dicom.image import grid_of
from samaritan.io.dicom.regrid import Regrid
from samaritan.io.dicom.series import Series, choose_slices, find_series
from samaritan.io.dicom.slices import Slice
from samaritan.io.format import WriteOptions

_ENCODINGS = {"binary": hd.seg.SegmentationTypeValues.BINARY, "labelmap": hd.seg.SegmentationTypeValues.LABELMAP}
_SERIES_NUMBER = 1000
# Attributes that must be there but may be empty (type 2) and that highdicom copies; small or old files lack some.
_MAY_BE_EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName", "PositionReferenceIndicator", "Manufacturer",
)  # fmt: skip


def write_labels(labels: LabelMap, path: Path, options: WriteOptions) -> None:
    """Write ``labels`` as a SEG of the series at ``options.source``, which must have the same voxels.

    The label map may have another axis order or direction than the series: each voxel goes where it lies in the world.
    ``options.encoding`` is ``"binary"`` (one bit mask a label, which every viewer reads; labels must be numbered 1, 2,
    3...) or ``"labelmap"`` (one frame a slice, any numbers; new in 2024); by default binary where it can be.

    Raises
    ------
    WriteError
        If there is no DICOM source, no label, or the encoding cannot hold the labels.
    GeometryMismatchError
        If no series at the source has the voxels of ``labels``.
    """
    if options.source is None:
        raise _needs_source(options.source)
    values = sorted({*labels.names, *labels.labels})
    encoding = _encoding(values, options.encoding)
    slices, regrid = _matching(labels, options.source)
    on_series = regrid.apply(labels.array, "the label map")
    planes = np.zeros((len(slices), *on_series.shape[1::-1]), labels.array.dtype)
    planes[_frame_order(slices)] = on_series.transpose(2, 1, 0)
    sources = _full_headers(slices)
    descriptions = [_describe(labels, value) for value in values]
    with _building(options.source):
        segmentation = hd.seg.Segmentation(
            source_images=sources,
            pixel_array=planes,
            segmentation_type=_ENCODINGS[encoding],
            segment_descriptions=descriptions,
            series_instance_uid=hd.UID(),
            series_number=_SERIES_NUMBER,
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer="Samaritan",
            manufacturer_model_name="Samaritan",
            software_versions=__version__,
            device_serial_number="0",
            series_description="Samaritan segmentation",
            transfer_syntax_uid=ExplicitVRLittleEndian,
        )
    segmentation.save_as(path)


@contextmanager
def _building(source: Path) -> Iterator[None]:
    """Turn what highdicom says of a source that it cannot use into a ``WriteError``."""
    try:
        with tolerant(str(source)):
            yield
    except CorruptFileError as error:
        raise WriteError(
            got=f"no SEG can refer to the series in {source}: {error.__cause__}", fix="Write a .nii.gz instead"
        ) from error


def _encoding(values: Sequence[int], wanted: str | None) -> str:
    numbered = list(values) == list(range(1, len(values) + 1))
    encoding = wanted or ("binary" if numbered else "labelmap")
    if not values:
        raise WriteError(
            got="a label map without labels", wanted="one label at least in a DICOM SEG", fix="Write a .nii.gz instead"
        )
    if encoding == "binary" and not numbered:
        raise WriteError(
            got=f"labels {list(values)[:20]}",
            wanted="labels numbered 1, 2, 3... in a binary SEG",
            fix="Renumber them, or write encoding='labelmap'",
        )
    if values[-1] >= 2**16:
        raise WriteError(got=f"label {values[-1]}", wanted="labels up to 65535 in a DICOM SEG")
    return encoding


def _needs_source(source: Path | None, reason: str = "") -> WriteError:
    return WriteError(
        got=f"the source {source} cannot be used: {reason}" if source else "a DICOM SEG without a source",
        wanted="the DICOM series that a SEG belongs to",
        fix="Name it (source=FOLDER, --reference FOLDER); an image that is not DICOM has none: write .nii.gz instead",
    )


def _matching(labels: LabelMap, source: Path) -> tuple[list[Slice], Regrid]:
    """Return the slices of the one series at ``source`` whose voxels are those of ``labels``, and the way there."""
    try:
        found = find_series(source)
    except OSError as error:  # every reason why it cannot be read
        raise _needs_source(source, str(error)) from error
    fitting: list[tuple[list[Slice], Regrid]] = []
    problems: list[GeometryError | InconsistentSeriesError] = []
    for series in found:
        try:
            fitting.append(_fit(labels, series, source))
        except (GeometryError, InconsistentSeriesError) as problem:
            problems.append(problem)
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise InconsistentSeriesError(
            got=f"{len(fitting)} series in {source} have the grid of the labels",
            wanted="the one that was segmented",
            fix="Put it into a folder of its own, and name that",
        )
    raise problems[0]


def _fit(labels: LabelMap, series: Series, source: Path) -> tuple[list[Slice], Regrid]:
    slices = choose_slices(series, None, source)
    if slices[0].position is None:
        raise GeometryMismatchError(
            got=f"the picture {source}, which has no place in the patient",
            wanted="a series with positions for a DICOM SEG",
            fix="Write a .png mask instead",
        )
    regrid = Regrid.between(labels.geometry, grid_of(slices, f"series {series.number}"), "the label map")
    if not regrid.is_whole:
        raise GeometryMismatchError(
            got=f"the label map on {labels.geometry}",
            wanted=f"the grid of the series in {source}, {regrid.target}",
            fix="Name the series that was segmented",
        )
    return slices, regrid


def _frame_order(slices: Sequence[Slice]) -> list[int]:
    """Return for each slice its place among the frames for highdicom: by file, or by frame of the one file."""
    return [item.frame for item in slices] if slices[0].header.frames > 1 else list(range(len(slices)))


def _full_headers(slices: Sequence[Slice]) -> list[Dataset]:
    """Return the headers with all that a SEG takes over from its source (patient, study), one a file."""
    headers: list[Header] = [slices[0].header] if slices[0].header.frames > 1 else [s.header for s in slices]
    return [_full_header(header) for header in headers]


def _full_header(header: Header) -> Dataset:
    with header.member.open() as file:
        data = parse(file, header.member.name, pixels=False)
    missing = [name for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID") if not data.get(name)]
    if missing:
        raise WriteError(
            got=f"{header.member.name} has no {missing[0]}",
            wanted="a source that a SEG can refer to",
            fix="Write .nii.gz instead",
        )
    if not data.get("SpecificCharacterSet"):
        data.pop("SpecificCharacterSet", None)
    for name in _MAY_BE_EMPTY:
        if name not in data:
            setattr(data, name, "")
    return data


def _describe(labels: LabelMap, value: int) -> hd.seg.SegmentDescription:
    concept = concept_of(labels.name(value))
    colour = labels.colours.get(value)
    return hd.seg.SegmentDescription(
        segment_number=value,
        segment_label=labels.name(value)[:64],
        segmented_property_category=concept.category,
        segmented_property_type=concept.type,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.SEMIAUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name="Samaritan", version=__version__, family=codes.DCM.ArtificialIntelligence
        ),
        display_color=hd.color.CIELabColor.from_rgb(*colour) if colour else None,
    )
