from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid
from skimage.measure import points_in_poly

from samaritan.core.errors import CorruptFileError, GeometryMismatchError, UnsupportedFormatError
from samaritan.core.geometry import Geometry
from samaritan.io.dicom.labels import read_labels
from samaritan.io.dicom.rtstruct import fill
from samaritan.io.frames import LossWarning

GRID = Geometry.from_lps((12, 10, 6), [[0.8, 0, 0, -30], [0, 1.1, 0, 12], [0, 0, 2.5, 40], [0, 0, 0, 1]])


def square(low, high, k, normal=2):
    """A square from ``low`` to ``high`` in voxel indices, in slice ``k``."""
    corners = np.array([[low, low], [high, low], [high, high], [low, high]], float)
    return np.insert(corners, normal, k, axis=1)


def rtstruct(path: Path, regions: dict[str, list[np.ndarray]], grid: Geometry = GRID, kind="CLOSED_PLANAR") -> Path:
    """Write contours, given in voxel indices of ``grid``."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = RTStructureSetStorage, generate_uid(), "RTSTRUCT"
    rois, drawn = [], []
    for n, (name, contours) in enumerate(regions.items(), start=4):
        roi, item = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = n, name
        item.ReferencedROINumber, item.ROIDisplayColor, item.ContourSequence = n, [n, 20, 30], []
        for contour in contours:
            points = (np.c_[contour, np.ones(len(contour))] @ grid.affine_lps.T)[:, :3]
            one = Dataset()
            one.ContourGeometricType, one.NumberOfContourPoints = kind, len(points)
            one.ContourData = [round(float(v), 4) for v in points.ravel()]
            item.ContourSequence.append(one)
        rois.append(roi)
        drawn.insert(0, item)  # the two sequences need not have one order
    data.StructureSetROISequence, data.ROIContourSequence = rois, drawn
    data.save_as(path, enforce_file_format=True)
    return path


def test_contours_fill_the_voxels_whose_centres_they_hold(tmp_path):
    path = rtstruct(tmp_path / "rs.dcm", {"GTV": [square(1.6, 4.4, 2), square(2.5, 3.5, 3.4)], "empty": []})
    labels = read_labels(path, GRID)
    expected = np.zeros(GRID.shape, np.uint8)
    expected[2:5, 2:5, 2] = 1
    expected[3, 3, 3] = 1  # drawn 0.4 slices above slice 3
    np.testing.assert_array_equal(labels.array, expected)
    assert dict(labels.names) == {1: "GTV", 2: "empty"}
    assert labels.colours[1] == (4, 20, 30)
    assert labels.geometry == GRID


def test_holes_by_an_inner_contour_and_by_a_keyhole(tmp_path):
    outer, inner = square(0.5, 8.5, 2), square(3.5, 5.5, 2)
    keyhole = np.concatenate([outer, outer[:1], inner[:1], inner[::-1]])
    two = read_labels(rtstruct(tmp_path / "two.dcm", {"ring": [outer, inner]}), GRID)
    one = read_labels(rtstruct(tmp_path / "one.dcm", {"ring": [keyhole]}), GRID)
    assert two.array.sum() == 8 * 8 - 2 * 2
    assert not two.array[4:6, 4:6].any()
    np.testing.assert_array_equal(one.array, two.array)


def test_nested_structures_stay_visible(tmp_path):
    path = rtstruct(tmp_path / "rs.dcm", {"GTV": [square(3.5, 5.5, 2)], "BODY": [square(0.5, 8.5, 2)]})
    with pytest.warns(LossWarning, match=r"BODY and GTV \(4 voxels\)"):
        labels = read_labels(path, GRID)
    assert labels.mask(1).sum() == 4
    assert labels.mask(2).sum() == 60


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "SLA", "PIR", "ARI"])
def test_the_same_world_points_on_any_axis_order(tmp_path, orientation):
    path = rtstruct(tmp_path / "rs.dcm", {"GTV": [square(1.6, 4.4, 2), square(1.6, 3.4, 3)]})
    straight = read_labels(path, GRID)
    change = GRID.reorientation(orientation)
    turned = read_labels(path, change.target)
    np.testing.assert_array_equal(change.undo(turned.array), straight.array)


def test_an_oblique_grid(tmp_path, cosines):
    row, column = np.array(cosines((0.3, 0.2, -0.4))[7]).reshape(2, 3)
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack([row * 0.8, column * 1.1, np.cross(row, column) * 2.5])
    grid = Geometry.from_lps((12, 10, 6), affine)
    labels = read_labels(rtstruct(tmp_path / "rs.dcm", {"GTV": [square(1.6, 4.4, 2)]}, grid), grid)
    np.testing.assert_array_equal(np.unique(np.argwhere(labels.array), axis=0).mean(axis=0), [3, 3, 2])
    with pytest.raises(GeometryMismatchError, match="at an angle"):
        read_labels(tmp_path / "rs.dcm", Geometry.from_lps((12, 10, 6), np.diag([0.8, 1.1, 2.5, 1])))


def test_what_does_not_fit_is_refused(tmp_path):
    path = rtstruct(tmp_path / "rs.dcm", {"GTV": [square(1.6, 4.4, 5)]})
    with pytest.raises(UnsupportedFormatError, match="reference="):
        read_labels(path, None)
    with pytest.raises(GeometryMismatchError, match="drawn in slice 5 along k"):
        read_labels(path, GRID.crop((0, 0, 0), (12, 10, 5)))
    fine = rtstruct(tmp_path / "fine.dcm", {"GTV": [square(1.6, 4.4, 2), square(1.6, 4.4, 2.4)]})
    with pytest.raises(GeometryMismatchError, match="different depths"):
        read_labels(fine, GRID)
    points = rtstruct(tmp_path / "points.dcm", {"marker": [square(1, 2, 2)[:1]]}, kind="POINT")
    assert not read_labels(points, GRID).array.any()
    nothing = rtstruct(tmp_path / "none.dcm", {"GTV": [np.zeros((0, 3))]})
    with pytest.raises(CorruptFileError, match="triples"):
        read_labels(nothing, GRID)


def distance(points, polygon):
    """Distance of points (n, 2) to the nearest edge of a polygon (m, 2)."""
    start, along = polygon, np.roll(polygon, -1, axis=0) - polygon
    length = np.maximum((along**2).sum(1), 1e-30)
    place = np.clip(((points[:, None] - start) * along).sum(2) / length, 0, 1)
    return np.linalg.norm(points[:, None] - start - place[..., None] * along, axis=2).min(1)


@settings(max_examples=60, deadline=None)
@given(
    polygons=st.lists(
        st.lists(st.tuples(st.floats(-3, 14), st.floats(-3, 11)), min_size=3, max_size=9), min_size=1, max_size=3
    )
)
def test_fill_is_even_odd_at_voxel_centres(polygons):
    polygons = [np.array(p) for p in polygons]
    shape = (12, 9)
    window, mask = fill(polygons, shape)
    whole = np.zeros(shape, bool)
    whole[window] = mask
    centres = np.argwhere(np.ones(shape, bool))
    count = sum(points_in_poly(centres, p).astype(int) for p in polygons)
    clear = np.min([distance(centres, p) for p in polygons], axis=0) > 1e-6  # on an edge, inside is a convention
    np.testing.assert_array_equal(whole.ravel()[clear], (count % 2 == 1)[clear])


def test_polygons_that_share_an_edge_share_no_pixel():
    left, right = np.array([[0, 0], [4, 0], [4, 8], [0, 8.0]]), np.array([[4, 0], [9, 0], [9, 8], [4, 8.0]])
    total = np.zeros((12, 9), int)
    for polygon in (left, right):
        window, mask = fill([polygon], total.shape)
        total[window] += mask
    assert total.max() == 1
    assert total.sum() == 9 * 8


def test_a_contour_of_very_many_edges_is_filled_part_by_part(monkeypatch):
    rng = np.random.default_rng(0)
    polygon = rng.uniform(-1, 21, (300, 2))
    whole = fill([polygon], (20, 20))[1]
    monkeypatch.setattr("samaritan.io.dicom.rtstruct._EDGES", 7)
    np.testing.assert_array_equal(fill([polygon], (20, 20))[1], whole)
