import io
import zipfile

import numpy as np
import pytest

from samaritan.core.errors import CorruptFileError, GeometryError, ImageError, ReadError, UnsupportedFormatError
from samaritan.io import read, read_labels

VOLUME = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)  # (D, H, W)


def save(path, **arrays):
    np.savez_compressed(path, **arrays)
    return path


def test_a_volume_is_turned_to_ijk_and_spacing_is_along_xyz(tmp_path):
    path = save(tmp_path / "a.npz", imgs=VOLUME, gts=VOLUME % 3, spacing=(0.7, 0.8, 5.0))
    image = read(path)
    assert image.shape == (4, 3, 2)
    assert image.array[0, 3, 1, 0] == VOLUME[0, 1, 3]
    assert image.geometry.spacing_mm == pytest.approx((0.7, 0.8, 5.0))
    assert image.geometry.orientation == "LPS"
    labels = read_labels(path, reference=image.geometry)
    np.testing.assert_array_equal(labels.array, image.array[0] % 3)


def test_pictures_have_no_scale(tmp_path):
    colour = np.arange(36, dtype=np.uint8).reshape(4, 3, 3)
    image = read(save(tmp_path / "a.npz", imgs=colour, gts=colour[..., 0]))
    assert image.is_colour
    assert image.shape == (3, 4, 1)
    assert image.geometry.unit == "pixel"
    np.testing.assert_array_equal(image.array[2, :, :, 0], colour[..., 2].T)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.npz").array[..., 0], colour[..., 0].T)
    assert read(save(tmp_path / "b.npz", imgs=colour[..., 0])).shape == (3, 4, 1)
    assert read(save(tmp_path / "c.npz", imgs=np.zeros((5, 4, 3, 3), np.uint8))).shape == (3, 4, 5)
    assert read(tmp_path / "c.npz", select="green").channels == ("green",)


def test_archives_of_another_form(tmp_path):
    with pytest.raises(UnsupportedFormatError, match="other, but no 'imgs'"):
        read(save(tmp_path / "a.npz", other=VOLUME))
    with pytest.raises(UnsupportedFormatError, match="segs"):
        read_labels(save(tmp_path / "a.npz", imgs=VOLUME))
    with pytest.raises(ImageError, match="shape"):
        read(save(tmp_path / "a.npz", imgs=np.zeros((2, 2, 2, 2), np.uint8)))
    with pytest.raises(ImageError):
        read_labels(save(tmp_path / "a.npz", gts=np.full((2, 2), 0.5)))
    for spacing in ((0, 1, 1), (1, -1, 1), (1,), (np.nan, 1, 1)):
        with pytest.raises(GeometryError, match="spacing"):
            read(save(tmp_path / "a.npz", imgs=VOLUME, spacing=spacing))


def test_nothing_is_ever_unpickled(tmp_path):
    np.savez(tmp_path / "a.npz", imgs=np.array([print], dtype=object))
    with pytest.raises(UnsupportedFormatError, match="object"):
        read(tmp_path / "a.npz")
    fine = save(tmp_path / "b.npz", imgs=VOLUME, boxes=np.array([{"z_min": 1}], dtype=object))
    assert read(fine).shape == (4, 3, 2)


def test_bombs_and_damage(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**4,) * 3})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("imgs.npy", header.getvalue())
    with pytest.raises(CorruptFileError, match="claims"):
        read(tmp_path / "a.npz")
    whole = save(tmp_path / "b.npz", imgs=VOLUME).read_bytes()
    for size in (40, len(whole) // 2, len(whole) - 5):
        (tmp_path / "b.npz").write_bytes(whole[:size])
        with pytest.raises(ReadError):
            read(tmp_path / "b.npz")
    (tmp_path / "b.npz").write_bytes(whole[:80] + bytes(8) + whole[88:])
    with pytest.raises(ReadError):
        read(tmp_path / "b.npz")
    with zipfile.ZipFile(tmp_path / "c.npz", "w") as archive:
        archive.writestr("imgs.npy", b"not an array")
    with pytest.raises(CorruptFileError):
        read(tmp_path / "c.npz")
