from __future__ import annotations

import io
import zipfile
from itertools import permutations, product
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage

from samaritan.core.errors import (
    CorruptFileError,
    GeometryMismatchError,
    InconsistentSeriesError,
    ReadError,
    UnsupportedFormatError,
    WriteError,
)
from samaritan.core.geometry import Geometry
from samaritan.core.image import LabelMap
from samaritan.io import write
from samaritan.io.dicom.codes import _ANATOMY, concept_of
from samaritan.io.dicom.image import read
from samaritan.io.dicom.labels import read_labels
from samaritan.io.dicom.seg_write import write_labels
from samaritan.io.format import ReadOptions, WriteOptions
from samaritan.io.frames import LossWarning

NAMES = {1: "left kidney", 2: "Tumour"}
COLOURS = {1: (200, 30, 40), 2: (10, 220, 90)}
ORIENTATIONS = ["".join(p) for pairs in permutations(("LR", "AP", "IS")) for p in product(*pairs)]


def painted(geometry: Geometry, **fields) -> LabelMap:
    array = np.zeros(geometry.shape, np.uint8)
    array[1:4, 2:5, 1:3] = 1
    array[5, 1:3, 2:4] = 2
    return LabelMap(array, geometry, **{"names": NAMES, "colours": COLOURS, **fields})


def world(labels: LabelMap, value: int) -> np.ndarray:
    points = labels.geometry.index_to_world(np.argwhere(labels.array == value))
    return points[np.lexsort(points.round(3).T)]


def reorient(labels: LabelMap, orientation: str) -> LabelMap:
    change = labels.geometry.reorientation(orientation)
    return LabelMap(change.apply(labels.array), change.target, labels.names, labels.colours)


def grid(folder: Path) -> Geometry:
    return read(folder, ReadOptions()).geometry


@pytest.mark.parametrize("encoding", ["binary", "labelmap"])
def test_names_colours_voxels_and_place_come_back(series, tmp_path, encoding):
    folder = series().write(tmp_path / "ct")
    labels = painted(grid(folder))
    write_labels(labels, tmp_path / "seg.dcm", WriteOptions(source=folder, encoding=encoding))
    back = read_labels(tmp_path / "seg.dcm", labels.geometry)
    np.testing.assert_array_equal(back.array, labels.array)
    assert back.geometry == labels.geometry
    assert dict(back.names) == NAMES
    for value, colour in COLOURS.items():
        assert np.abs(np.subtract(back.colours[value], colour)).max() <= 1
    alone = read_labels(tmp_path / "seg.dcm", None)
    for value in NAMES:
        np.testing.assert_allclose(world(alone, value), world(labels, value), atol=1e-3)
    header = pydicom.dcmread(tmp_path / "seg.dcm")
    assert header.SegmentationType == encoding.upper()
    segment = next(s for s in header.SegmentSequence if s.SegmentNumber == 1)
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == codes.SCT.Kidney.value
    assert segment.SegmentationAlgorithmIdentificationSequence[0].AlgorithmName == "Samaritan"
    assert header.PatientID == "SECRET-1"  # a SEG belongs to its patient


def test_all_48_orientations_times_oblique_land_on_the_same_world_points(series, cosines, tmp_path):
    assert len(set(ORIENTATIONS)) == 48
    for n, pair in enumerate(cosines((0.2, -0.15, 0.1))):
        folder = series(cosines=pair).write(tmp_path / f"ct{n}")
        labels = painted(grid(folder))
        for orientation in ORIENTATIONS[n::24]:  # over the loop every orientation of the label map occurs
            turned = reorient(labels, orientation)
            path = tmp_path / f"{n}{orientation}.dcm"
            write_labels(turned, path, WriteOptions(source=folder))
            back = read_labels(path, None)
            for value in NAMES:
                np.testing.assert_allclose(world(back, value), world(labels, value), atol=1e-3)
            np.testing.assert_array_equal(read_labels(path, turned.geometry).array, turned.array)


def test_an_independent_reader_finds_the_same_voxels(series, tmp_path):
    folder = series().write(tmp_path / "ct")
    labels = painted(grid(folder))
    write_labels(reorient(labels, "RSA"), tmp_path / "seg.dcm", WriteOptions(source=folder))
    seg = hd.seg.segread(tmp_path / "seg.dcm")
    files = {pydicom.dcmread(f).SOPInstanceUID: pydicom.dcmread(f) for f in folder.iterdir()}
    by_instance = seg.get_pixels_by_source_instance(list(files), ignore_spatial_locations=True, combine_segments=True)
    for mask, data in zip(by_instance, files.values(), strict=True):
        at = labels.geometry.world_to_index(np.array(data.ImagePositionPatient) * (-1, -1, 1))
        np.testing.assert_array_equal(mask, labels.array[:, :, round(at[2])].T)


def test_an_enhanced_source_in_any_frame_order(series, tmp_path):
    source = series().write_enhanced(tmp_path / "e.dcm", [3, 0, 4, 1, 2])
    labels = painted(grid(source))
    write_labels(labels, tmp_path / "seg.dcm", WriteOptions(source=source))
    np.testing.assert_array_equal(read_labels(tmp_path / "seg.dcm", labels.geometry).array, labels.array)


def test_frames_of_odd_size_are_unpacked_bit_by_bit(series, tmp_path):
    made = series(voxels=np.zeros((4, 5, 7), np.int16))  # 35 bits a frame
    folder = made.write(tmp_path / "ct")
    array = (np.random.default_rng(0).random((7, 5, 4)) > 0.5).astype(np.uint8)
    labels = LabelMap(array, grid(folder), {1: "liver"})
    write_labels(labels, tmp_path / "seg.dcm", WriteOptions(source=folder, encoding="binary"))
    np.testing.assert_array_equal(read_labels(tmp_path / "seg.dcm", labels.geometry).array, array)


def test_pydicoms_own_segmentation_in_both_byte_orders():
    little, big = (
        read_labels(Path(get_testdata_file(name, download=False)), None)
        for name in ("liver_1frame.dcm", "liver_expb_1frame.dcm")
    )
    np.testing.assert_array_equal(little.array, big.array)
    expected = pydicom.dcmread(get_testdata_file("liver_1frame.dcm", download=False)).pixel_array
    np.testing.assert_array_equal(little.array[:, :, 0], expected.T)
    assert dict(little.names) == {1: "Liver"}


def test_values_with_gaps_become_a_label_map(series, tmp_path):
    folder = series().write(tmp_path / "ct")
    labels = painted(grid(folder))
    gaps = LabelMap(np.where(labels.array == 2, 300, labels.array).astype(np.uint16), labels.geometry, {300: "cyst"})
    write_labels(gaps, tmp_path / "seg.dcm", WriteOptions(source=folder))
    back = read_labels(tmp_path / "seg.dcm", labels.geometry)
    np.testing.assert_array_equal(back.array, gaps.array)
    assert back.name(300) == "cyst"
    with pytest.raises(WriteError, match="encoding='labelmap'"):
        write_labels(gaps, tmp_path / "no.dcm", WriteOptions(source=folder, encoding="binary"))
    with pytest.raises(WriteError, match="binary or labelmap"):
        write(labels, tmp_path / "no.dcm", source=folder, encoding="jpeg")


def test_a_seg_needs_its_series(series, tmp_path):
    folder = series().write(tmp_path / "ct")
    labels = painted(grid(folder))
    with pytest.raises(WriteError, match=r"without a source.*\.nii\.gz"):
        write_labels(labels, tmp_path / "x.dcm", WriteOptions())
    (tmp_path / "a.nii.gz").write_bytes(b"no DICOM at all")
    with pytest.raises(WriteError, match=r"a\.nii\.gz cannot be used.*\.nii\.gz"):
        write_labels(labels, tmp_path / "x.dcm", WriteOptions(source=tmp_path / "a.nii.gz"))
    other = series(origin=(0, 0, 1.25)).write(tmp_path / "other")
    with pytest.raises(GeometryMismatchError, match="the label map on"):
        write_labels(labels, tmp_path / "x.dcm", WriteOptions(source=other))
    part = LabelMap(labels.array[:, :, :4], labels.geometry.crop((0, 0, 0), (7, 6, 4)))
    with pytest.raises(GeometryMismatchError):
        write_labels(part, tmp_path / "x.dcm", WriteOptions(source=folder))
    with pytest.raises(WriteError, match="without labels"):
        write_labels(LabelMap(labels.array * 0, labels.geometry), tmp_path / "x.dcm", WriteOptions(source=folder))
    picture = Path(get_testdata_file("examples_rgb_color.dcm", download=False))
    with pytest.raises(GeometryMismatchError, match="no place in the patient"):
        write_labels(labels, tmp_path / "x.dcm", WriteOptions(source=picture))
    assert not (tmp_path / "x.dcm").exists()


def test_the_series_that_fits_is_found_among_several(series, tmp_path):
    folder = series().write(tmp_path / "study")
    labels = painted(grid(folder))
    made = series(origin=(5, 5, 5), tags={"SeriesNumber": 1})
    made.write(folder)
    write_labels(labels, tmp_path / "seg.dcm", WriteOptions(source=folder))
    referenced = pydicom.dcmread(tmp_path / "seg.dcm").ReferencedSeriesSequence[0].SeriesInstanceUID
    assert referenced != made.uid
    series().write(folder)
    with pytest.raises(InconsistentSeriesError, match="2 series"):
        write_labels(labels, tmp_path / "seg.dcm", WriteOptions(source=folder))


def segmentation(folder: Path, masks: np.ndarray, kind: str = "BINARY", **fields) -> pydicom.Dataset:
    """Make a SEG of ``masks`` (frames, rows, columns, segments) with highdicom alone."""
    sources = [pydicom.dcmread(f) for f in folder.iterdir()]
    sources.sort(key=lambda d: d.ImagePositionPatient[2])
    describe = [
        hd.seg.SegmentDescription(n, name, codes.SCT.Tissue, codes.SCT.Tissue, "MANUAL")
        for n, name in enumerate(("organ", "lesion")[: masks.shape[3]], start=1)
    ]
    common = {"series_number": 1, "instance_number": 1, "manufacturer": "m", "manufacturer_model_name": "n"}
    return hd.seg.Segmentation(
        sources, masks, kind, describe, series_instance_uid=hd.UID(), sop_instance_uid=hd.UID(),
        software_versions="1", device_serial_number="1", **common, **fields,
    )  # fmt: skip


@pytest.fixture
def complete(series, tmp_path):
    empty = dict.fromkeys(
        ("PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate", "StudyTime"), ""
    ) | {"ReferringPhysicianName": "", "PositionReferenceIndicator": "", "Manufacturer": "", "InstanceNumber": 1}
    return series(tags=empty).write(tmp_path / "ct")


def test_where_segments_overlap_the_smaller_wins_with_a_warning(complete, tmp_path):
    masks = np.zeros((5, 6, 7, 2), np.uint8)
    masks[1:4, 1:5, 1:6, 0] = 1
    masks[2, 2:4, 2:4, 1] = 1
    segmentation(complete, masks).save_as(tmp_path / "seg.dcm")
    with pytest.warns(LossWarning, match=r"organ and lesion \(4 voxels\)"):
        labels = read_labels(tmp_path / "seg.dcm", grid(complete))
    np.testing.assert_array_equal(labels.mask(2), masks[..., 1].transpose(2, 1, 0) > 0)
    assert labels.mask(1).sum() == masks[..., 0].sum() - 4


def test_fractions_are_cut_at_one_half_and_it_is_said(complete, tmp_path):
    masks = np.zeros((5, 6, 7, 1))
    masks[2, 1, 1:5, 0] = 0.2, 0.45, 0.55, 1.0
    segmentation(complete, masks, "FRACTIONAL").save_as(tmp_path / "seg.dcm")
    with pytest.warns(LossWarning, match="one half"):
        labels = read_labels(tmp_path / "seg.dcm", grid(complete))
    np.testing.assert_array_equal(np.argwhere(labels.array), [[3, 1, 2], [4, 1, 2]])


def test_labels_off_the_reference_are_refused(series, tmp_path):
    folder = series().write(tmp_path / "ct")
    labels = painted(grid(folder))
    write_labels(labels, tmp_path / "seg.dcm", WriteOptions(source=folder))
    inside = labels.geometry.crop((0, 0, 1), (7, 6, 5))
    np.testing.assert_array_equal(read_labels(tmp_path / "seg.dcm", inside).array, labels.array[:, :, 1:])
    with pytest.raises(GeometryMismatchError, match="outside the image's grid"):
        read_labels(tmp_path / "seg.dcm", labels.geometry.crop((0, 0, 0), (7, 6, 2)))
    for moved in ((0.3, 0, 0), (0, 0, 1.1)):
        affine = labels.geometry.affine.copy()
        affine[:3, 3] += moved
        with pytest.raises(GeometryMismatchError):
            read_labels(tmp_path / "seg.dcm", Geometry(labels.geometry.shape, affine))
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]
    for order in ([0, 1, 2, 3], [1, 2, 0, 3]):
        matrix = np.eye(4)[:, order]
        tilted = Geometry(labels.geometry.shape, matrix @ turn @ matrix.T @ labels.geometry.affine)
        with pytest.raises(GeometryMismatchError):
            read_labels(tmp_path / "seg.dcm", tilted)


def test_files_without_labels_or_with_too_many(series, tmp_path):
    folder = series().write(tmp_path / "ct")
    with pytest.raises(UnsupportedFormatError, match="CT Image Storage"):
        read_labels(folder, None)
    labels = painted(grid(folder))
    for name in ("a.dcm", "b.dcm"):
        write_labels(labels, folder / name, WriteOptions(source=folder))
    assert read(folder, ReadOptions()).shape == (7, 6, 5)  # a SEG among the slices is no slice
    with pytest.raises(ReadError, match=r"2 candidates.*a\.dcm, b\.dcm"):
        read_labels(folder, labels.geometry)
    with zipfile.ZipFile(tmp_path / "seg.zip", "w") as archive:
        archive.write(folder / "a.dcm")
    np.testing.assert_array_equal(read_labels(tmp_path / "seg.zip", labels.geometry).array, labels.array)


def test_a_damaged_seg_is_named(series, tmp_path):
    folder = series().write(tmp_path / "ct")
    labels = painted(grid(folder))
    write_labels(labels, tmp_path / "seg.dcm", WriteOptions(source=folder, encoding="binary"))
    data = pydicom.dcmread(tmp_path / "seg.dcm")
    data.SegmentSequence = data.SegmentSequence[:1]
    data.save_as(tmp_path / "undescribed.dcm")
    with pytest.raises(CorruptFileError, match="segment 2, which is not described"):
        read_labels(tmp_path / "undescribed.dcm", labels.geometry)
    whole = (tmp_path / "seg.dcm").read_bytes()
    (tmp_path / "short.dcm").write_bytes(whole[:-12])
    with pytest.raises(CorruptFileError):
        read_labels(tmp_path / "short.dcm", labels.geometry)
    assert pydicom.dcmread(io.BytesIO(whole)).SOPClassUID != CTImageStorage


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("Liver", codes.SCT.Liver),
        ("kidneys", codes.SCT.Kidney),
        ("kidney_left", codes.SCT.Kidney),
        ("GTV 1", codes.SCT.Tissue),
        ("Tumour 2", codes.SCT.Neoplasm),
        ("vertebrae", codes.SCT.Vertebra),
        ("oesophagus", codes.SCT.Esophagus),
        ("", codes.SCT.Tissue),
    ],
)
def test_names_to_concepts(name, code):
    assert concept_of(name).type == code


def test_every_concept_of_the_table_exists():
    for name in _ANATOMY:
        concept = concept_of(name)
        assert concept.category == codes.SCT.AnatomicalStructure
        assert name.split()[-1] in concept.type.meaning.lower()
