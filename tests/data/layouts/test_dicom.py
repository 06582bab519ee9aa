import numpy as np
import pydicom
from pydicom.dataset import Dataset
from tests.io.dicom.conftest import Series
from tests.io.dicom.test_rtstruct import rtstruct, square

from samaritan.core.image import LabelMap
from samaritan.data.layouts import open_data
from samaritan.data.reading import read_image, read_objects
from samaritan.io import read, write


def draw_seg(folder, path):
    geometry = read(folder).geometry
    array = np.zeros(geometry.shape, np.uint8)
    array[1:4, 2:5, 1:3] = 1
    write(LabelMap(array, geometry, {1: "Kidney"}), path, source=folder)
    return array == 1


def test_series_with_seg_and_without(tmp_path):
    mask = draw_seg(Series().write(tmp_path / "a"), tmp_path / "a.seg.dcm")
    Series(tags={"PatientID": "SECRET-2"}).write(tmp_path / "b")
    data = open_data(tmp_path)
    assert data.layout == "dicom"
    assert [case.id for case in data.cases] == ["a", "b"]
    first, second = data.cases
    assert second.reference is None
    assert first.patient != second.patient
    assert "SECRET" not in repr(data)
    assert first.modality == "CT"
    image = read_image(tmp_path, first)
    (found,) = read_objects(tmp_path, first, image.geometry)
    assert found.name == "Kidney"
    assert np.array_equal(found.mask, mask)


def test_two_series_in_a_folder_are_two_cases(tmp_path):
    for series in (Series(), Series(voxels=np.zeros((5, 6, 7), np.int16) + np.arange(7, dtype=np.int16))):
        series.write(tmp_path)
    data = open_data(tmp_path)
    assert len({case.id for case in data.cases}) == 2
    assert [read_image(tmp_path, case).array.max() for case in data.cases].count(6) == 1


def test_an_rtstruct_belongs_to_the_series_that_it_names(tmp_path):
    one, two = Series(), Series()
    one.write(tmp_path / "one")
    two.write(tmp_path / "two")
    grid = read(tmp_path / "two").geometry
    path = rtstruct(tmp_path / "rs.dcm", {"GTV": [square(1.6, 4.4, 2)]}, grid=grid)
    data = pydicom.dcmread(path)
    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = two.uid
    study.RTReferencedSeriesSequence = [series]
    frame.RTReferencedStudySequence = [study]
    data.ReferencedFrameOfReferenceSequence = [frame]
    data.save_as(path)
    found = open_data(tmp_path)
    drawn = {case.id: case for case in found.cases if case.reference}
    assert list(drawn) == ["two"]
    (gtv,) = read_objects(tmp_path, drawn["two"], grid)
    assert (gtv.name, np.count_nonzero(gtv.mask)) == ("GTV", 9)


def test_a_segmentation_of_a_series_that_is_not_there(tmp_path):
    draw_seg(Series().write(tmp_path / "gone"), tmp_path / "seg.dcm")
    for file in (tmp_path / "gone").iterdir():
        file.unlink()
    Series().write(tmp_path / "other")
    data = open_data(tmp_path)
    assert data.cases[0].reference is None
    assert data.notes == ("seg.dcm refers to no series in the folder",)
