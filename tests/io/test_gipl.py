import gzip
import struct

import numpy as np
import pytest
import SimpleITK

from samaritan.core.errors import CorruptFileError, GeometryError, ImageError, UnsupportedFormatError
from samaritan.io import read, read_labels

ORIGIN, SPACING = (5.0, -6.0, 7.5), (2.0, 3.0, 4.0)


def save(path, values, dtype="int16"):
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(values.T.astype(dtype)))
    image.SetOrigin(ORIGIN)
    image.SetSpacing(SPACING)
    SimpleITK.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64"])
@pytest.mark.parametrize("name", ["a.gipl", "a.gipl.gz"])
def test_voxels_and_place(tmp_path, name, dtype):
    values = np.arange(24).reshape(4, 3, 2)
    image = read(save(tmp_path / name, values, dtype))
    np.testing.assert_array_equal(image.array[0], values)
    assert image.array.dtype == np.dtype(dtype)
    # LPS in the file, RAS here.
    np.testing.assert_allclose(image.geometry.affine, [[-2, 0, 0, -5], [0, -3, 0, 6], [0, 0, 4, 7.5], [0, 0, 0, 1]])
    assert image.geometry.orientation == "LPS"
    assert read_labels(tmp_path / name).labels == tuple(range(1, 24))


def test_frames(tmp_path):
    whole = bytearray(save(tmp_path / "a.gipl", np.arange(24).reshape(4, 3, 2)).read_bytes())
    whole[2:8] = struct.pack(">3H", 3, 1, 2)
    (tmp_path / "a.gipl").write_bytes(whole)
    with pytest.raises(ImageError, match="2 volumes"):
        read(tmp_path / "a.gipl")
    np.testing.assert_array_equal(
        read(tmp_path / "a.gipl", select=1).array[0, ..., 0], np.arange(24).reshape(4, 3, 2)[..., 1]
    )
    assert read(tmp_path / "a.gipl", as_channels=True).channels == ("channel 0", "channel 1")


@pytest.mark.parametrize("packed", [False, True])
def test_damage(tmp_path, packed):
    whole = save(tmp_path / "a.gipl", np.zeros((4, 3, 2))).read_bytes()
    path = tmp_path / ("b.gipl.gz" if packed else "b.gipl")

    def keep(data):
        path.write_bytes(gzip.compress(data) if packed else data)

    keep(struct.pack(">3H", 40000, 40000, 4) + whole[6:])
    with pytest.raises(CorruptFileError, match="claims"):
        read(path)
    keep(whole[:270])
    with pytest.raises(CorruptFileError):
        read(path)
    keep(whole[:10] + struct.pack(">f", 0) + whole[14:])
    with pytest.raises(GeometryError, match="positive"):
        read(path)
    keep(whole[:8] + struct.pack(">H", 192) + whole[10:])
    with pytest.raises(UnsupportedFormatError, match="type 192"):
        read(path)
