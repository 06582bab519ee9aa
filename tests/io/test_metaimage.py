import zlib

import numpy as np
import pytest
import SimpleITK

from samaritan.core.errors import CorruptFileError, GeometryError, ImageError, ReadError, UnsupportedFormatError
from samaritan.core.geometry import Geometry
from samaritan.core.image import LabelMap
from samaritan.io import read, read_labels, write

VALUES = np.arange(24, dtype=np.int16).reshape(4, 3, 2)
HEADER = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "CompressedData": "False",
    "TransformMatrix": "1 0 0 0 1 0 0 0 1",
    "Offset": "5 6 7",
    "ElementSpacing": "2 3 4",
    "DimSize": "4 3 2",
    "ElementType": "MET_SHORT",
    "ElementDataFile": "LOCAL",
}


def save(path, data=None, **changes):
    fields = HEADER | changes
    fields["ElementDataFile"] = fields.pop("ElementDataFile")  # the voxels begin after it
    lines = "".join(f"{key} = {value}\n" for key, value in fields.items() if value is not None)
    path.write_bytes(lines.encode() + (VALUES.T.tobytes() if data is None else data))
    return path


def test_a_file_made_by_hand(tmp_path):
    image = read(save(tmp_path / "a.mha"))
    np.testing.assert_array_equal(image.array[0], VALUES)
    np.testing.assert_allclose(image.geometry.affine, [[-2, 0, 0, -5], [0, -3, 0, -6], [0, 0, 4, 7], [0, 0, 0, 1]])
    packed = zlib.compress(VALUES.T.tobytes())
    squeezed = read(save(tmp_path / "b.mha", packed, CompressedData="True", CompressedDataSize=str(len(packed))))
    np.testing.assert_array_equal(squeezed.array, image.array)


def test_damage_to_compressed_voxels_is_noticed(tmp_path):
    """MetaIO itself prints "Uncompress failed" and hands out what it has."""
    packed = bytearray(zlib.compress(VALUES.T.tobytes()))
    packed[-3] ^= 1
    for data in (packed, packed[:-8], zlib.compress(bytes(10)), zlib.compress(bytes(100))):
        with pytest.raises(CorruptFileError):
            read(save(tmp_path / "a.mha", bytes(data), CompressedData="True", CompressedDataSize=str(len(data))))
    whole = zlib.compress(VALUES.T.tobytes())
    for stated in (None, str(len(whole) - 9)):
        with pytest.raises(CorruptFileError):
            read(save(tmp_path / "a.mha", whole, CompressedData="True", CompressedDataSize=stated))


@pytest.mark.parametrize("spacing", ["0 1 1", "1 -1 1", "nan 1 1"])
def test_impossible_spacing(tmp_path, spacing):
    with pytest.raises(GeometryError, match="positive"):
        read(save(tmp_path / "a.mha", ElementSpacing=spacing))


def test_a_singular_matrix(tmp_path):
    with pytest.raises(GeometryError, match="axes"):
        read(save(tmp_path / "a.mha", TransformMatrix="1 0 0 1 0 0 0 0 1"))


@pytest.mark.parametrize("kind", [{}, {"CompressedData": "True"}, {"BinaryData": "False"}])
def test_a_header_that_claims_a_trillion_voxels_takes_no_memory(tmp_path, kind):
    with pytest.raises(CorruptFileError, match="claims"):
        read(save(tmp_path / "a.mha", DimSize="10000 10000 10000", **kind))


@pytest.mark.parametrize(
    "change",
    [
        {"DimSize": None},
        {"DimSize": "4 3"},
        {"DimSize": "4 3 -2"},
        {"ElementType": "MET_OTHER"},
        {"ElementDataFile": None},
        {"NDims": "x"},
        {"DimSize": "4 3 3"},
    ],
)
def test_damaged_headers(tmp_path, change):
    with pytest.raises(ReadError):
        read(save(tmp_path / "a.mha", **change))


def test_a_header_may_not_reach_outside_its_folder(tmp_path):
    (tmp_path / "secret.raw").write_bytes(VALUES.T.tobytes())
    folder = tmp_path / "case"
    folder.mkdir()
    with pytest.raises(ReadError, match="outside its folder"):
        read(save(folder / "a.mhd", b"", ElementDataFile="../secret.raw"))
    with pytest.raises(ReadError, match="does not exist"):
        read(save(folder / "a.mhd", b"", ElementDataFile="gone.raw"))
    with pytest.raises(UnsupportedFormatError, match="slice"):
        read(save(folder / "a.mhd", b"", ElementDataFile="LIST"))


@pytest.mark.parametrize(
    "line",
    ["ElementDataFile : ../secret.raw = x", "ElementDataFile\0 = ../secret.raw", "X\rElementDataFile = ../secret.raw"],
)
def test_a_line_that_itk_parses_otherwise_opens_no_other_file(tmp_path, line):
    for name in ("secret.raw", "secret.raw = x"):
        (tmp_path / name).write_bytes(b"S" * VALUES.nbytes)
    folder = tmp_path / "case"
    folder.mkdir()
    path = save(folder / "a.mha")
    path.write_bytes(path.read_bytes().replace(b"ElementDataFile", line.encode() + b"\nElementDataFile", 1))
    with pytest.raises(ReadError, match=r"outside its folder|control characters"):
        read(path)


def test_frames_and_channels(tmp_path):
    frames = [SimpleITK.GetImageFromArray((VALUES + n).T) for n in range(3)]
    SimpleITK.WriteImage(SimpleITK.JoinSeries(frames), str(tmp_path / "a.mha"))
    with pytest.raises(ImageError, match="3 volumes"):
        read(tmp_path / "a.mha")
    np.testing.assert_array_equal(read(tmp_path / "a.mha", select=2).array[0], VALUES + 2)
    np.testing.assert_array_equal(read(tmp_path / "a.mha", as_channels=True).array, [VALUES + n for n in range(3)])
    SimpleITK.WriteImage(SimpleITK.Compose(frames), str(tmp_path / "b.mha"))
    assert read(tmp_path / "b.mha").channels == ("channel 0", "channel 1", "channel 2")
    np.testing.assert_array_equal(read(tmp_path / "b.mha", select="channel 1").array[0], VALUES + 1)
    with pytest.raises(ImageError, match="one label"):
        read_labels(tmp_path / "b.mha")


def test_a_damaged_sidecar_is_named(tmp_path):
    labels = LabelMap(np.ones((2, 2, 2), np.uint8), Geometry.from_spacing((2, 2, 2)), {1: "liver"})
    path = write(labels, tmp_path / "a.mha")
    sidecar = tmp_path / "a.mha.labels.json"
    for text in ("{", "{}", '{"samaritan": {"labels": [{"value": "x", "name": "a"}]}}', '{"samaritan": 3}'):
        sidecar.write_text(text)
        with pytest.raises(CorruptFileError, match=r"a\.mha\.labels\.json"):
            read_labels(path)
    sidecar.unlink()
    assert not read_labels(path).names
