import gzip

import numpy as np
import pytest
import SimpleITK

from samaritan.core.errors import (
    CorruptFileError,
    GeometryError,
    ImageError,
    ReadError,
    UnknownNameError,
    UnknownOrientationError,
    UnsupportedFormatError,
)
from samaritan.core.geometry import Geometry
from samaritan.core.image import LabelMap
from samaritan.io import LossWarning, read, read_labels, write

VALUES = np.arange(24, dtype=np.uint8).reshape(4, 3, 2)
HEADER = {
    "type": "uint8",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "4 3 2",
    "space directions": "(2,0,0) (0,3,0) (0,0,4)",
    "space origin": "(5,6,7)",
    "encoding": "raw",
}


def save(path, data=None, **changes):
    fields = HEADER | {key.replace("_", " "): value for key, value in changes.items()}
    lines = "".join(f"{key}: {value}\n" for key, value in fields.items() if value is not None)
    payload = VALUES.T.tobytes() if data is None else data
    path.write_bytes(b"NRRD0005\n" + lines.encode() + b"\n" + payload)
    return path


@pytest.mark.parametrize(
    ("space", "signs"),
    [
        ("left-posterior-superior", (-1, -1, 1)),
        ("LPS", (-1, -1, 1)),
        ("right-anterior-superior", (1, 1, 1)),
        ("RAS", (1, 1, 1)),
        ("left-anterior-superior", (-1, 1, 1)),
        ("LAS", (-1, 1, 1)),
    ],
)
def test_spaces(tmp_path, space, signs):
    image = read(save(tmp_path / "a.nrrd", space=space))
    expected = np.diag([2.0, 3, 4, 1])
    expected[:3, 3] = 5, 6, 7
    np.testing.assert_allclose(image.geometry.affine, np.diag([*signs, 1]) @ expected)
    np.testing.assert_array_equal(image.array[0], VALUES)


def test_a_space_that_does_not_say_where_left_is(tmp_path):
    for space in ("3D-left-handed", "scanner-xyz"):
        with pytest.raises(UnknownOrientationError, match="left"):
            read(save(tmp_path / "a.nrrd", space=space))
    spaceless = save(tmp_path / "a.nrrd", space=None, space_directions=None, space_origin=None, spacings="2 3 4")
    assert read(spaceless).geometry.orientation == "LPS"
    assert read(spaceless).geometry.spacing == (2, 3, 4)


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("ascii", lambda raw: " ".join(str(v) for v in raw).encode()),
        ("hex", lambda raw: raw.hex().encode()),
    ],
)
def test_encodings(tmp_path, encoding, pack):
    path = save(tmp_path / "a.nrrd", pack(VALUES.T.tobytes()), encoding=encoding)
    np.testing.assert_array_equal(read(path).array[0], VALUES)
    data = path.read_bytes()
    path.write_bytes(data[:-12])
    with pytest.raises(CorruptFileError):
        read(path)


def test_bzip2_is_named_as_unsupported(tmp_path):
    with pytest.raises(UnsupportedFormatError, match="bzip2"):
        read(save(tmp_path / "a.nrrd", encoding="bzip2"))


@pytest.mark.parametrize("encoding", ["raw", "gzip", "ascii"])
def test_a_header_that_claims_a_trillion_voxels_takes_no_memory(tmp_path, encoding):
    data = gzip.compress(bytes(99)) if encoding == "gzip" else bytes(99)
    with pytest.raises(CorruptFileError, match="claims"):
        read(save(tmp_path / "a.nrrd", data, sizes="10000 10000 10000", encoding=encoding))


@pytest.mark.parametrize(
    "directions", ["(0,0,0) (0,3,0) (0,0,4)", "(1,0,0) (1,0,0) (0,0,4)", "(nan,0,0) (0,3,0) (0,0,4)"]
)
def test_impossible_directions(tmp_path, directions):
    with pytest.raises(GeometryError):
        read(save(tmp_path / "a.nrrd", space_directions=directions))


@pytest.mark.parametrize(
    "change", [{"sizes": "4 3"}, {"sizes": "4 3 0"}, {"type": "block"}, {"sizes": "a b c"}, {"encoding": None}]
)
def test_damaged_headers(tmp_path, change):
    with pytest.raises(ReadError):
        read(save(tmp_path / "a.nrrd", **change))


def test_a_header_may_not_reach_outside_its_folder(tmp_path):
    secret = tmp_path / "secret.raw"
    secret.write_bytes(VALUES.T.tobytes())
    folder = tmp_path / "case"
    folder.mkdir()
    for name in ("../secret.raw", str(secret)):
        with pytest.raises(ReadError, match="outside its folder"):
            read(save(folder / "a.nhdr", b"", data_file=name))
    (folder / "link.raw").symlink_to(secret)
    with pytest.raises(ReadError, match="outside its folder"):
        read(save(folder / "a.nhdr", b"", data_file="link.raw"))
    with pytest.raises(ReadError, match="does not exist"):
        read(save(folder / "a.nhdr", b"", data_file="gone.raw"))
    for name in ("slice%02d.raw 1 2 1", "LIST 3 :=\n../secret.raw\n\nvoxels that are not read"):
        with pytest.raises(UnsupportedFormatError, match="one file a slice"):
            read(save(folder / "a.nhdr", b"", data_file=name))
    (folder / "data.raw").write_bytes(VALUES.T.tobytes())
    np.testing.assert_array_equal(read(save(folder / "a.nhdr", b"", data_file="data.raw")).array[0], VALUES)


def test_lists_are_frames_and_vectors_are_channels(tmp_path):
    array = np.arange(72, dtype=np.uint8).reshape(3, 4, 3, 2)
    four = {"dimension": "4", "sizes": "3 4 3 2", "space directions": "none (2,0,0) (0,3,0) (0,0,4)"}
    frames = save(tmp_path / "a.nrrd", array.T.tobytes(), **four, kinds="list domain domain domain")
    with pytest.raises(ImageError, match="3 volumes"):
        read(frames)
    np.testing.assert_array_equal(read(frames, select=1).array[0], array[1])
    sequences = read(frames, as_channels=True)
    assert not sequences.is_colour  # whatever their type and number
    np.testing.assert_array_equal(sequences.array, array)
    with pytest.raises(UnknownNameError):
        read(frames, select=3)
    colour = read(save(tmp_path / "b.nrrd", array.T.tobytes(), **four, kinds="RGB-color domain domain domain"))
    assert colour.is_colour
    np.testing.assert_array_equal(colour.array, array)
    rgba = np.arange(96, dtype=np.uint8).reshape(4, 4, 3, 2)
    four["sizes"] = "4 4 3 2"
    with pytest.warns(LossWarning, match="alpha"):
        image = read(save(tmp_path / "c.nrrd", rgba.T.tobytes(), **four, kinds="RGBA-color domain domain domain"))
    np.testing.assert_array_equal(image.array, rgba[:3])


def test_a_fourth_axis_of_time(tmp_path):
    array = np.arange(72, dtype=np.uint8).reshape(4, 3, 2, 3)
    SimpleITK.WriteImage(
        SimpleITK.JoinSeries([SimpleITK.GetImageFromArray(array[..., n].T) for n in range(3)]), str(tmp_path / "a.nrrd")
    )
    with pytest.raises(ImageError, match="3 volumes"):
        read(tmp_path / "a.nrrd")
    np.testing.assert_array_equal(read(tmp_path / "a.nrrd", select=2).array[0], array[..., 2])


def test_our_names_are_slicer_s_keys(tmp_path):
    geometry = Geometry.from_spacing((4, 3, 2))
    path = write(LabelMap(VALUES % 3, geometry, {2: "left lung"}, {2: (255, 0, 51)}), tmp_path / "a.seg.nrrd")
    image = SimpleITK.ReadImage(str(path))
    assert image.GetMetaData("Segment1_Name") == "left lung"
    assert image.GetMetaData("Segment1_LabelValue") == "2"
    assert image.GetMetaData("Segment1_Layer") == "0"
    assert image.GetMetaData("Segment1_Color") == "1 0 0.2"
    assert image.GetMetaData("Segment1_Extent") == "0 3 0 2 0 1"
    assert image.GetMetaData("Segment0_Name") == "label 1"
    assert dict(read_labels(path).names) == {2: "left lung"}  # what was made up for Slicer is not kept
    assert dict(read_labels(path).colours) == {2: (255, 0, 51)}
