import struct
import zlib

import imagecodecs
import numpy as np
import PIL.Image
import pytest
import skimage
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from samaritan.core.errors import (
    CorruptFileError,
    ImageError,
    ReadError,
    ResourceError,
    UnknownNameError,
    UnsupportedFormatError,
    WriteError,
)
from samaritan.core.geometry import Geometry
from samaritan.core.image import Image, LabelMap
from samaritan.io import LossWarning, read, read_labels, write

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20  # (rows, columns)
COLOUR = np.stack([GREY, GREY + 1, GREY + 2], axis=-1)


def save(path, array, mode=None, **options):
    picture = PIL.Image.fromarray(array)
    (picture if mode is None else picture.convert(mode)).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp"])
def test_i_is_the_column_and_j_the_row(tmp_path, suffix):
    image = read(save(tmp_path / f"a{suffix}", GREY))
    assert image.shape == (4, 3, 1)
    assert image.array[0, 3, 1, 0] == GREY[1, 3]
    assert image.geometry.unit == "pixel"
    assert image.channels == ("intensity",)
    colour = read(save(tmp_path / f"b{suffix}", COLOUR))
    assert colour.is_colour
    np.testing.assert_array_equal(colour.array[2, :, :, 0], COLOUR[..., 2].T)
    np.testing.assert_array_equal(read(tmp_path / f"b{suffix}", select="blue").array, colour.array[2:])
    with pytest.raises(UnknownNameError, match="red, green, blue"):
        read(tmp_path / f"b{suffix}", select="alpha")


def test_jpeg_and_packaged_pictures(tmp_path):
    image = read(save(tmp_path / "a.jpg", np.full((16, 24, 3), (200, 30, 90), np.uint8), quality=95))
    assert image.shape == (24, 16, 1)
    np.testing.assert_allclose(image.array.mean((1, 2, 3)), (200, 30, 90), atol=4)
    cell = skimage.data.cell()
    np.testing.assert_array_equal(read(save(tmp_path / "c.png", cell)).array[0, ..., 0], cell.T)


def test_other_modes(tmp_path):
    deep = GREY.astype(np.uint16) * 200 + 7
    assert read(save(tmp_path / "a.png", deep)).array.dtype == np.uint16
    np.testing.assert_array_equal(read(tmp_path / "a.png").array[0, ..., 0], deep.T)
    deep_colour = np.stack([deep, deep + 1, deep + 2], axis=-1)
    (tmp_path / "b.png").write_bytes(imagecodecs.png_encode(deep_colour))
    np.testing.assert_array_equal(read(tmp_path / "b.png").array[..., 0], deep_colour.T)
    bits = save(tmp_path / "c.png", GREY > 100)
    assert set(np.unique(read(bits).array)) == {0, 255}
    assert read_labels(bits).labels == (1,)
    palette = read(save(tmp_path / "d.png", COLOUR, mode="P"))
    assert palette.is_colour
    with pytest.warns(LossWarning, match="CMYK"):
        assert read(save(tmp_path / "e.jpg", COLOUR, mode="CMYK")).is_colour


def test_transparency_is_dropped_and_said(tmp_path):
    clear = np.dstack([COLOUR, np.full(GREY.shape, 100, np.uint8)])
    with pytest.warns(LossWarning, match="alpha"):
        image = read(save(tmp_path / "a.png", clear))
    np.testing.assert_array_equal(image.array[..., 0], COLOUR.T)
    opaque = np.dstack([COLOUR, np.full(GREY.shape, 255, np.uint8)])
    assert read(save(tmp_path / "b.png", opaque)).is_colour  # nothing is lost, nothing is said
    with pytest.warns(LossWarning):
        assert len(read(save(tmp_path / "c.png", clear, mode="LA")).array) == 1


def test_exif_orientation_is_obeyed(tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rows run from the right
    image = read(save(tmp_path / "a.png", GREY, exif=exif))
    assert image.shape == (3, 4, 1)
    np.testing.assert_array_equal(image.array[0, ..., 0].T, np.rot90(GREY, -1))


def test_labels_of_a_palette_are_its_indices(tmp_path):
    picture = PIL.Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8)).convert("P")
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
    picture.save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "b.png").write_bytes(whole[:-25])
    with pytest.raises(CorruptFileError):
        read_labels(tmp_path / "b.png")
    labels = read_labels(tmp_path / "a.png")
    np.testing.assert_array_equal(labels.array[..., 0], [[0, 2], [1, 1]])
    assert dict(labels.colours) == {1: (255, 0, 0), 2: (0, 0, 255)}


def test_what_holds_no_labels(tmp_path):
    with pytest.raises(ImageError, match="colours"):
        read_labels(save(tmp_path / "a.png", COLOUR))
    grey = np.stack([GREY] * 3, axis=-1)
    np.testing.assert_array_equal(read_labels(save(tmp_path / "b.png", grey)).array[..., 0], GREY.T)
    with pytest.raises(UnsupportedFormatError, match="JPEG"):
        read_labels(save(tmp_path / "c.jpg", GREY))


@settings(max_examples=25, deadline=None)
@given(
    arrays.arrays(np.uint16, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(1))),
    st.dictionaries(st.integers(1, 65535), st.text(st.characters(exclude_categories=["Cs"])), max_size=4),
)
def test_any_label_map_survives_as_png_with_its_names(tmp_path_factory, array, names):
    labels = LabelMap(array, Geometry.picture(*array.shape[:2]), names, {1: (1, 2, 3)})
    back = read_labels(write(labels, tmp_path_factory.mktemp("a") / "a.png"))
    np.testing.assert_array_equal(back.array, array)
    assert dict(back.names) == names
    assert dict(back.colours) == {1: (1, 2, 3)}


@pytest.mark.parametrize(("dtype", "channels"), [("u1", 1), ("u2", 1), ("u1", 3), ("u2", 3)])
def test_images_survive_as_png(tmp_path, dtype, channels):
    array = np.random.default_rng(0).integers(0, 256, (channels, 5, 4, 1)).astype(dtype) * (257 if dtype == "u2" else 1)
    names = ("red", "green", "blue") if channels == 3 else ("intensity",)
    image = Image(array.astype(dtype), Geometry.picture(5, 4), channels=names)
    back = read(write(image, tmp_path / "a.png"))
    np.testing.assert_array_equal(back.array, image.array)
    assert back.array.dtype == image.array.dtype
    theirs = imagecodecs.png_decode((tmp_path / "a.png").read_bytes())
    np.testing.assert_array_equal(theirs if channels == 3 else theirs[..., None], image.array[..., 0].T)


def test_what_no_png_can_hold(tmp_path):
    floats = Image(np.zeros((1, 5, 4, 1), np.float32), Geometry.picture(5, 4))
    with pytest.raises(WriteError, match="8 or 16 bits"):
        write(floats, tmp_path / "a.png")
    labels = LabelMap(np.full((5, 4, 1), 70000, np.uint32), Geometry.picture(5, 4))
    with pytest.raises(WriteError, match="65535"):
        write(labels, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_bombs_and_damage(tmp_path):
    path = save(tmp_path / "a.png", COLOUR)
    whole = path.read_bytes()
    header = b"IHDR" + struct.pack(">2I", 1 << 20, 1 << 20) + whole[24:29]
    path.write_bytes(whole[:12] + header + struct.pack(">I", zlib.crc32(header)) + whole[33:])
    with pytest.raises(ResourceError, match="pixels"):
        read(path)
    for size in (9, 30, 45):
        path.write_bytes(whole[:size])
        with pytest.raises(ReadError):
            read(path)
    path.write_bytes(whole[:45] + bytes(8) + whole[53:])
    with pytest.raises(CorruptFileError):
        read(path)
    photo = save(
        tmp_path / "a.jpg", np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    ).read_bytes()
    (tmp_path / "a.jpg").write_bytes(photo[: len(photo) // 2])
    with pytest.raises(CorruptFileError, match="truncated"):
        read(tmp_path / "a.jpg")
