import gzip
import struct

import nibabel
import numpy as np
import pytest

from samaritan.core.errors import CorruptFileError, GeometryError, ImageError, ReadError
from samaritan.io import read, read_labels

AFFINE = np.array([[0, 0, 2.0, 5], [-3, 0, 0, 6], [0, 4, 0, -7], [0, 0, 0, 1]])


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4"])
@pytest.mark.parametrize("name", ["a.mgh", "a.mgz"])
def test_voxels_and_place(tmp_path, name, dtype):
    values = np.arange(24).astype(dtype).reshape(4, 3, 2)
    nibabel.save(nibabel.MGHImage(values, AFFINE), tmp_path / name)
    image = read(tmp_path / name)
    np.testing.assert_array_equal(image.array[0], values)
    assert image.array.dtype == np.dtype(dtype)
    np.testing.assert_allclose(image.geometry.affine, AFFINE, atol=1e-5)
    assert read_labels(tmp_path / name).labels == tuple(range(1, 24))


def test_frames(tmp_path):
    values = np.arange(72, dtype=np.int16).reshape(4, 3, 2, 3)
    nibabel.save(nibabel.MGHImage(values, AFFINE), tmp_path / "a.mgz")
    with pytest.raises(ImageError, match="3 volumes"):
        read(tmp_path / "a.mgz")
    np.testing.assert_array_equal(read(tmp_path / "a.mgz", select=2).array[0], values[..., 2])
    np.testing.assert_array_equal(read(tmp_path / "a.mgz", as_channels=True).array, np.moveaxis(values, -1, 0))


@pytest.mark.parametrize("packed", [False, True])
def test_damage(tmp_path, packed):
    nibabel.save(nibabel.MGHImage(np.zeros((4, 3, 2), np.int16), AFFINE), tmp_path / "a.mgh")
    whole = (tmp_path / "a.mgh").read_bytes()
    path = tmp_path / ("b.mgz" if packed else "b.mgh")

    def save(data):
        path.write_bytes(gzip.compress(data) if packed else data)

    save(whole[:4] + struct.pack(">3i", 10000, 10000, 10000) + whole[16:])
    with pytest.raises(CorruptFileError, match="claims"):
        read(path)
    for size in (100, 284, 300):
        save(whole[:size])
        with pytest.raises(CorruptFileError):
            read(path)
    save(whole[:30] + struct.pack(">3f", 1, 0, 1) + whole[42:])
    with pytest.raises(GeometryError, match="positive"):
        read(path)
    save(whole[:4] + struct.pack(">i", -4) + whole[8:])
    with pytest.raises(ReadError):
        read(path)
