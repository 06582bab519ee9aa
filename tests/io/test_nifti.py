import gzip
import struct

import nibabel
import numpy as np
import pytest

from samaritan.core.errors import (
    CorruptFileError,
    GeometryError,
    ImageError,
    ReadError,
    UnknownNameError,
    UnsupportedFormatError,
)
from samaritan.core.geometry import Geometry
from samaritan.core.image import Image, LabelMap
from samaritan.io import LossWarning, read, read_labels, write

VALUES = np.arange(24, dtype=np.int16).reshape(4, 3, 2)


def save(path, array=VALUES, affine=None, cls=nibabel.Nifti1Image, **fields):
    image = cls(array, np.diag([2.0, 3, 4, 1]) if affine is None else affine)
    for name, value in fields.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def patch(path, offset, form, *values):
    """Overwrite header fields as they lie in the file, past all of nibabel's care."""
    data = bytearray(path.read_bytes())
    struct.pack_into("<" + form, data, offset, *values)
    path.write_bytes(data)
    return path


def formless(path, array=VALUES, pixdim=(2.0, 3.0, 4.0)):
    patch(save(path, array), 252, "2h", 0, 0)
    return patch(path, 80, "3f", *pixdim)


def test_scaling_gives_float32_and_none_keeps_integers(tmp_path):
    assert read(save(tmp_path / "a.nii")).array.dtype == np.int16
    patch(tmp_path / "a.nii", 112, "2f", 0.5, -3.0)
    scaled = read(tmp_path / "a.nii").array
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled[0], VALUES * 0.5 - 3)
    for slope in (0.0, float("nan")):  # both mean "no scaling" in the standard
        patch(tmp_path / "a.nii", 112, "2f", slope, 7.0)
        np.testing.assert_array_equal(read(tmp_path / "a.nii").array[0], VALUES)


def test_big_endian(tmp_path):
    header = nibabel.Nifti1Header(endianness=">")
    nibabel.save(nibabel.Nifti1Image(VALUES.astype(">i2"), np.diag([2.0, 3, 4, 1]), header), tmp_path / "a.nii")
    assert (tmp_path / "a.nii").read_bytes()[:4] == b"\0\0\x01\x5c"
    image = read(tmp_path / "a.nii")
    np.testing.assert_array_equal(image.array[0], VALUES)
    assert image.array.dtype.isnative
    assert image.geometry.spacing == (2, 3, 4)


@pytest.mark.parametrize(("code", "factor"), [(0, 1), (1, 1000), (2, 1), (3, 0.001)])
def test_units_become_millimetres(tmp_path, code, factor):
    geometry = read(save(tmp_path / "a.nii", xyzt_units=code)).geometry
    np.testing.assert_allclose(geometry.spacing_mm, np.array([2, 3, 4]) * factor, rtol=1e-6)


def test_sform_before_qform_before_spacing(tmp_path):
    image = nibabel.Nifti1Image(VALUES, None)
    image.set_sform(np.diag([1.0, 1, 5, 1]), code=1)
    image.set_qform(np.diag([-1.0, 1, 6, 1]), code=2)
    nibabel.save(image, tmp_path / "a.nii")
    assert read(tmp_path / "a.nii").geometry.spacing == (1, 1, 5)
    patch(tmp_path / "a.nii", 254, "h", 0)
    geometry = read(tmp_path / "a.nii").geometry
    assert geometry.spacing == (1, 1, 6)
    assert geometry.orientation == "LAS"
    geometry = read(formless(tmp_path / "a.nii")).geometry
    np.testing.assert_allclose(geometry.affine, np.diag([2, 3, 4, 1]))


def test_a_plane_that_states_no_scale_has_none_but_a_volume_is_taken_as_millimetres(tmp_path):
    plane = patch(formless(tmp_path / "a.nii", VALUES[:, :, :1], (1.0, 1.0, 1.0)), 123, "b", 0)
    assert read(plane).geometry.unit == "pixel"
    assert read(patch(plane, 123, "b", 2)).geometry.unit == "mm"
    assert read(patch(formless(tmp_path / "b.nii", pixdim=(1, 1, 1)), 123, "b", 0)).geometry.unit == "mm"


@pytest.mark.parametrize("pixdim", [(0.0, 1, 1), (1, -2.0, 1), (1, 1, float("nan")), (1, 1, float("inf"))])
def test_impossible_spacing_is_refused(tmp_path, pixdim):
    with pytest.raises(GeometryError, match="positive"):
        read(formless(tmp_path / "a.nii", pixdim=pixdim))
    patch(tmp_path / "a.nii", 252, "h", 1)
    with pytest.raises(GeometryError):
        read(tmp_path / "a.nii")


@pytest.mark.parametrize("row", [(0.0, 0, 0, 0), (0, 2, 0, 0), (float("nan"), 0, 0, 0)])
def test_a_singular_affine_is_refused(tmp_path, row):
    with pytest.raises(GeometryError):
        read(patch(save(tmp_path / "a.nii"), 280, "4f", *row))


def test_a_fourth_axis_must_be_chosen_from(tmp_path):
    frames = np.arange(72, dtype=np.int16).reshape(4, 3, 2, 3)
    for name in ("a.nii", "a.nii.gz"):
        path = save(tmp_path / name, frames)
        with pytest.raises(ImageError, match=r"3 volumes.*select=0"):
            read(path)
        for n in range(3):
            np.testing.assert_array_equal(read(path, select=n).array[0], frames[..., n])
        np.testing.assert_array_equal(read(path, select="2").array[0], frames[..., 2])
        with pytest.raises(UnknownNameError, match="0 to 2"):
            read(path, select=3)
        with pytest.raises(ImageError):
            read_labels(path)
        whole = read(path, as_channels=True)
        assert whole.channels == ("channel 0", "channel 1", "channel 2")
        np.testing.assert_array_equal(whole.array, np.moveaxis(frames, -1, 0))
        np.testing.assert_array_equal(read(path, select=1, as_channels=True).array[0], frames[..., 1])
    np.testing.assert_array_equal(read(save(tmp_path / "b.nii", frames[..., :1])).array[0], frames[..., 0])


def test_sequences_that_are_nan_throughout_are_read_as_nothing(tmp_path):
    frames = np.arange(72, dtype=np.float32).reshape(4, 3, 2, 3)
    frames[..., 1] = np.nan
    with pytest.warns(LossWarning, match=r"channels \[1\] are NaN throughout"):
        image = read(save(tmp_path / "a.nii", frames), as_channels=True)
    np.testing.assert_array_equal(image.array, np.nan_to_num(np.moveaxis(frames, -1, 0)))
    with pytest.warns(LossWarning, match="NaN"):
        read(save(tmp_path / "b.nii", frames, intent_code=1007))
    frames[0, 0, 0, 2] = np.nan
    with pytest.warns(LossWarning), pytest.raises(ImageError, match="1 of 72 voxels"):
        read(save(tmp_path / "c.nii", frames), as_channels=True)
    with pytest.raises(ImageError, match="NaN"):
        read(tmp_path / "a.nii", select=1)


def test_vectors_are_channels(tmp_path):
    five = np.arange(72, dtype=np.float32).reshape(4, 3, 2, 1, 3)
    image = read(save(tmp_path / "a.nii", five, intent_code=1007))
    assert image.channels == ("channel 0", "channel 1", "channel 2")
    np.testing.assert_array_equal(image.array[2], five[..., 0, 2])
    np.testing.assert_array_equal(read(tmp_path / "a.nii", select=1).array[0], five[..., 0, 1])
    four = save(tmp_path / "b.nii", five[:, :, :, 0], intent_code=1007)
    np.testing.assert_array_equal(read(four).array, image.array)
    with pytest.raises(UnsupportedFormatError, match="axis more"):
        read(save(tmp_path / "c.nii", np.zeros((2, 2, 2, 2, 2), np.uint8)))


def test_colours_of_others(tmp_path):
    rgb = np.zeros((4, 3, 2), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    rgb["R"], rgb["B"] = VALUES, 7
    image = read(save(tmp_path / "a.nii", rgb))
    assert image.is_colour
    np.testing.assert_array_equal(image.array[0], VALUES)
    assert (image.array[2] == 7).all()
    rgba = np.zeros((4, 3, 2), [("R", "u1"), ("G", "u1"), ("B", "u1"), ("A", "u1")])
    rgba["G"] = VALUES
    with pytest.warns(LossWarning, match="alpha"):
        image = read(save(tmp_path / "b.nii", rgba))
    np.testing.assert_array_equal(image.array[1], VALUES)
    with pytest.raises(UnsupportedFormatError):
        read_labels(tmp_path / "a.nii")


def test_nibabel_reads_our_colours_and_channels(tmp_path):
    colour = Image(np.stack([VALUES, VALUES + 1, VALUES + 2]).astype(np.uint8), Geometry.from_spacing((4, 3, 2)),
                   channels=("red", "green", "blue"))  # fmt: skip
    theirs = np.asarray(nibabel.load(write(colour, tmp_path / "a.nii.gz")).dataobj)
    np.testing.assert_array_equal(np.stack([theirs["R"], theirs["G"], theirs["B"]]), colour.array)
    wide = Image(colour.array.astype(np.int16), colour.geometry, channels=("a", "b", "c"))
    theirs = np.asarray(nibabel.load(write(wide, tmp_path / "b.nii.gz")).dataobj)
    np.testing.assert_array_equal(np.moveaxis(theirs[:, :, :, 0], -1, 0), wide.array)


def test_labels_of_any_type_that_are_whole(tmp_path):
    whole = (VALUES % 3).astype(np.float64)
    labels = read_labels(save(tmp_path / "a.nii", whole))
    assert labels.array.dtype == np.uint8
    np.testing.assert_array_equal(labels.array, whole)
    for bad in (whole + 0.5, whole - 1, np.full_like(whole, np.nan)):
        with pytest.raises(ImageError, match="labels"):
            read_labels(save(tmp_path / "b.nii", bad))
    with pytest.raises(ImageError, match="NaN"):
        read(save(tmp_path / "b.nii", np.full_like(whole, np.nan)))


def test_comments_of_others_are_left_alone(tmp_path):
    image = nibabel.Nifti1Image(VALUES, np.eye(4))
    for content in (b"a plain comment", b'{"json": "of another"}', b"\xff\xfe"):
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", content))
    nibabel.save(image, tmp_path / "a.nii.gz")
    assert not read_labels(tmp_path / "a.nii.gz").names


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_header_that_claims_a_trillion_voxels_takes_no_memory(tmp_path, name):
    plain = patch(save(tmp_path / "plain.nii"), 40, "4h", 3, 10000, 10000, 10000)
    path = tmp_path / name
    path.write_bytes(gzip.compress(plain.read_bytes()) if name.endswith("gz") else plain.read_bytes())
    with pytest.raises(CorruptFileError, match="claims"):
        read(path)
    with pytest.raises(CorruptFileError):
        read_labels(path)


@pytest.mark.parametrize(
    ("offset", "form", "values", "words"),
    [
        (40, "8h", (0,) * 8, "dimensions"),
        (40, "2h", (3, -4), "dimensions"),
        (40, "h", (9,), "dimensions"),
        (70, "h", (9999,), "unknown type"),
        (70, "h", (32,), "complex"),
        (108, "f", (1e12,), "at byte"),
        (108, "f", (float("nan"),), "at byte"),
    ],
)
def test_damaged_headers(tmp_path, offset, form, values, words):
    with pytest.raises(ReadError, match=words):
        read(patch(save(tmp_path / "a.nii"), offset, form, *values))


def test_a_pair_without_its_half_and_analyze(tmp_path):
    geometry = Geometry.from_spacing((4, 3, 2))
    write(Image(VALUES[np.newaxis], geometry), tmp_path / "a.hdr")
    np.testing.assert_array_equal(read(tmp_path / "a.img").array[0], VALUES)
    (tmp_path / "a.img").unlink()
    with pytest.raises(CorruptFileError, match=r"a\.img"):
        read(tmp_path / "a.hdr")
    patch(tmp_path / "a.hdr", 344, "4s", b"\0\0\0\0")
    with pytest.raises(UnsupportedFormatError):  # Analyze does not say which side is left
        read(tmp_path / "a.hdr")


def test_a_wrong_checksum_is_noticed(tmp_path):
    path = write(Image(VALUES[np.newaxis], Geometry.from_spacing((4, 3, 2))), tmp_path / "a.nii.gz")
    data = bytearray(path.read_bytes())
    data[-6] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptFileError, match="damaged"):
        read(path)


def test_axes_too_long_for_nifti1_are_written_as_nifti2(tmp_path):
    labels = LabelMap(np.ones((40000, 1, 1), np.uint8), Geometry.from_spacing((40000, 1, 1)), {1: "long"})
    path = write(labels, tmp_path / "a.nii.gz")
    assert isinstance(nibabel.load(path), nibabel.Nifti2Image)
    assert read_labels(path).name(1) == "long"


def test_the_same_voxels_give_the_same_file(tmp_path):
    image = Image(VALUES[np.newaxis], Geometry.from_spacing((4, 3, 2)))
    first = write(image, tmp_path / "a.nii.gz").read_bytes()
    assert write(image, tmp_path / "b.nii.gz").read_bytes() == first
