from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st

from samaritan.core.errors import CorruptFileError, ImageError
from samaritan.core.geometry import Geometry
from samaritan.core.image import LabelMap
from samaritan.io import read_labels
from samaritan.io.notes import one_line
from samaritan.io.segments import name_labels, parse_segments, segment_keys

GEOMETRY = Geometry.from_spacing((4, 3, 2))


def slicer_file(path, layers, segments):
    """Write layers (n, i, j, k) as 3D Slicer does: a vector of layers, and keys."""
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(np.asarray(layers).transpose(3, 2, 1, 0)), isVector=True)
    for number, keys in enumerate(segments):
        for key, value in keys.items():
            image.SetMetaData(f"Segment{number}_{key}", str(value))
    SimpleITK.WriteImage(image, str(path))
    data = path.read_bytes().replace(b"kinds: vector domain", b"kinds: list domain")
    path.write_bytes(data)
    return path


def layer(*voxels, value=1):
    array = np.zeros(GEOMETRY.shape, np.uint8)
    for voxel in voxels:
        array[voxel] = value
    return array


def test_layers_become_one_label_map(tmp_path):
    path = slicer_file(
        tmp_path / "a.seg.nrrd",
        [layer((0, 0, 0)) + layer((1, 1, 1), value=2), layer((3, 2, 1))],
        [
            {"Name": "liver", "LabelValue": 1, "Layer": 0, "Color": "1 0 0"},
            {"Name": "tumour", "LabelValue": 1, "Layer": 1},
            {"Name": "vein", "LabelValue": 2, "Layer": 0},
        ],
    )
    labels = read_labels(path)
    assert dict(labels.names) == {1: "liver", 2: "tumour", 3: "vein"}
    assert labels.colours[1] == (255, 0, 0)
    assert [tuple(np.argwhere(labels.mask(v))[0]) for v in (1, 2, 3)] == [(0, 0, 0), (3, 2, 1), (1, 1, 1)]


def test_values_that_differ_are_kept(tmp_path):
    path = slicer_file(
        tmp_path / "a.seg.nrrd",
        [layer((0, 0, 0), value=7), layer((3, 2, 1), value=300 % 256)],
        [{"Name": "a", "LabelValue": 7, "Layer": 0}, {"Name": "b", "LabelValue": 44, "Layer": 1}],
    )
    assert dict(read_labels(path).names) == {7: "a", 44: "b"}


def test_files_from_before_label_values(tmp_path):
    path = slicer_file(tmp_path / "a.seg.nrrd", [layer((0, 0, 0)), layer((1, 0, 0))], [{"Name": "a"}, {"ID": "b"}])
    labels = read_labels(path)
    assert dict(labels.names) == {1: "a", 2: "b"}
    assert labels.mask(2)[1, 0, 0]


def test_overlap_is_refused_by_name(tmp_path):
    path = slicer_file(
        tmp_path / "a.seg.nrrd", [layer((0, 0, 0)), layer((0, 0, 0), (1, 0, 0))], [{"Name": "a"}, {"Name": "b"}]
    )
    with pytest.raises(ImageError, match="'a' and 'b' overlap"):
        read_labels(path)


@pytest.mark.parametrize("keys", [{"LabelValue": "x"}, {"Name": "a", "Layer": 5, "LabelValue": 1}, {"Color": "red"}])
def test_damaged_keys(tmp_path, keys):
    with pytest.raises(CorruptFileError):
        read_labels(slicer_file(tmp_path / "a.seg.nrrd", [layer((0, 0, 0)), layer()], [keys]))


@given(st.dictionaries(st.integers(1, 255), st.text(st.characters(codec="utf-8"), min_size=1, max_size=20), max_size=6))
def test_any_one_line_name_survives_the_keys(names):
    names = {value: one_line(name) for value, name in names.items()}
    names = {value: name for value, name in names.items() if name}
    labels = LabelMap(np.zeros((1, 1, 1), np.uint8), Geometry.from_spacing((1, 1, 1)), names)
    assert (
        dict(
            name_labels(
                LabelMap(labels.array, labels.geometry), parse_segments(segment_keys(labels), Path("a.nrrd"))
            ).names
        )
        == names
    )
