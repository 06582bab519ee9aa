import numpy as np
import pytest
import tifffile

from samaritan.core.errors import CorruptFileError, ImageError, ReadError, ResourceError, UnsupportedFormatError
from samaritan.io import LossWarning, read, read_labels

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4)  # (rows, columns)
STACK = np.arange(60, dtype=np.uint16).reshape(5, 3, 4)


def save(path, array, **options):
    tifffile.imwrite(path, array, **options)
    return path


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "u4", "f4", "f8"])
@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits"])
def test_grey_in_every_type_and_compression(tmp_path, dtype, compression):
    image = read(save(tmp_path / "a.tif", GREY.astype(dtype), compression=compression))
    assert image.shape == (4, 3, 1)
    assert image.geometry.unit == "pixel"
    assert image.array.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(image.array[0, ..., 0], GREY.T)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_byte_orders_and_bigtiff(tmp_path, byteorder, bigtiff):
    image = read(save(tmp_path / "a.tif", STACK[0], byteorder=byteorder, bigtiff=bigtiff))
    np.testing.assert_array_equal(image.array[0, ..., 0], STACK[0].T)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_colour(tmp_path, planar, dtype):
    colour = np.stack([GREY, GREY + 1, GREY + 2]).astype(dtype)  # (c, rows, columns)
    stored = colour if planar == "separate" else np.moveaxis(colour, 0, -1)
    image = read(save(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar))
    assert image.is_colour
    np.testing.assert_array_equal(image.array[..., 0], colour.transpose(0, 2, 1))
    assert read(tmp_path / "a.tif", select="green").channels == ("green",)
    with pytest.raises(ImageError, match="values a pixel"):
        read_labels(tmp_path / "a.tif")


def test_alpha_is_dropped_and_said(tmp_path):
    rgba = np.dstack([GREY, GREY, GREY, GREY])
    with pytest.warns(LossWarning, match="alpha"):
        assert read(save(tmp_path / "a.tif", rgba, photometric="rgb", extrasamples=["unassalpha"])).is_colour


def test_palette_min_is_white_and_bits(tmp_path):
    table = np.zeros((3, 256), np.uint16)
    table[0, :12] = np.arange(12) * 256 * 20
    image = read(save(tmp_path / "a.tif", GREY, photometric="palette", colormap=table))
    assert image.is_colour
    np.testing.assert_array_equal(image.array[0, ..., 0], GREY.T * 20)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif").array[..., 0], GREY.T)
    image = read(save(tmp_path / "b.tif", GREY, photometric="miniswhite"))
    np.testing.assert_array_equal(image.array[0, ..., 0], 255 - GREY.T)
    bits = save(tmp_path / "c.tif", GREY > 5, photometric="minisblack")
    np.testing.assert_array_equal(read(bits).array[0, ..., 0], (GREY.T > 5) * 255)
    np.testing.assert_array_equal(read_labels(bits).array[..., 0], GREY.T > 5)


@pytest.mark.parametrize(
    "options",
    [{}, {"metadata": {"axes": "ZYX"}, "imagej": True}, {"metadata": None}, {"metadata": {"axes": "ZYX"}, "ome": True}],
)
def test_pages_are_a_volume_when_asked(tmp_path, options):
    path = save(tmp_path / "a.tif", STACK, photometric="minisblack", **options)
    with pytest.raises(ImageError, match=r"5 pages.*volume=True"):
        read(path)
    volume = read(path, volume=True)
    np.testing.assert_array_equal(volume.array[0], STACK.transpose(2, 1, 0))
    assert volume.geometry.unit == "pixel"
    np.testing.assert_array_equal(read(path, select=3).array[0, ..., 0], STACK[3].T)
    np.testing.assert_array_equal(read_labels(path).array, STACK.transpose(2, 1, 0))


def test_pages_of_colour_and_of_different_sizes(tmp_path):
    colour = np.arange(5 * 3 * 4 * 3, dtype=np.uint8).reshape(5, 3, 4, 3)
    path = save(tmp_path / "a.tif", colour, photometric="rgb")
    np.testing.assert_array_equal(read(path, volume=True).array, colour.transpose(3, 2, 1, 0))
    assert read(path, select=1).is_colour
    with tifffile.TiffWriter(tmp_path / "b.tif") as writer:
        writer.write(GREY)
        writer.write(STACK[0, :2])
    with pytest.raises(UnsupportedFormatError, match="2 pictures"):
        read(tmp_path / "b.tif")


def test_orientation_is_obeyed(tmp_path):
    path = save(tmp_path / "a.tif", GREY, extratags=[("Orientation", "H", 1, 6, True)])
    np.testing.assert_array_equal(read(path).array[0, ..., 0].T, np.rot90(GREY, -1))


def test_cmyk_and_complex_are_refused(tmp_path):
    with pytest.raises(UnsupportedFormatError, match="SEPARATED"):
        read(save(tmp_path / "a.tif", np.zeros((3, 4, 4), np.uint8), photometric="separated"))
    with pytest.raises(UnsupportedFormatError, match="complex"):
        read(save(tmp_path / "b.tif", np.zeros((3, 4), np.complex64)))


@pytest.mark.parametrize("compression", [None, "lzw", "zlib"])
def test_damage(tmp_path, compression):
    noise = np.random.default_rng(0).integers(0, 256, (60, 50)).astype(np.uint8)
    whole = save(tmp_path / "a.tif", noise, compression=compression).read_bytes()
    for size in (8, 100, len(whole) // 2, len(whole) - 10):
        (tmp_path / "a.tif").write_bytes(whole[:size])
        with pytest.raises(ReadError):
            read(tmp_path / "a.tif")


def test_a_header_that_claims_a_trillion_pixels_takes_no_memory(tmp_path):
    path = save(tmp_path / "a.tif", GREY, compression="zlib")
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        for name in ("ImageWidth", "ImageLength"):
            tiff.pages[0].tags[name].overwrite(1 << 20)
    with pytest.raises((ResourceError, CorruptFileError)):
        read(path)


def test_a_packed_file_that_claims_gigabytes_takes_no_memory(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((10, 10), np.uint8), compression="zlib", metadata=None)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for name in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            tiff.pages[0].tags[name].overwrite(50_000)
    with pytest.raises(CorruptFileError, match="claims"):
        read(path)
